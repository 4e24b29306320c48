"""What attacks got, as a page for those who may see the pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfpriv.support import report

_LEAVES = (
    "colours and their numbers, in every mode: they tell which picture it is to "
    "somebody who has it, and a good deal about its kind",
    "all pictures of the fixed mode, once one of them is known: it is for repeating "
    "experiments",
    "pictures that share a nonce: they fall like the fixed mode",
    "sizes, numbers, names and labels",
    "anything against a better attack than these, which were tried and prove nothing",
)


def write(
    path: Path,
    table: report.Piece,
    pictures: Mapping[str, Sequence[tuple[np.ndarray, str]]],
    run: Mapping,
) -> None:
    """Writes the page of an attack. Only its owner can read it.

    Args:
        path: where to.
        table: a row for each attack.
        pictures: by way of shuffling, what came back, and what is to be said of it.
        run: `command`, `data`, `pictures` and `seed`.
    """
    report.write(
        path,
        f"What attacks get from shuffled pictures of {run['data']}",
        report.warning(
            "Shows pictures of the data, some of them as they are: to be published "
            "only if they may be."
        ),
        report.text(
            f"{run['pictures']} pictures were shuffled for this with keys of their "
            f"own, from seed {run['seed']}, which protect nothing else."
        ),
        report.command(run["command"]),
        report.section(
            "Figures",
            table,
            report.text(
                "How much of unseen pictures came back (PSNR, SSIM), or how often a "
                "picture or its class was found."
            ),
        ),
        *(
            report.section(
                f"Came back: {scheme}", report.gallery(*zip(*some, strict=True))
            )
            for scheme, some in pictures.items()
        ),
        report.without_epsilon(
            "Where the pixels of a picture belong, by a secret key.",
            against="Whoever sees shuffled pictures and has neither the key nor any "
            "part of a permutation. Not against somebody who watches the machine, or "
            "has the key file.",
            leaves=_LEAVES,
        ),
        private=True,
    )
