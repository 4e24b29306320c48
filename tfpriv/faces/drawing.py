"""Draws faces from their parameters."""

import numpy as np

from tfpriv.faces import palette
from tfpriv.faces.canvas import Canvas, column
from tfpriv.faces.looks import Faces

_AT_ONCE = 128  # pictures in memory as floats
_TURN = 0.45  # radians at pose 1


def draw(
    faces: Faces, size: int | tuple[int, int] = 64, *, zoom: float = 1.0
) -> np.ndarray:
    """Draws faces. The same face always gives the same pixels.

    Args:
        faces: n of them.
        size: height and width in pixels, or (height, width); at least 16.
        zoom: 1 fills the height with hair and shoulders; smaller shows more around.

    Returns:
        uint8 (n, height, width, 3).

    Raises:
        ValueError: for a size or a zoom out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 16 or not 0.1 <= zoom <= 10:
        raise ValueError(
            "A face needs at least 16 x 16 pixels and a zoom between 0.1 and 10. "
            f"Received: size={size}, zoom={zoom}"
        )
    pictures = np.empty((len(faces), height, width, 3), "uint8")
    for first in range(0, len(faces), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        canvas = Canvas(len(faces[part]), height, width, zoom)
        _paint(canvas, faces[part])
        pictures[part] = np.rint(np.clip(canvas.pixels, 0, 1) * 255)
    return pictures


def landmarks(
    faces: Faces, size: int | tuple[int, int] = 64, *, zoom: float = 1.0
) -> np.ndarray:
    """Where the eyes, the nose and the corners of the mouth are.

    Args:
        faces: n of them.
        size: as in `draw`.
        zoom: as in `draw`.

    Returns:
        float (n, 5, 2), (x, y) in pixels: the eye on the picture's left, the other one,
        the nose's tip, the mouth's left corner, the right one.
    """
    height, width = (size, size) if isinstance(size, int) else size
    shape = _Shape(faces)
    mouth = 0.8 * shape.mouth_width / shape.half_width
    points = [
        shape.place(-shape.eye_angle, shape.eye_y),
        shape.place(shape.eye_angle, shape.eye_y),
        shape.place(0.0, shape.nose_y, out=1.25),
        shape.place(-mouth, shape.mouth_y),
        shape.place(mouth, shape.mouth_y),
    ]
    places = np.stack(
        [np.stack(np.broadcast_arrays(x, y), -1) for x, y, _ in points], 1
    )
    return places * height * zoom / 2 + np.array([width, height]) / 2


class _Shape:
    """The measures of faces: where their parts are and how large."""

    def __init__(self, faces: Faces):
        value = faces.column
        self.faces = faces
        self.male = value("gender")
        self.turn = _TURN * value("pose")
        self.middle_y = 0.06
        self.half_width = 0.47 + 0.05 * value("face_width") + 0.02 * self.male
        self.half_height = 0.62 + 0.05 * value("face_length")
        self.eye_angle = 0.44 + 0.05 * value("eye_distance")
        self.eye_y = np.full(len(faces), -0.04)
        self.eye_width = 0.105 + 0.02 * value("eye_size") - 0.008 * self.male
        self.nose_y = 0.19 + 0.04 * value("nose_length")
        self.mouth_y = 0.4 + 0.02 * value("face_length")
        self.mouth_width = 0.18 + 0.03 * value("mouth_width") + 0.015 * value("smile")

    def place(self, angle, y, out: float = 1.0):
        """A point of the turned head: its x, its y, and how narrow it looks.

        Args:
            angle: around the head, in radians; 0 is the middle of the face.
            y: in units of the canvas.
            out: distance from the head's axis, in radii.
        """
        turned = np.clip(np.asarray(angle) + self.turn, -1.5, 1.5)
        return out * self.half_width * np.sin(turned), y, np.cos(turned)


def _paint(canvas: Canvas, faces: Faces) -> None:
    shape, colours = _Shape(faces), palette.of(faces)
    _ground(canvas, shape, colours)
    _hair_behind(canvas, shape, colours)
    _neck(canvas, shape, colours)
    skin = _head(canvas, shape, colours)
    _age(canvas, shape, colours)
    _beard(canvas, shape, colours, skin)
    for side in (-1, 1):
        _eye(canvas, shape, colours, side)
    _nose(canvas, shape, colours)
    _mouth(canvas, shape, colours)
    _hair(canvas, shape, colours)
    _glasses(canvas, shape)
    _light(canvas, faces)


def _ground(canvas, shape, colours):
    cover = np.ones((len(shape.male), 1, 1)) + 0 * (canvas.x + canvas.y)
    canvas.paint(cover, colours.ground)
    canvas.paint(cover * (0.15 + 0.15 * canvas.y), 0.3 * colours.ground)


def _hair_behind(canvas, shape, colours):
    """Long hair falls behind the neck."""
    length = _length(shape)
    canvas.paint(
        canvas.inside(
            canvas.ellipse(
                -0.05 * shape.turn,
                -0.1 + 0.35 * length,
                shape.half_width + 0.06 + 0.06 * length,
                shape.half_height + 0.02 + 0.3 * length,
            ),
        ),
        0.75 * colours.hair,
    )


def _length(shape):
    """0 (short) to 1 (long)."""
    length = 0.5 + 0.5 * shape.faces.column("hair_length")
    return (1 - shape.male) * (0.3 + 0.7 * length)


def _neck(canvas, shape, colours):
    body = canvas.ellipse(0.0, 1.25, 0.85 + 0.1 * shape.male, 0.5)
    canvas.paint(canvas.inside(body), colours.shirt)
    width = 0.22 + 0.06 * shape.male
    neck = np.maximum(
        np.abs(canvas.x - column(0.1 * shape.turn)) - column(width), canvas.y - 0.86
    )
    neck = np.maximum(neck, 0.2 - canvas.y)
    canvas.paint(canvas.inside(neck, 0.03), 0.78 * colours.skin)


def _outline(canvas, shape, grow=0.0):
    """Distance to the head's edge: an ellipse above, narrowed to the chin below."""
    down = (canvas.y - shape.middle_y) / column(shape.half_height + grow)
    jaw = column(0.16 - 0.1 * shape.faces.column("jaw") - 0.06 * shape.male)
    width = column(shape.half_width + grow) * (1 - jaw * np.clip(down, 0, 1) ** 2)
    radius = np.sqrt((canvas.x / width) ** 2 + down**2)
    return (radius - 1) * column(shape.half_width + grow)


def _head(canvas, shape, colours):
    for side in (-1, 1):
        x, y, _ = shape.place(1.45 * side, 0.06)
        # The ear that the head turns away from shows less.
        ear = canvas.ellipse(x + 0.03 * side, y, 0.075, 0.13)
        canvas.paint(canvas.inside(ear), 0.85 * colours.skin)
    skin = canvas.inside(_outline(canvas, shape))
    canvas.paint(skin, colours.skin)
    for side in (-1, 1):
        x, y, narrow = shape.place(0.55 * side, 0.2)
        cheek = canvas.inside(canvas.ellipse(x, y, 0.14 * narrow, 0.1), 0.15)
        canvas.paint(0.35 * cheek * skin, colours.blush)
    return skin


def _age(canvas, shape, colours):
    """Lines on the forehead, under the eyes and beside the mouth."""
    old = column(np.clip(shape.faces.column("age") - 0.25, 0, 1))
    dark = 0.62 * colours.skin
    for height in (-0.3, -0.38):
        x, y, narrow = shape.place(0.0, height)
        line = canvas.curve(x, y, 0.24 * narrow, -0.02, 0.012)
        canvas.paint(0.9 * old * canvas.inside(line, 0.01), dark)
    for side in (-1, 1):
        x, y, narrow = shape.place(side * shape.eye_angle, shape.eye_y + 0.11)
        bag = canvas.curve(x, y, 0.1 * narrow, 0.03, 0.012)
        canvas.paint(0.9 * old * canvas.inside(bag, 0.01), dark)
        x, y, narrow = shape.place(0.42 * side, 0.3)
        fold = canvas.ellipse(x, y, 0.016 * narrow, 0.11, -0.35 * side)
        canvas.paint(0.9 * old * canvas.inside(fold, 0.01), dark)


def _beard(canvas, shape, colours, skin):
    amount = np.clip(shape.faces.column("beard") + 0.2, 0, 1) * shape.male
    x, y, narrow = shape.place(0.0, shape.mouth_y)
    # It rises from the chin to the ears, and leaves the lips free.
    edge = 0.31 - 0.9 * (canvas.x - column(0.7 * x)) ** 2
    chin = canvas.inside(edge - canvas.y, 0.06) * skin
    free = canvas.inside(canvas.ellipse(x, y, shape.mouth_width * narrow, 0.05), 0.02)
    cover = column(0.85 * amount) * chin * (1 - free)
    canvas.paint(cover, 0.8 * colours.hair + 0.1 * colours.skin)


def _eye(canvas, shape, colours, side):
    value = shape.faces.column
    x, y, narrow = shape.place(side * shape.eye_angle, shape.eye_y)
    width, height = shape.eye_width * narrow, 0.58 * shape.eye_width
    # Who smiles narrows the eyes.
    height = height * (1 - 0.2 * np.clip(value("smile"), 0, 1))
    socket = canvas.ellipse(x, y, 1.5 * width, 1.7 * height)
    canvas.paint(0.3 * canvas.inside(socket, 0.05), 0.6 * colours.skin)
    white = canvas.inside(canvas.ellipse(x, y, width, height))
    canvas.paint(white, np.array([0.95, 0.95, 0.93]))
    gaze = x + 0.02 * shape.turn
    iris = canvas.ellipse(gaze, y, 0.058 * narrow, np.full_like(x, 0.058))
    canvas.paint(white * canvas.inside(iris), colours.eyes)
    pupil = canvas.ellipse(gaze, y, 0.026 * narrow, np.full_like(x, 0.026))
    canvas.paint(white * canvas.inside(pupil), np.full(3, 0.05))
    lid = canvas.curve(x, y - height, 1.15 * width, -0.8 * height, 0.014)
    canvas.paint(0.9 * canvas.inside(lid), 0.35 * colours.skin)
    brow_y = y - 0.17 - 0.025 * value("brow_height")
    weight = 0.024 + 0.01 * value("brow_weight") + 0.01 * shape.male
    brow = canvas.curve(x, brow_y, 0.145 * narrow, -0.035, weight)
    canvas.paint(0.9 * canvas.inside(brow), 0.7 * colours.hair)


def _nose(canvas, shape, colours):
    width = 0.07 + 0.018 * shape.faces.column("nose_width")
    tip_x, tip_y, _ = shape.place(0.0, shape.nose_y, out=1.25)
    root_x, root_y, _ = shape.place(0.0, shape.eye_y)
    # The bridge is a slanted line of shade on the side that turns away.
    lean = np.arctan2(tip_x - root_x, tip_y - root_y)
    middle_x, middle_y = (tip_x + root_x) / 2, (tip_y + root_y) / 2
    away = -np.sign(shape.turn + 1e-9)
    bridge = canvas.ellipse(
        middle_x + 0.03 * away, middle_y, 0.022, (tip_y - root_y) / 2, -lean
    )
    canvas.paint(0.35 * canvas.inside(bridge, 0.02), 0.65 * colours.skin)
    under = canvas.curve(tip_x, tip_y + 0.02, width, 0.02, 0.022)
    canvas.paint(0.75 * canvas.inside(under, 0.01), 0.6 * colours.skin)
    light = canvas.ellipse(tip_x, tip_y - 0.04, 0.5 * width, 0.035)
    canvas.paint(0.3 * canvas.inside(light, 0.03), np.minimum(1.2 * colours.skin, 1))


def _mouth(canvas, shape, colours):
    value = shape.faces.column
    smile = value("smile")
    x, y, narrow = shape.place(0.0, shape.mouth_y)
    width, bend = shape.mouth_width * narrow, 0.085 * smile
    thickness = 0.034 + 0.012 * value("lip_fullness") - 0.006 * shape.male
    lips = canvas.curve(x, y, width, bend, thickness + 0.018 * np.clip(smile, 0, 1))
    canvas.paint(canvas.inside(lips), colours.lips)
    teeth = canvas.curve(x, y, 0.82 * width, bend, 0.03 * np.clip(smile, 0, 1))
    canvas.paint(
        canvas.inside(teeth) * column(smile > 0.1), np.array([0.96, 0.95, 0.92])
    )
    line = canvas.curve(x, y, 0.95 * width, bend, 0.009)
    canvas.paint(0.9 * canvas.inside(line) * column(smile <= 0.1), 0.4 * colours.lips)


def _hair(canvas, shape, colours):
    """The hair on the head: above a line that runs down at the temples."""
    value = shape.faces.column
    bare = 0.09 * shape.male * np.clip(value("age") - 0.3, 0, 1)
    line = -0.42 - 0.05 * value("hairline") - bare
    x, _, _ = shape.place(0.0, 0.0)
    side = (canvas.x - column(0.6 * x)) / column(shape.half_width)
    fall = 0.28 + 0.5 * _length(shape)
    edge = column(line) + column(fall) * np.abs(side) ** 3
    cap = np.maximum(_outline(canvas, shape, 0.07), canvas.y - edge)
    canvas.paint(canvas.inside(cap, 0.02), colours.hair)
    shine = canvas.ellipse(x - 0.1, -0.52, 0.2, 0.05, -0.15)
    cover = 0.25 * canvas.inside(shine, 0.08) * canvas.inside(cap, 0.02)
    canvas.paint(cover, np.minimum(1.4 * colours.hair + 0.12, 1))


def _glasses(canvas, shape):
    amount = column(shape.faces.column("glasses"))
    dark, cover = np.full(3, 0.08), 0.0
    for side in (-1, 1):
        x, y, narrow = shape.place(side * shape.eye_angle, shape.eye_y, out=1.05)
        ring = canvas.ellipse(x, y + 0.01, 0.165 * narrow, np.full_like(x, 0.135))
        cover = np.maximum(cover, canvas.inside(np.abs(ring) - 0.018))
        outer, y, _ = shape.place(side * 1.4, shape.eye_y)
        arm_x = x + side * 0.165 * narrow
        middle, half = (arm_x + outer) / 2, np.abs(outer - arm_x) / 2
        arm = np.maximum(
            np.abs(canvas.x - column(middle)) - column(half),
            np.abs(canvas.y - column(y)) - 0.016,
        )
        cover = np.maximum(cover, canvas.inside(arm))
    cover = cover * canvas.inside(_outline(canvas, shape, 0.03))
    bridge_x, y, narrow = shape.place(0.0, shape.eye_y, out=1.05)
    half = shape.half_width * np.sin(shape.eye_angle) - 0.15
    bridge = canvas.curve(bridge_x, y - 0.01, half * narrow, -0.02, 0.018)
    cover = np.maximum(cover, canvas.inside(bridge))
    canvas.paint(amount * cover, dark)


def _light(canvas, faces):
    slope = column(0.16 * faces.column("light"))
    canvas.pixels *= (1 + slope * canvas.x + 0 * canvas.y)[..., None]
