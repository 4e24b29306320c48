"""Looks at a model once, on made-up data, before any private batch is drawn.

What it finds decides how per-example gradients are computed, and refuses models for
which a clipped sum would not mean what the accountant thinks. It never sees private
data: only shapes and dtypes.
"""

import concurrent.futures
import dataclasses
import sys
import types
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals, validate
from tfpriv.dp.clipping import vectorized
from tfpriv.dp.clipping.problem import Chunk, Problem, example_seeds

MEMORY_LIMIT = 2 << 30  # bytes that the gradients of one chunk may take
LARGEST_CHUNK = 256
MADE_UP = 4  # examples: among so many, two have the same label and one another

# What TensorFlow raises, depending on the operation, when it cannot vectorise.
_NOT_VECTORIZABLE = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    NotImplementedError,
    tf.errors.OpError,
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to compute per-example gradients of one model on data of one shape."""

    map_examples: Callable
    microbatch_size: int


def probe(problem: Problem, spec, microbatch_size=None, strategy=None) -> Plan:
    """Checks a model on synthetic examples and plans its gradients.

    Args:
        problem: `Problem`; its model may still be unbuilt.
        spec: Dict of `tf.TensorSpec` for one example (no batch axis): `x` and, where
            used, `y`, `sample_weight`.
        microbatch_size: Examples per chunk, or `None` to fit `MEMORY_LIMIT`.
        strategy: `tf.distribute.Strategy` whose scope creates variables, or `None`.

    Raises:
        ValueError: If the model updates state from data, mixes examples, has a loss
            over the batch, or trains a weight that the loss does not reach.
    """
    # Inside a `tf.function` being traced, a fresh thread is where TensorFlow is eager.
    with concurrent.futures.ThreadPoolExecutor(1) as outside:
        traced, mapper = outside.submit(
            _examine, problem, spec, strategy or tf.distribute.get_strategy()
        ).result()
    if microbatch_size is None:
        fitting = MEMORY_LIMIT // max(1, _bytes_per_example(traced))
        microbatch_size = int(min(max(1, fitting), LARGEST_CHUNK))
    if mapper is vectorized.one_by_one:
        microbatch_size = min(microbatch_size, 64)
        warnings.warn(
            f"TensorFlow cannot vectorise '{problem.model.name}' over examples; its "
            "gradients are computed one example at a time: exact, but slower.",
            stacklevel=_level_of_caller(),
        )
    return Plan(mapper, microbatch_size)


def _level_of_caller():
    """The `stacklevel` of the line outside of libraries that led here."""
    level = 1
    frame: types.FrameType | None = sys._getframe(1)
    libraries = ("tfpriv", "keras", "tensorflow")
    while frame and frame.f_globals.get("__name__", "").split(".")[0] in libraries:
        level, frame = level + 1, frame.f_back
    return level


def _examine(problem, spec, strategy):
    with strategy.scope():
        few = {k: tf.nest.map_structure(_made_up, v) for k, v in spec.items()}
        if "sample_weight" in few:
            few["sample_weight"] = tf.nest.map_structure(
                tf.ones_like, few["sample_weight"]
            )
        validate.check_layers(problem.model)
        y_pred = keras_internals.call_model(problem.model, few["x"], training=False)
        validate.check_layers(problem.model)  # some make their layers when called
        problem.loss(few, y_pred)
        validate.check_examples_do_not_mix(problem, few)
    traced = _trace_one_example(problem, spec)
    validate.check_no_state_updates(problem.model, traced)
    return traced, _choose_mapper(problem, few)


def _made_up(spec):
    """Synthetic examples: normal floats, zeros and ones for integers."""
    shape = [MADE_UP] + [4 if d is None else d for d in spec.shape]
    rng = np.random.default_rng(0)
    if spec.dtype.is_floating:
        return tf.cast(rng.standard_normal(shape), spec.dtype)
    if spec.dtype == tf.string:
        return tf.fill(shape, "a")
    return tf.cast(rng.integers(0, 2, shape), spec.dtype)


def _trace_one_example(problem, spec):
    """The graph of one example's gradient, for inspection; nothing is run."""

    def gradient_of_one(example):
        problem.map_examples = _apply_to_single
        data = tf.nest.map_structure(lambda t: t[tf.newaxis], example)
        chunk = Chunk(data, unit_present=tf.constant([True]))
        return vectorized.per_example_gradients(problem, chunk)

    seeds = [tf.TensorSpec([2], tf.int64) for _ in problem.seed_generators]
    function = tf.function(gradient_of_one, autograph=False)
    return function.get_concrete_function({**spec, "seeds": seeds})


def _apply_to_single(function, elements):
    out = function(tf.nest.map_structure(lambda t: t[0], elements))
    return tf.nest.map_structure(lambda t: t[tf.newaxis], out)


def _choose_mapper(problem, few):
    two = tf.nest.map_structure(lambda t: t[:2], few)

    @tf.function(autograph=False)
    def attempt(data):
        chunk = Chunk(data, unit_present=tf.constant([True, True]))
        return vectorized.per_example_gradients(problem, chunk)[0]

    problem.map_examples = vectorized.vectorized
    try:
        attempt({**two, "seeds": example_seeds(problem, 2)})
    except _NOT_VECTORIZABLE:
        return vectorized.one_by_one
    return vectorized.vectorized


def _bytes_per_example(traced):
    """What one example's forward and backward pass keeps, as an upper estimate."""
    total = 0
    for operation in traced.graph.get_operations():
        for output in operation.outputs:
            elements = output.shape.num_elements()
            if elements is not None and output.dtype not in (
                tf.resource,
                tf.variant,
                tf.string,
            ):
                total += elements * output.dtype.size
    return total
