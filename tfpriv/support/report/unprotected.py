"""Reports on what no mechanism protects: they say just that."""

import os
from collections.abc import Mapping, Sequence

from tfpriv.support.report.page import report
from tfpriv.support.report.sections import Code, Facts, Group, Table, Text

TITLE = "What is protected, and what is not"
_DRAWN = "Nothing, and nothing needs it: it was trained on drawn images, of nobody."
_PRIVATE = (
    "Nothing. Weights that were trained so may tell whether an image was among those "
    "they were trained on, and can hold whole images."
)
_WARNING = (
    "Not for publishing if the images are private: the weights and the figures below "
    "are exact functions of them."
)


def without_epsilon(instead: str, *, against: str, leaves: Sequence[str]) -> Group:
    """The section on protection where there is no differential privacy.

    Args:
        instead: What protects, in whole sentences.
        against: From whom.
        leaves: What it does not protect, a few words each.
    """
    facts = {
        "Protected is": instead,
        "How strongly": "This is no differential privacy: there is no unit, no "
        "neighbouring relation, no delta and no accountant, and epsilon is infinite.",
        "Against whom": against,
        "Not protected is": leaves,
    }
    return Group(TITLE, [Facts(facts)])


def plain_training(
    path: str | os.PathLike,
    title: str,
    line: str,
    figures: Mapping[str, object],
    *,
    drawn: bool,
) -> None:
    """Writes the report of a training without differential privacy.

    Args:
        path: The HTML file.
        title: What was trained.
        line: The command.
        figures: What was measured, by name; may be empty.
        drawn: Whether all images were drawn by tfpriv, so that nobody is in them.
    """
    rows = [[name, str(figure)] for name, figure in figures.items()]
    claim = without_epsilon(
        _DRAWN if drawn else _PRIVATE,
        against="nobody",
        leaves=["every image that it was trained on"],
    )
    sections = [
        *([] if drawn else [Text(_WARNING, warning=True)]),
        Text("Trained as any network is, by"),
        Code(line),
        *([Group("Figures", [Table(["figure", "value"], rows)])] if rows else []),
        claim,
    ]
    report(path, f"{title}, trained without differential privacy", sections)
