"""Models and workflows of keras.io's code examples, in the smallest size that runs.

Each is written anew: the architecture, loss and way of training are those of the page,
the sizes and the made-up data are not.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

EXAMPLES = 8

WORKFLOWS: dict = {}


@dataclasses.dataclass
class Case:
    """One model with made-up data.

    Args:
        model: Plain `keras.Model`.
        x, y: Arguments of `fit`.
        compile: Dict of the arguments of `compile`, without the optimizer.
        fit: Dict of further arguments of `fit`.
    """

    model: Any
    x: Any
    y: Any = None
    compile: dict = dataclasses.field(default_factory=dict)
    fit: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Workflow:
    """An example of keras.io.

    Args:
        page: Path of the page below keras.io/examples.
        build: Function of a NumPy generator that returns a `Case`.
        refused: Regular expression of the reason, if it cannot be trained.
        exact: Whether the gradients are compared with a loop over single examples.
    """

    page: str
    build: Callable
    refused: str | None = None
    exact: bool = False


def workflow(page, *, refused=None, exact=False):
    """Decorator: adds a builder to the list, under its own name."""

    def add(build):
        if build.__name__ in WORKFLOWS:
            raise ValueError(f"Two workflows are called {build.__name__}")
        WORKFLOWS[build.__name__] = Workflow(page, build, refused, exact)
        return build

    return add


def normal(rng, *shape):
    """Normal float32 numbers, one row per example."""
    return rng.normal(size=(EXAMPLES, *shape)).astype("float32")


def uniform(rng, *shape):
    """The same between 0 and 1: images."""
    return rng.uniform(size=(EXAMPLES, *shape)).astype("float32")


def integers(rng, below, *shape, start=0):
    """Integers in `[start, below)`: labels and tokens."""
    return rng.integers(start, below, (EXAMPLES, *shape)).astype("int32")


from everyday import (  # noqa: E402, F401
    audio,
    generative,
    structured,
    text,
    timeseries,
    vision,
)
