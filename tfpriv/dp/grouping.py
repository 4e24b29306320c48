"""Which examples are one privacy unit, by their labels or their files."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from tfpriv.support.warning import warn

_ADVICE = (
    "Expected one label for each unit (a person), and one spelling of it; give "
    "examples of unknown persons labels of their own, or leave them out. Received: "
)


def members_of_groups(groups: Any, count: int) -> list[np.ndarray]:
    """For each group the indices of its examples, ascending.

    Args:
        groups: One label for each of `count` examples: whole numbers, texts, or other
            hashable objects of one type.

    Raises:
        ValueError: Another number of labels; a label is missing (`None`, NaN, an empty
            text) or rounded (a float of 2^53 or more, as pandas makes of large ids); or
            one unit may have two labels: labels of different types, or that differ only
            in white space or Unicode's composition.
    """
    labels = np.asarray(groups)
    if labels.shape != (count,):
        raise ValueError(
            "`groups` needs one label per example. Received: "
            f"groups of shape {labels.shape} for {count} examples"
        )
    # Lists are looked at before NumPy makes one type of all.
    values = list(groups) if isinstance(groups, (list, tuple)) else labels.tolist()
    members = defaultdict(list)
    for index, label in enumerate(values):
        members[label].append(index)
    _check_labels(members)
    return [np.array(indices) for indices in members.values()]


def warn_of_repeated_files(
    data: Any, count: int, members: list[np.ndarray] | None = None
) -> None:
    """Warns where one file is in several units.

    Args:
        data: `count` paths in a list, or tuples that begin with one; others pass.
        members: For each unit the indices of its examples; `None` if each is a unit.
    """
    if not isinstance(data, list) or len(data) != count:
        return
    units = np.arange(count)
    for unit, indices in enumerate(members or ()):
        units[indices] = unit
    first: dict[Any, int] = {}
    repeated = set()
    for item, unit in zip(data, units.tolist(), strict=True):
        path = item[0] if isinstance(item, tuple) and item else item
        named = isinstance(path, (str, bytes, os.PathLike))
        if named and first.setdefault(os.path.abspath(path), unit) != unit:
            repeated.add(path)
    if files := [path for path in repeated if os.path.isfile(path)]:
        warn(
            "Files appear in several privacy units: epsilon is that of one unit, and "
            "less than that of the file. Expected all examples of a file in one unit: "
            "`PoissonSampler(..., groups=paths)`. Received: "
            f"{len(files)} such files, among them {min(map(str, files))}"
        )


def _check_labels(labels: Iterable[Hashable]) -> None:
    if missing := [label for label in labels if _is_missing(label)]:
        raise ValueError(f"`groups` has missing labels. {_ADVICE}{missing[0]!r}")
    if rounded := [x for x in labels if isinstance(x, float) and abs(x) >= 2**53]:
        raise ValueError(
            "`groups` has floats so large that different whole numbers are rounded to "
            f"one. {_ADVICE}{rounded[0]!r}"
        )
    kinds = {_kind(label): label for label in labels}
    if len(kinds) > 1:
        received = ", ".join(f"{label!r} ({kind})" for kind, label in kinds.items())
        raise ValueError(f"`groups` has labels of several types. {_ADVICE}{received}")
    spellings: dict[Hashable, Hashable] = {}
    for label in labels:
        other = spellings.setdefault(_spelling(label), label)
        if other is not label:
            raise ValueError(
                "`groups` has labels that differ only in white space or Unicode "
                f"composition. {_ADVICE}{other!r} and {label!r}"
            )


def _is_missing(label):
    if isinstance(label, (str, bytes)):
        return not label.strip()
    same = label == label  # NaN, NaT and pandas.NA are not
    return label is None or not isinstance(same, (bool, np.bool_)) or not same


def _kind(label):
    if isinstance(label, (bool, int, float, np.number, np.bool_)):
        return "number"
    return type(label).__name__.rstrip("_")  # np.str_ is a str


def _spelling(label):
    """What a text's other spellings have in common with it."""
    if isinstance(label, str):
        return " ".join(unicodedata.normalize("NFC", label).split())
    return b" ".join(label.split()) if isinstance(label, bytes) else label
