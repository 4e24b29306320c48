"""Stable Diffusion inpainting: time and memory of tfpriv and of diffusers.

Usage: python benchmarks/diffusion.py [--network sd512|tiny] [--rounds N]
           [--forms step,pipeline,default] [--parts time,memory]

`sd512` has the size of runwayml/stable-diffusion-inpainting, 512 pixels, weights at
random; both together take 10 GB of memory. diffusers runs in the reference environment
(`make reference`). The prompt is empty, for which diffusers asks its network twice.
"""

import argparse
import statistics

from competitors import measure
from competitors.process import Competitor, CompetitorError, Process

FORMS = {
    "step": "a step of the UNet",
    "pipeline": "the pipeline, empty prompt, 4 steps",
    "default": "the pipeline, empty prompt, 50 steps",
}


def competitors(form: str) -> list[Competitor]:
    """Ours, and diffusers where its environment is built."""
    ours = Competitor("ours", "tfpriv", "diffusion_ours", form)
    theirs = Competitor(
        "diffusers", "diffusers", "diffusion_diffusers", form, environment="torch"
    )
    return [ours, theirs] if theirs.available else [ours]


def times(form: str, network: str, rounds: int) -> list[str]:
    """Seconds of both, and their ratio."""
    entrants = [(c, 1) for c in competitors(form)]
    found = measure.take_turns(entrants, network, rounds)
    ours = found[entrants[0]]
    cells = [f"{statistics.median(ours.values()):.2f}"]
    for entrant in entrants[1:]:
        low, median, high = measure.ratios(ours, found[entrant])
        cells.append(f"{statistics.median(found[entrant].values()):.2f}")
        cells.append(f"{median:.2f} ({low:.2f} to {high:.2f})")
    return cells


def peaks(form: str, network: str) -> list[str]:
    """Largest memory of a fresh process while it works, GB, and the ratio."""
    found = []
    for competitor in competitors(form):
        process = Process(competitor, network, 1)
        try:
            process.build()
            process.ask("step 1")
            found.append(process.ask("peak 1") / 1000)
        except CompetitorError as failure:
            measure.tell(str(failure))
        finally:
            process.quit()
    ratio = [f"{found[0] / found[1]:.2f}"] if len(found) == 2 else []
    return [*(f"{gigabytes:.2f}" for gigabytes in found), *ratio]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=("sd512", "tiny"), default="sd512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", default="step,pipeline")
    parser.add_argument("--parts", default="time,memory")
    options = parser.parse_args()
    units = {"time": "s", "memory": "GB"}
    for part in options.parts.split(","):
        unit = units[part]
        print(f"| {part} | tfpriv, {unit} | diffusers, {unit} | tfpriv / diffusers |")
        print("| --- " * 4 + "|", flush=True)
        for form in options.forms.split(","):
            if part == "time":
                cells = times(form, options.network, options.rounds)
            else:
                cells = peaks(form, options.network)
            print(f"| {FORMS[form]} | {' | '.join(cells)} |", flush=True)
        print()


if __name__ == "__main__":
    main()
