"""Looks at a model once, on made-up data, before any private batch is drawn.

What it finds decides how per-example gradients are computed, and refuses models for
which a clipped sum would not mean what the accountant thinks. It never sees private
data: only shapes and dtypes.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals, validate
from tfpriv.dp.clipping import ghost, vectorized
from tfpriv.dp.clipping.coverage import Examination
from tfpriv.dp.clipping.problem import (
    Chunk,
    Problem,
    draw_words,
    example_seeds,
    same_python_draws,
)
from tfpriv.dp.clipping.rules import NotCoveredError
from tfpriv.warning import warn

MEMORY_LIMIT = 2 << 30  # bytes that the tensors of one chunk may take
LARGEST_CHUNK = 256
MADE_UP = 4  # examples: among so many, two have the same label and one another


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to compute clipped sums for one model on data of one shape.

    Args:
        engine: Function `(problem, chunk, clip) -> (sums, norms, losses, y_pred)`.
        microbatch_size: Examples that are differentiated together.
    """

    engine: Callable
    microbatch_size: int


def probe(problem: Problem, spec, engine, microbatch_size=None, strategy=None) -> Plan:
    """Checks a model on synthetic examples and plans its gradients.

    Args:
        problem: `Problem`; its model may still be unbuilt.
        spec: Dict of `tf.TensorSpec` for one example (no batch axis): `x` and, where
            used, `y`, `sample_weight`.
        engine: `"ghost"`, `"vectorized"` or `"auto"`: the first where it is exact.
        microbatch_size: Examples per chunk, or `None` to fit `MEMORY_LIMIT`.
        strategy: `tf.distribute.Strategy` whose scope creates variables, or `None`.

    Raises:
        ValueError: If the model updates state from data, mixes examples, has a loss
            over the batch, or trains a weight that the loss does not reach; or if the
            ghost engine was asked for and would not be exact.
    """
    # Inside a `tf.function` being traced, a fresh thread is where TensorFlow is eager.
    with concurrent.futures.ThreadPoolExecutor(1) as outside:
        found = outside.submit(
            _examine, problem, spec, engine, strategy or tf.distribute.get_strategy()
        ).result()
    for sentence in found.warnings:
        warn(sentence)
    validate.warn_of_statistics(problem.model)
    if microbatch_size is None:
        fitting = MEMORY_LIMIT // max(1, found.bytes_per_example)
        microbatch_size = int(min(max(1, fitting), LARGEST_CHUNK))
    if problem.map_examples is vectorized.one_by_one:
        microbatch_size = min(microbatch_size, 64)
    return Plan(found.engine, microbatch_size)


@dataclasses.dataclass
class _Found:
    engine: Callable
    bytes_per_example: int
    warnings: list


def _examine(problem, spec, engine, strategy):
    with strategy.scope():
        few = _made_up_batch(spec)
        validate.check_layers(problem.model)
        y_pred = keras_internals.call_model(problem.model, few["x"], training=False)
        validate.check_layers(problem.model)  # some make their layers when called
        validate.check_loss(problem, few, y_pred)
    traced = _trace_one_example(problem, spec)
    validate.check_no_state_updates(problem.model, traced)
    why_not = None
    if engine != "vectorized":
        try:
            return _try_ghost(problem, spec, few, traced)
        except NotCoveredError as error:
            why_not = error.reason
    if engine == "ghost":
        raise ValueError(
            f"The ghost engine is not exact for '{problem.model.name}': {why_not}. "
            "Use engine='auto' or 'vectorized'. Received: engine='ghost'"
        )
    return _settle_for_vectorized(problem, few, traced, why_not)


def _try_ghost(problem, spec, few, traced):
    examination = Examination(problem, spec)
    examination.try_out(few, lambda one: traced(one)[0])
    unknown = examination.layers_without_rule()
    said = [_without_rule(unknown)] if unknown else []
    if problem.map_examples is vectorized.one_by_one:
        said.append(_not_vectorizable(problem.model))
    size = _bytes_per_example(_that_depend(examination.graph))
    size += _bytes_per_example(examination.operations_of_all, batched=True)
    return _Found(ghost.clipped_sum, size, said)


def _without_rule(layers):
    names = ", ".join(f"'{layer.name}' ({type(layer).__name__})" for layer in layers)
    return (
        f"No clipping rule for {names}: exact, but slower, since the gradients of "
        "these layers' own weights are computed whole for each example. "
        "`tfpriv.dp.register_clipping_rule` teaches the engine a layer."
    )


def _settle_for_vectorized(problem, few, traced, why_not):
    said = []
    if why_not is not None:
        said.append(
            f"The fast engine is not exact for '{problem.model.name}': {why_not}. "
            "Every example goes through the model by itself instead: exact, but slower."
        )
    problem.map_examples = _choose_mapper(problem, few)
    if problem.map_examples is vectorized.one_by_one:
        said.append(_not_vectorizable(problem.model))
    size = _bytes_per_example(traced.graph.get_operations())
    return _Found(vectorized.clipped_sum, size, said)


def _not_vectorizable(model):
    return (
        f"TensorFlow cannot vectorise '{model.name}' over examples; its gradients are "
        "computed one example at a time: exact, but slower."
    )


def _made_up_batch(spec):
    batch = {k: tf.nest.map_structure(_made_up, v) for k, v in spec.items()}
    if "sample_weight" in batch:
        batch["sample_weight"] = tf.nest.map_structure(
            tf.ones_like, batch["sample_weight"]
        )
    return batch


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

    function = tf.function(gradient_of_one, autograph=False)
    with same_python_draws():
        return function.get_concrete_function({**spec, "seeds": problem.seeds_spec()})


def _apply_to_single(function, elements):
    out = function(tf.nest.map_structure(lambda t: t[0], elements))
    return tf.nest.map_structure(lambda t: t[tf.newaxis], out)


def _choose_mapper(problem, few):
    """The fastest mapper that runs."""
    two = tf.nest.map_structure(lambda t: t[:2], few)

    def attempt(data):
        chunk = Chunk(data, unit_present=tf.constant([True, True]))
        return vectorized.per_example_gradients(problem, chunk)[0]

    def run(mapper):
        problem.map_examples = mapper
        function = tf.function(attempt, autograph=False)
        function({**two, "seeds": example_seeds(draw_words(problem), 2)})
        return mapper

    try:
        return run(vectorized.vectorized)
    except vectorized.NOT_VECTORIZABLE:
        return run(vectorized.one_by_one)


def _that_depend(graph):
    """Operations between a traced function's arguments and its results."""
    needed, stack = set(), [t.op for t in graph.outputs]
    while stack:
        operation = stack.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            stack.extend(t.op for t in operation.inputs)
    captured = {id(t) for t in graph.internal_captures}
    reached = {id(t) for t in graph.inputs} - captured
    found = []
    for operation in graph.get_operations():
        if operation.name in needed and any(id(t) in reached for t in operation.inputs):
            reached.update(id(t) for t in operation.outputs)
            found.append(operation)
    return found


def _bytes_per_example(operations, batched=False):
    """What one example's forward and backward pass keeps, as an upper estimate.

    Args:
        operations: Of a graph for one example or, if `batched`, for any number of
            them, which is then the first axis of what belongs to examples.
        batched: Boolean.
    """
    total = 0
    for operation in operations:
        for output in operation.outputs:
            shape = output.shape
            if batched:
                own = shape.rank and shape[0] is None
                shape = shape[1:] if own else tf.TensorShape(None)
            elements = shape.num_elements()
            if elements is not None and output.dtype not in (
                tf.resource,
                tf.variant,
                tf.string,
            ):
                total += elements * output.dtype.size
    return total
