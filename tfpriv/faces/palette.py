"""The colours of drawn faces."""

import dataclasses

import numpy as np

from tfpriv.faces.looks import Faces

# Colours between which a trait moves, from -1 to 1.
SKIN = ((0.36, 0.23, 0.16), (0.66, 0.45, 0.33), (0.88, 0.69, 0.57), (0.97, 0.83, 0.73))
HAIR = ((0.07, 0.06, 0.06), (0.25, 0.15, 0.09), (0.5, 0.32, 0.16), (0.85, 0.68, 0.38))
GREY = (0.78, 0.78, 0.78)
EYES = ((0.22, 0.12, 0.06), (0.28, 0.42, 0.22), (0.25, 0.45, 0.7))
SHIRT = ((0.15, 0.2, 0.4), (0.6, 0.2, 0.2), (0.85, 0.85, 0.8), (0.2, 0.45, 0.35))
GROUND = ((0.25, 0.3, 0.38), (0.55, 0.6, 0.62), (0.85, 0.86, 0.84))
GREYING = 0.55  # the age at which hair begins to


@dataclasses.dataclass(frozen=True)
class Colours:
    """Colours of n faces, each float (n, 3), 0 to 1."""

    skin: np.ndarray
    blush: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    eyes: np.ndarray
    shirt: np.ndarray
    ground: np.ndarray


def of(faces: Faces) -> Colours:
    """The colours that faces' traits, ages and scenes give."""
    value = faces.column
    skin = _between(SKIN, value("skin"))
    skin = skin * (1 + np.outer(value("skin_warmth"), (0.05, 0.0, -0.12)))
    hair = _between(HAIR, value("hair_shade"))
    hair = hair * (1 + np.outer(value("hair_warmth"), (0.25, -0.05, -0.2)))
    grey = np.clip((value("age") - GREYING) / (1 - GREYING), 0, 1)[:, None]
    female = 1 - value("gender")[:, None]
    red = skin * (1.0, 0.62, 0.6)
    return Colours(
        skin=np.clip(skin, 0, 1),
        blush=np.clip(skin * (1.05, 0.75, 0.75), 0, 1),
        lips=red + female * (np.array([0.72, 0.2, 0.25]) - red) * 0.6,
        hair=np.clip(hair + 0.85 * grey * (np.array(GREY) - hair), 0, 1),
        eyes=_between(EYES, value("eye_colour")),
        shirt=_between(SHIRT, value("shirt")),
        ground=_between(GROUND, value("ground"))
        * (1 + np.outer(value("ground_warmth"), (0.12, 0.0, -0.12))),
    )


def _between(colours, place) -> np.ndarray:
    """Colours (n, 3) along a row of them, for places (n,) from -1 to 1."""
    table = np.array(colours)
    at = (np.asarray(place) + 1) / 2 * (len(table) - 1)
    return np.stack(
        [np.interp(at, np.arange(len(table)), table[:, c]) for c in range(3)], -1
    )
