"""Time of deformable convolutions: tfpriv, torchvision, and plain ones for a measure.

Usage: python benchmarks/deformable.py [--rounds N] [--batch N]

torchvision runs in the reference environment (`make reference`).
"""

import argparse
import statistics

from competitors import measure
from competitors.process import Competitor
from competitors.workload import LAYERS

FORMS = {
    "whole-forward": "whole pixels, forward",
    "fractions-forward": "fractions, forward",
    "whole-training": "whole pixels, forward and all gradients",
    "fractions-training": "fractions, forward and all gradients",
}


def competitors(form: str) -> list[Competitor]:
    """The three that take turns; ours is the first."""
    ours = "deformable_ours"
    torchvision = "deformable_torchvision"
    return [
        Competitor("ours", "tfpriv", ours, f"deformable-{form}"),
        Competitor(
            "torchvision", "torchvision", torchvision, f"deformable-{form}", "torch"
        ),
        Competitor("plain", "TensorFlow, plain", ours, f"plain-{form}"),
    ]


def row(form: str, layer: str, batch: int, rounds: int) -> str:
    """Lets the competitors take turns; a row of the table."""
    entrants = [(c, batch) for c in competitors(form) if c.available]
    times = measure.take_turns(entrants, layer, rounds)
    ours = next(seconds for (c, _), seconds in times.items() if c.name == "ours")
    cells = [f"{1e3 * statistics.median(ours.values()):.0f}"]
    for entrant in entrants[1:]:
        low, median, high = measure.ratios(times[entrant], ours)
        cells.append(f"{median:.2f} ({low:.2f} to {high:.2f})")
    return f"| {layer} | {FORMS[form]} | " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table: what the others take, relative to tfpriv in the same round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    names = [c.label for c in competitors("whole-forward") if c.available][1:]
    print("| layer | | tfpriv, ms | " + " | ".join(names) + " |")
    print("| --- " * (3 + len(names)) + "|", flush=True)
    for layer in LAYERS:
        for form in FORMS:
            print(row(form, layer, options.batch, options.rounds), flush=True)


if __name__ == "__main__":
    main()
