"""Time of a StyleGAN picture and of an inversion step: tfpriv and genforce's PyTorch.

Usage: python benchmarks/stylegan.py --genforce DIR [--resolution N] [--rounds N]

DIR is a checkout of https://github.com/genforce/interfacegan, which is no package; it
runs in the reference environment (`make reference`). Without it ours runs alone.
"""

import argparse
import os
import statistics

from competitors import measure, workload
from competitors.process import Competitor

FORMS = {
    "picture": "a picture from W+",
    "inversion": "a picture from W+ and the gradient of its mean square",
}


def competitors(form: str, genforce: str | None) -> list[Competitor]:
    """Those that take turns; ours is the first."""
    ours = Competitor("ours", "tfpriv", "stylegan_ours", form)
    theirs = Competitor("genforce", "genforce", "stylegan_genforce", form, "torch")
    return [ours, theirs] if genforce and theirs.available else [ours]


def row(form: str, network: str, genforce: str | None, rounds: int) -> str:
    """Lets the competitors take turns; a row of the table."""
    entrants = [(c, 1) for c in competitors(form, genforce)]
    times = measure.take_turns(entrants, network, rounds)
    ours = times[entrants[0]]
    cells = [f"{statistics.median(ours.values()):.2f}"]
    for entrant in entrants[1:]:
        low, median, high = measure.ratios(ours, times[entrant])
        cells.append(f"{statistics.median(times[entrant].values()):.2f}")
        cells.append(f"{median:.2f} ({low:.2f} to {high:.2f})")
    return f"| {FORMS[form]} | " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genforce")
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if options.genforce:  # for the competitor's process, which imports from there
        os.environ[workload.GENFORCE] = options.genforce
    network = f"stylegan{options.resolution}"
    print(f"StyleGAN, {options.resolution} pixels, one picture at a time\n")
    print("| | tfpriv, s | genforce, s | tfpriv / genforce |")
    print("| --- " * 4 + "|", flush=True)
    for form in FORMS:
        print(row(form, network, options.genforce, options.rounds), flush=True)


if __name__ == "__main__":
    main()
