"""The base of training recipes: numbers that are checked when they are given."""

import dataclasses
import math
from typing import ClassVar

from tfpriv.support import checks


@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """Base of the frozen dataclasses that say how a network is trained.

    Fields that are annotated `int` must be integers of at least 1, those annotated
    `float` positive and finite, unless a class attribute says otherwise. A subclass
    checks in `__post_init__` what its other fields need. The order of the fields and
    their names are part of the checkpoints (`vars(recipe)`).

    Attributes:
        zero_allowed: Names of fields that may be 0, too.
        at_most_one: Names of fields that must not be above 1.
    """

    zero_allowed: ClassVar[tuple[str, ...]] = ()
    at_most_one: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            zero = name in self.zero_allowed or name == "seed"
            if field.type is int:
                checks.whole(name, value, low=0 if zero else 1)
            elif field.type is float:
                high = 1.0 if name in self.at_most_one else math.inf
                checks.real(name, value, high=high, open_low=not zero)
