"""Pictures and charts inside the page itself."""

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from tfpriv.support import images
from tfpriv.support.report.pieces import Piece, element, joined

LARGEST = 480  # pixels of a picture's longer side on a page
_TINY = 96  # up to here pictures are stored exactly, and shown pixel by pixel
_CHART = (4.6, 3.3)  # inches: what a phone's screen shows without shrinking it much


def gallery(
    pictures: Iterable[np.ndarray | Image.Image], captions: Sequence[str]
) -> Piece:
    """Pictures with their captions, as many in a row as the screen has room for.

    Args:
        pictures: Pillow pictures, or arrays `(height, width, 3)`, values 0 to 255. Of
            large ones a generator will do: one is held at a time.
        captions: One text per picture.
    """
    figures = [
        element("figure", _picture(picture, caption), element("figcaption", caption))
        for picture, caption in zip(pictures, captions, strict=True)
    ]
    return element("div", joined(figures), class_="gallery")


def strips(rows: Mapping[str, Sequence[np.ndarray | Image.Image]]) -> Piece:
    """Rows of pictures to be compared column by column.

    Args:
        rows: By what is said of a row, its pictures.
    """
    figures = []
    for caption, pictures in rows.items():
        shown = [
            _picture(picture, f"{caption}, {i}")
            for i, picture in enumerate(pictures, 1)
        ]
        row = element("div", *shown, class_="strip")
        figures.append(element("figure", element("figcaption", caption), row))
    return element("div", joined(figures), class_="strips")


def chart(draw: Callable, says: str) -> Piece:
    """A chart.

    Args:
        draw: Draws on the `matplotlib` axes that it is given.
        says: What is to be seen on it, for those who do not see it.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=_CHART, layout="constrained")
    draw(axes)
    with io.BytesIO() as file:
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        content = file.getvalue()
    pyplot.close(figure)
    return _image(content, "svg+xml", says, class_="chart")


def charts(*pieces: Piece) -> Piece:
    """Charts side by side, where there is room."""
    return element("div", joined(pieces), class_="charts")


def _picture(picture, says) -> Piece:
    if not isinstance(picture, Image.Image):
        picture = images.from_array(picture)
    if max(picture.size) <= _TINY:
        return _image(images.encode(picture, ".png"), "png", says, class_="tiny")
    picture = picture.copy()
    picture.thumbnail((LARGEST, LARGEST))
    return _image(images.encode(picture, ".jpg", quality=90), "jpeg", says)


def _image(content: bytes, kind: str, says: str, **attributes) -> Piece:
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    img = element("img", src=source, alt=says, **attributes)
    return Piece(img.removesuffix("</img>"))  # as HTML writes it: it has no end
