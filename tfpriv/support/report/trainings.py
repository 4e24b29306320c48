"""The page of a training that no mechanism protects: it says just that."""

import os
from collections.abc import Mapping

from tfpriv.support.report.page import write
from tfpriv.support.report.pieces import command, section, table, text, warning
from tfpriv.support.report.unprotected import without_epsilon

_DRAWN = "Nothing, and nothing needs it: it was trained on drawn pictures, of nobody."
_PRIVATE = (
    "Nothing. Weights that were trained so may tell whether a picture was among those "
    "they were trained on, and can hold whole pictures."
)
_MIND = (
    "Not for publishing if the pictures are private: the weights and the figures below "
    "are exact functions of them."
)


def plain_training(
    path: str | os.PathLike,
    title: str,
    line: str,
    figures: Mapping[str, object],
    *,
    drawn: bool,
) -> None:
    """Writes the page of a training without differential privacy.

    Args:
        path: Where to.
        title: What was trained.
        line: The command that was typed.
        figures: What was measured, by name; may be empty.
        drawn: Whether all pictures were drawn by us, so that nobody is in them.
    """
    shown = [[name, str(figure)] for name, figure in figures.items()]
    write(
        path,
        f"{title}, trained without differential privacy",
        *(() if drawn else (warning(_MIND),)),
        text("Trained as any network is, by"),
        command(line),
        *([section("Figures", table(["figure", "value"], shown))] if shown else ()),
        without_epsilon(
            _DRAWN if drawn else _PRIVATE,
            against="nobody",
            leaves=("every picture that it was trained on",),
        ),
    )
