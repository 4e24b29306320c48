"""Recipes refuse numbers that make no sense, and keep the order of their fields."""

import dataclasses

import pytest

from tfpriv.support.recipe import TrainingRecipe


@dataclasses.dataclass(frozen=True)
class Recipe(TrainingRecipe):
    steps: int = 1
    rate: float = 1
    weight: float = 0.0
    share: float = 1.0
    name: str = "any"
    seed: int = 0
    zero_allowed = ("weight", "share")
    at_most_one = ("share",)


def test_the_fields_keep_their_order():
    """It is part of every checkpoint."""
    assert list(vars(Recipe(steps=3))) == [f.name for f in dataclasses.fields(Recipe)]
    assert dataclasses.replace(Recipe(), seed=7).seed == 7


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"steps": 1.0},
        {"steps": True},
        {"rate": 0.0},
        {"rate": float("inf")},
        {"rate": float("nan")},
        {"weight": -1e-9},
        {"share": 1.01},
        {"seed": -1},
    ],
)
def test_numbers_out_of_range_are_refused(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"`{name}` is out of range.*Received"):
        Recipe(**change)
