"""What scenes are and what can be truly said of them.

A scene is a list of objects on a plain ground. One table of sentence patterns serves
both ways: `captions` fills patterns from a scene, `is_true` matches a sentence against
the same patterns and checks each claim against the scene.
"""

import dataclasses
import functools
import re

import numpy as np

COLOURS = {
    "red": (214, 39, 40),
    "orange": (255, 140, 20),
    "yellow": (240, 215, 40),
    "green": (44, 160, 60),
    "blue": (40, 90, 220),
    "purple": (140, 60, 190),
    "pink": (245, 140, 190),
    "brown": (130, 80, 50),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
PLURALS = {s: s + "s" if s != "cross" else "crosses" for s in SHAPES}
SIZES = ("small", "large")
GROUNDS = {"dark": 45, "light": 215}
COUNTS = {2: "two", 3: "three", 4: "four"}
PLACES = ("top left", "top right", "bottom left", "bottom right", "middle")
# relation -> (as in "a square ... a circle", as in "a circle with a square ...")
RELATIONS = {
    "left": ("to the left of", "to its left"),
    "right": ("to the right of", "to its right"),
    "above": ("above", "above it"),
    "below": ("below", "below it"),
    "inside": ("inside", "inside it"),
}
KINDS = ("single", "count", "relation")

PATTERNS = {
    "single": (
        "a {size} {colour} {shape} in the {place}",
        "there is one {colour} {shape} in the {place} of the picture",
        "a picture of a {size} {colour} {shape}",
        "one {size} {shape} that is {colour} on a {ground} background",
        "a {colour} {shape} on a {ground} background",
        "the {place} holds a {colour} {shape}",
    ),
    "count": (
        "{count} {colour} {shapes} on a {ground} background",
        "a picture of {count} {colour} {shapes}",
        "there are {count} {shapes} and all of them are {colour}",
        "a group of {count} {colour} {shapes}",
        "{count} {shapes} that are {colour}",
        "one can see {count} {colour} {shapes}",
    ),
    "relation": (
        "a {colour} {shape} {relation} a {colour2} {shape2}",
        "there is a {colour} {shape} {relation} a {colour2} {shape2}",
        "a {colour2} {shape2} with a {colour} {shape} {where}",
        "the {colour} {shape} is {relation} the {colour2} {shape2}",
        "a {colour} {shape} and a {colour2} {shape2} on a {ground} background",
        "a picture of a {colour} {shape} {relation} a {colour2} {shape2}",
    ),
}
# The catalogue names objects one by one in reading order and knows neither relations
# nor counts: public pre-training data of another distribution than the scenes.
CATALOGUE_OPENINGS = ("", "list ", "seen ", "objects ", "catalogue ")
CAPTIONS_PER_SCENE = 5


@dataclasses.dataclass(frozen=True)
class Thing:
    """One object; `x`, `y` (centre) and `radius` in units of the picture's side."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float

    @property
    def size(self) -> str:
        return "large" if self.radius >= 0.2 else "small"

    @property
    def place(self) -> str:
        """The name of the place; "middle" is the central third in both directions."""
        if abs(self.x - 0.5) < 1 / 6 and abs(self.y - 0.5) < 1 / 6:
            return "middle"
        row = "top" if self.y < 0.5 else "bottom"
        return f"{row} {'left' if self.x < 0.5 else 'right'}"


@dataclasses.dataclass(frozen=True)
class Scene:
    """A kind, a ground and the objects, the one spoken of first in front."""

    kind: str
    ground: str
    things: tuple[Thing, ...]

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> "Scene":
        things = tuple(Thing(**thing) for thing in data["things"])
        return cls(data["kind"], data["ground"], things)


def relations_between(a: Thing, b: Thing) -> set[str]:
    """Every relation that holds of `a` to `b`.

    Beside and above want a gap between the objects' bounding circles along that axis
    and a smaller shift along the other; inside wants `a` within `b`.
    """
    dx, dy, reach = a.x - b.x, a.y - b.y, a.radius + b.radius
    if np.hypot(dx, dy) + a.radius <= b.radius:
        return {"inside"}
    held = set()
    if abs(dx) >= reach and abs(dx) > abs(dy):
        held.add("left" if dx < 0 else "right")
    if abs(dy) >= reach and abs(dy) > abs(dx):
        held.add("above" if dy < 0 else "below")
    return held


def captions(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Five true sentences about a scene, each worded differently."""
    if scene.kind == "catalogue":
        return _catalogue(scene)
    patterns = PATTERNS[scene.kind]
    chosen = rng.permutation(len(patterns))[:CAPTIONS_PER_SCENE]
    return [
        with_articles(patterns[i].format(**_words(_seen_from_either_side(scene, rng))))
        for i in chosen
    ]


def _seen_from_either_side(scene, rng):
    """People say "a above b" or "b below a"; what is inside is always named first."""
    if scene.kind != "relation" or rng.uniform() < 0.5:
        return scene
    if relations_between(*scene.things) == {"inside"}:
        return scene
    return dataclasses.replace(scene, things=scene.things[::-1])


def in_reading_order(things: tuple[Thing, ...]) -> list[Thing]:
    """Top half before bottom half, left before right."""
    return sorted(things, key=lambda t: (t.y >= 0.5, t.x))


def _catalogue(scene):
    entries = " then ".join(
        f"{thing.colour} {thing.shape} {thing.place}"
        for thing in in_reading_order(scene.things)
    )
    return [opening + entries for opening in CATALOGUE_OPENINGS]


def _words(scene):
    first = scene.things[0]
    words = {
        "ground": scene.ground,
        "size": first.size,
        "colour": first.colour,
        "shape": first.shape,
        "shapes": PLURALS[first.shape],
        "place": first.place,
        "count": COUNTS.get(len(scene.things), ""),
    }
    if scene.kind == "relation":
        second = scene.things[1]
        (relation,) = relations_between(first, second)
        words["colour2"], words["shape2"] = second.colour, second.shape
        words["relation"], words["where"] = RELATIONS[relation]
    return words


def with_articles(text: str) -> str:
    """ "a orange" -> "an orange"."""
    return re.sub(r"\ba (?=orange\b)", "an ", text)


@functools.cache
def _matchers():
    """(kind, compiled pattern) of every sentence that the grammar can say."""
    slots = {
        "size": SIZES,
        "colour": COLOURS,
        "colour2": COLOURS,
        "shape": SHAPES,
        "shape2": SHAPES,
        "shapes": PLURALS.values(),
        "ground": GROUNDS,
        "count": COUNTS.values(),
        "place": PLACES,
        "relation": [r[0] for r in RELATIONS.values()],
        "where": [r[1] for r in RELATIONS.values()],
    }
    groups = {k: f"(?P<{k}>{'|'.join(v)})" for k, v in slots.items()}
    return [
        (kind, re.compile(pattern.format(**groups)))
        for kind, patterns in PATTERNS.items()
        for pattern in patterns
    ]


def is_true(caption: str, scene: Scene) -> bool:
    """Whether a caption is a sentence of the grammar and true of the scene.

    A sentence about one or two objects is true of any scene that holds such objects; a
    number is true when it is the whole number of such objects.
    """
    if scene.kind == "catalogue":
        return caption in _catalogue(scene)
    text = re.sub(r"\ban (?=orange\b)", "a ", caption.strip())
    for kind, pattern in _matchers():
        match = pattern.fullmatch(text)
        if match and _holds(kind, match.groupdict(), scene):
            return True
    return False


def _holds(kind, claim, scene):
    if claim.get("ground", scene.ground) != scene.ground:
        return False
    if kind == "count":
        alike = [
            t
            for t in scene.things
            if PLURALS[t.shape] == claim["shapes"] and t.colour == claim["colour"]
        ]
        return COUNTS.get(len(alike)) == claim["count"]
    first = [t for t in scene.things if _matches(t, claim, "")]
    if kind == "single":
        return bool(first)
    second = [t for t in scene.things if _matches(t, claim, "2")]
    phrase = claim.get("relation") or claim.get("where")
    return any(
        a is not b
        and (
            phrase is None
            or any(phrase in RELATIONS[r] for r in relations_between(a, b))
        )
        for a in first
        for b in second
    )


def _matches(thing, claim, suffix):
    return all(
        getattr(thing, name) == claim[name + suffix]
        for name in ("shape", "colour", "size", "place")
        if name + suffix in claim
    )


def vocabulary() -> list[str]:
    """Every word that the grammar can say, sorted: fixed, hence public."""
    text = " ".join(
        [pattern for group in PATTERNS.values() for pattern in group]
        + [" ".join(r) for r in RELATIONS.values()]
        + [*COLOURS, *SHAPES, *PLURALS.values(), *SIZES, *GROUNDS, *PLACES]
        + [*COUNTS.values(), *CATALOGUE_OPENINGS, "then", "an"]
    )
    return sorted(set(re.sub(r"\{\w+\}", " ", text).split()))
