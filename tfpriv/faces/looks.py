"""What a drawn face is made of: who it is, and how it looks in one picture."""

import dataclasses

import numpy as np

# What makes a person, each evenly spread over [-1, 1].
TRAITS = (
    "face_width",
    "face_length",
    "jaw",
    "skin",
    "skin_warmth",
    "hair_shade",
    "hair_warmth",
    "hair_length",
    "hairline",
    "eye_distance",
    "eye_size",
    "eye_colour",
    "brow_height",
    "brow_weight",
    "nose_length",
    "nose_width",
    "mouth_width",
    "lip_fullness",
    "beard",
)
# What of a picture an attribute edit may change, with its range.
ATTRIBUTES = {
    "age": (0.0, 1.0),
    "gender": (0.0, 1.0),  # 1 is male
    "smile": (-1.0, 1.0),
    "glasses": (0.0, 1.0),
    "pose": (-1.0, 1.0),  # turned to the picture's left, or right
}
# What else differs from picture to picture, each evenly spread over [-1, 1].
SCENE = ("light", "ground", "ground_warmth", "shirt")

NUMBERS = len(TRAITS) + len(ATTRIBUTES) + len(SCENE)
_WITH_GLASSES = 0.3  # how many of all

# Streams of random numbers that never meet.
_PERSON, _PICTURE = 0, 1


@dataclasses.dataclass(frozen=True)
class Faces:
    """Parameters of n faces; all numbers of a face are its known truth.

    Attributes:
        identity: int (n,), the person.
        traits: float (n, 19), in the order of `TRAITS`.
        attributes: float (n, 5), in the order of `ATTRIBUTES`.
        scene: float (n, 4), in the order of `SCENE`.
    """

    identity: np.ndarray
    traits: np.ndarray
    attributes: np.ndarray
    scene: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, rows) -> "Faces":
        """The faces of a slice, a mask or an array of rows."""
        return Faces(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))

    def column(self, name: str) -> np.ndarray:
        """float (n,), one trait, attribute or property of the scene."""
        if name in TRAITS:
            return self.traits[:, TRAITS.index(name)]
        if name in ATTRIBUTES:
            return self.attributes[:, list(ATTRIBUTES).index(name)]
        return self.scene[:, SCENE.index(name)]

    def with_attribute(self, name: str, value: float) -> "Faces":
        """The same faces with another value of one attribute.

        Args:
            name: one of `ATTRIBUTES`.
            value: within the attribute's range.

        Raises:
            ValueError: if there is no such attribute, or the value is out of range.
        """
        low, high = ATTRIBUTES.get(name, (0.0, 0.0))
        if name not in ATTRIBUTES or not low <= value <= high:
            raise ValueError(
                f"An attribute is one of {list(ATTRIBUTES)}, within its range. "
                f"Received: {name}={value}"
            )
        attributes = self.attributes.copy()
        attributes[:, list(ATTRIBUTES).index(name)] = value
        return dataclasses.replace(self, attributes=attributes)


def sample(people: int, pictures: int = 1, *, seed: int = 0, first: int = 0) -> Faces:
    """Random faces: face k of person p follows from the seed, p and k alone.

    Gender and most of the age belong to the person; smile, glasses, pose and scene
    to the picture.

    Args:
        people: number of persons, at least 1.
        pictures: faces of each, at least 1.
        seed: not negative.
        first: the first person's number, not negative.

    Returns:
        people * pictures faces, a person's one after another.

    Raises:
        ValueError: for a number out of range.
    """
    if people < 1 or pictures < 1 or seed < 0 or first < 0:
        raise ValueError(
            "Faces need people >= 1, pictures >= 1, seed >= 0 and first >= 0. "
            f"Received: people={people}, pictures={pictures}, seed={seed}, "
            f"first={first}"
        )
    rows = []
    for person in range(first, first + people):
        rng = np.random.default_rng([seed, _PERSON, person])
        traits = rng.uniform(-1, 1, len(TRAITS))
        age, male = rng.uniform(0, 1), float(rng.uniform() < 0.5)
        for picture in range(pictures):
            rng = np.random.default_rng([seed, _PICTURE, person, picture])
            attributes = (
                np.clip(age + rng.uniform(-0.1, 0.1), 0, 1),
                male,
                rng.uniform(-1, 1),
                float(rng.uniform() < _WITH_GLASSES),
                rng.uniform(-1, 1),
            )
            rows.append((person, traits, attributes, rng.uniform(-1, 1, len(SCENE))))
    identity, traits, attributes, scene = zip(*rows, strict=True)
    return Faces(
        np.array(identity), np.array(traits), np.array(attributes), np.array(scene)
    )


def of_numbers(numbers: np.ndarray) -> Faces:
    """Faces at given points of a cube. Evenly spread points give faces as `sample`'s.

    Args:
        numbers: float (n, 28), -1 to 1: traits, attributes and scene in their order.

    Returns:
        n faces, each of a person of its own.

    Raises:
        ValueError: for another shape, or numbers out of range.
    """
    numbers = np.asarray(numbers, float)
    inside = numbers.ndim == 2 and numbers.shape[1] == NUMBERS
    if not inside or not np.all(np.abs(numbers) <= 1):
        raise ValueError(
            f"Faces are made of {NUMBERS} numbers from -1 to 1 each. Received: shape "
            f"{numbers.shape}"
        )
    traits, looks, scene = np.split(
        numbers, [len(TRAITS), len(TRAITS) + len(ATTRIBUTES)], axis=1
    )
    age, male, smile, glasses, pose = looks.T
    attributes = [
        (age + 1) / 2,
        (male > 0).astype(float),
        smile,
        (glasses > 1 - 2 * _WITH_GLASSES).astype(float),
        pose,
    ]
    return Faces(np.arange(len(numbers)), traits, np.stack(attributes, 1), scene)
