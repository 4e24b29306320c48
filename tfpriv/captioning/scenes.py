"""Draws scenes and writes them as a data set in COCO's own layout.

Everything follows from a seed: picture `i` of a split is the same whatever the number
of pictures asked for.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tfpriv.captioning import grammar
from tfpriv.captioning.grammar import Scene, Thing
from tfpriv.support import images
from tfpriv.support.outputs import new_directory

# Seeds of a split and of the two styles never meet.
STREAMS = {"train": 0, "val": 1}
STYLES = {"scenes": 0, "catalogue": 1}
OVERSAMPLING = 3


def sample_scene(rng: np.random.Generator, style: str = "scenes") -> Scene:
    """A random scene: one object, several alike, or two in a relation.

    Args:
        rng: Source of randomness.
        style: `"scenes"`, or `"catalogue"` (one to three unrelated objects).
    """
    ground = str(rng.choice(list(grammar.GROUNDS)))
    if style == "catalogue":
        number = int(rng.integers(1, 4))
        return Scene("catalogue", ground, _apart(rng, number, radii=(0.08, 0.18)))
    kind = str(rng.choice(grammar.KINDS, p=(0.25, 0.25, 0.5)))
    if kind == "single":
        return Scene(kind, ground, (_anywhere(rng, *_looks(rng)),))
    if kind == "count":
        number, looks = int(rng.choice(list(grammar.COUNTS))), _looks(rng)
        return Scene(kind, ground, _apart(rng, number, looks, radii=(0.08, 0.13)))
    return Scene(kind, ground, _related(rng))


def _looks(rng):
    return str(rng.choice(grammar.SHAPES)), str(rng.choice(list(grammar.COLOURS)))


def _anywhere(rng, shape, colour, radii=(0.1, 0.3)):
    """An object whose size and place have clear names (no border cases)."""
    while True:
        radius = rng.uniform(*radii)
        x, y = rng.uniform(radius + 0.02, 0.98 - radius, size=2)
        off_border = all(
            abs(abs(v - 0.5) - 1 / 6) > 0.03 and (near or abs(v - 0.5) > 0.04)
            for near in [abs(x - 0.5) < 1 / 6 and abs(y - 0.5) < 1 / 6]
            for v in (x, y)
        )
        if off_border and abs(radius - 0.2) > 0.02:
            return Thing(shape, colour, *(round(float(v), 4) for v in (x, y, radius)))


def _apart(rng, number, looks=None, radii=(0.1, 0.18)):
    """Objects that do not touch, alike where `looks` is given."""
    things = []
    while len(things) < number:
        new = _anywhere(rng, *(looks or _looks(rng)), radii=radii)
        if all(_gap(new, t) > 0.03 for t in things):
            things.append(new)
        elif rng.uniform() < 0.02:
            things = []  # a corner without an exit: begin again
    return tuple(things)


def _gap(a, b):
    return np.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius


def _related(rng):
    """Two objects of different looks between which exactly one relation holds."""
    wanted = str(rng.choice(list(grammar.RELATIONS)))
    first, second = _looks(rng), _looks(rng)
    while first == second or (wanted == "inside" and first[1] == second[1]):
        second = _looks(rng)
    while True:
        if wanted == "inside":
            b = _anywhere(rng, *second, radii=(0.3, 0.42))
            a = Thing(*first, b.x, b.y, round(b.radius * rng.uniform(0.3, 0.4), 4))
        else:
            a = _anywhere(rng, *first, radii=(0.1, 0.18))
            b = _anywhere(rng, *second, radii=(0.1, 0.18))
        if grammar.relations_between(a, b) == {wanted} and (
            wanted == "inside" or _gap(a, b) > 0.03
        ):
            return a, b


def draw(scene: Scene, size: int, rng: np.random.Generator) -> np.ndarray:
    """Paints a scene with slightly varying colours and film grain.

    Args:
        scene: What to paint; objects spoken of first lie in front.
        size: Height and width in pixels, at least 16.
        rng: Source of the variation.

    Returns:
        uint8 array of shape `(size, size, 3)`.
    """
    side = size * OVERSAMPLING
    grey = grammar.GROUNDS[scene.ground]
    ground = np.clip(grey + rng.normal(0, 12, size=3), 0, 255).astype(int)
    picture = Image.new("RGB", (side, side), tuple(ground.tolist()))
    pen = ImageDraw.Draw(picture)
    for thing in reversed(scene.things):
        colour = np.array(grammar.COLOURS[thing.colour]) + rng.normal(0, 8, size=3)
        fill = tuple(np.clip(colour, 0, 255).astype(int).tolist())
        _paint(pen, thing, side, fill)
    array = np.asarray(picture.resize((size, size), Image.Resampling.BOX), "float32")
    return np.clip(array + rng.normal(0, 4, array.shape), 0, 255).astype("uint8")


def _paint(pen, thing, side, fill):
    x, y, r = thing.x * side, thing.y * side, thing.radius * side
    if thing.shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif thing.shape == "cross":
        arm = r / 3.2
        pen.rectangle((x - r, y - arm, x + r, y + arm), fill=fill)
        pen.rectangle((x - arm, y - r, x + arm, y + r), fill=fill)
    else:
        angles, radii = _OUTLINES[thing.shape]
        pen.polygon(
            [
                (x + r * k * np.cos(a), y + r * k * np.sin(a))
                for a, k in zip(np.radians(angles), radii, strict=True)
            ],
            fill=fill,
        )


_OUTLINES = {  # corners: angle in degrees, distance in radii
    "square": ((45, 135, 225, 315), (1, 1, 1, 1)),
    "triangle": ((-90, 30, 150), (1, 1, 1)),
    "diamond": ((0, 90, 180, 270), (0.65, 1, 0.65, 1)),
    "star": (tuple(range(-90, 270, 36)), (1, 0.42) * 5),
}


def make_scene(
    seed: int, index: int, *, split: str = "train", style: str = "scenes"
) -> tuple[Scene, list[str], np.random.Generator]:
    """Scene number `index`, its five captions, and the generator to draw it with."""
    rng = np.random.default_rng([seed, STYLES[style], STREAMS[split], index])
    scene = sample_scene(rng, style)
    return scene, grammar.captions(scene, rng), rng


def write_dataset(
    output: str | Path,
    pictures: int,
    *,
    validation: int | None = None,
    size: int = 64,
    seed: int = 0,
    style: str = "scenes",
    progress=None,
) -> Path:
    """Writes scenes as `annotations/captions_{split}2017.json` and `{split}2017/`.

    Beside each caption file lies `scenes_{split}2017.json` with what is really in the
    pictures, so that captions can be checked for truth.

    Args:
        output: Folder to make; it must not exist or be empty.
        pictures: Number of training pictures.
        validation: Number of validation pictures; default a tenth, 50 to 1,000.
        size: Height and width in pixels.
        seed: Non-negative int.
        style: `"scenes"` or `"catalogue"`.
        progress: `None` or a function called with `(done, total)`.
    """
    if pictures < 1 or size < 16 or seed < 0 or style not in STYLES:
        raise ValueError(
            "Scenes need pictures >= 1, size >= 16, seed >= 0 and a style in "
            f"{list(STYLES)}. Received: pictures={pictures}, size={size}, "
            f"seed={seed}, style={style!r}"
        )
    if validation is None:
        validation = min(max(pictures // 10, 50), 1000)
    if validation < 0:
        raise ValueError(f"Expected validation >= 0. Received: validation={validation}")
    numbers, total = {"train": pictures, "val": validation}, pictures + validation
    with new_directory(output) as folder:
        (folder / "annotations").mkdir()
        done = 0
        for split, number in numbers.items():
            done = _write_split(
                folder, split, number, size, seed, style, done, total, progress
            )
    return Path(output)


def _write_split(folder, split, number, size, seed, style, done, total, progress):
    name = f"{split}2017"
    (folder / name).mkdir()
    rows, texts, truths = [], [], {}
    for index in range(number):
        scene, captions, rng = make_scene(seed, index, split=split, style=style)
        picture_id = 1 + index + 10_000_000 * STREAMS[split]
        file = f"{picture_id:012d}.jpg"
        images.save(folder / name / file, draw(scene, size, rng))
        rows.append(
            {"id": picture_id, "file_name": file, "height": size, "width": size}
        )
        for text in captions:
            texts.append(
                {"id": len(texts) + 1, "image_id": picture_id, "caption": text}
            )
        truths[picture_id] = scene.to_json()
        done += 1
        if progress and (done % 200 == 0 or done == total):
            progress(done, total)
    info = {
        "description": f"tfpriv {style}",
        "generator": "tfpriv.captioning.scenes",
        "vocabulary": "scenes",
        "seed": seed,
    }
    document = {"info": info, "images": rows, "annotations": texts, "licenses": []}
    annotations = folder / "annotations"
    (annotations / f"captions_{name}.json").write_text(json.dumps(document))
    (annotations / f"scenes_{name}.json").write_text(json.dumps(truths))
    return done
