"""The sections of a report, as data. All text is plain: the renderer escapes it."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image

AnyImage: TypeAlias = np.ndarray | Image.Image | str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: The paragraph.
        warning: Whether it is shown as a warning.
    """

    text: str
    warning: bool = False


@dataclasses.dataclass(frozen=True)
class Code:
    """Preformatted text: a command, or a program's output.

    Attributes:
        text: One or more lines.
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names with their values.

    Attributes:
        pairs: By name, a value; several values become a list.
    """

    pairs: Mapping[str, str | Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table. A wide one scrolls sideways on a small screen.

    Attributes:
        head: Names of the columns.
        rows: The cells of each row, as many. The first cell names the row.
    """

    head: Sequence[str]
    rows: Iterable[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Images:
    """Images with captions, as many side by side as the screen has room for.

    Attributes:
        images: Arrays `(height, width, 3)` of values 0 to 255, Pillow images, or files,
            which are read one at a time.
        captions: One for each image.
    """

    images: Iterable[AnyImage]
    captions: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Strips:
    """Rows of images to be compared column by column.

    Attributes:
        rows: By caption, the images of a row, as in `Images`.
    """

    rows: Mapping[str, Iterable[AnyImage]]


@dataclasses.dataclass(frozen=True)
class Chart:
    """Lines over a positive quantity on a logarithmic axis.

    Attributes:
        title: What is drawn.
        description: What the chart shows, for those who cannot see it.
        x: The marked values of the quantity.
        lines: By label, a value for each of `x`.
        references: Grey lines by label: a value for each of `x`, or one for all.
        x_label: Name of the quantity.
        log_y: Whether the other axis is logarithmic, too.
        y_range: Bounds of the other axis, or `None` for those of the values.
    """

    title: str
    description: str
    x: Sequence[float]
    lines: Mapping[str, Sequence[float]]
    references: Mapping[str, float | Sequence[float]] = dataclasses.field(
        default_factory=dict
    )
    x_label: str = "epsilon"
    log_y: bool = False
    y_range: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Charts:
    """Charts, side by side where there is room.

    Attributes:
        charts: The charts.
    """

    charts: Sequence[Chart]


@dataclasses.dataclass(frozen=True)
class Group:
    """Sections under a heading.

    Attributes:
        title: The heading.
        sections: What is below it.
        folded: Whether a click on the heading shows them.
    """

    title: str
    sections: Sequence["Section"]
    folded: bool = False


Section: TypeAlias = Text | Code | Facts | Table | Images | Strips | Charts | Group
