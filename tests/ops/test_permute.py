"""permute and invert_permutations: gathers, whose gradients are gathers."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv import ops


def random_rows(rng, rows, size):
    return np.stack([rng.permutation(size) for _ in range(rows)]).astype("int32")


@settings(max_examples=40, deadline=None)
@given(
    pictures=st.integers(0, 4),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    channels=st.integers(0, 3),
    flat=st.booleans(),
    one=st.booleans(),
    dtype=st.sampled_from(["uint8", "uint16", "float16", "float32", "float64"]),
)
def test_equals_numpy_and_comes_back(pictures, sides, channels, flat, one, dtype):
    rng = np.random.default_rng(pictures + 10 * channels)
    places = sides[0] * sides[1]
    shape = (pictures, *((places,) if flat else sides), channels)
    x = rng.integers(0, 255, shape).astype(dtype)
    rows = random_rows(rng, 1 if one else max(pictures, 1), places)
    if not one:
        rows = rows[:pictures]
    result = ops.permute(x, rows)
    wanted = np.zeros_like(x).reshape(pictures, places, channels)
    plain = x.reshape(pictures, places, channels)
    for n in range(pictures):
        for q in range(places):
            wanted[n, q] = plain[n, rows[0 if one else n, q]]
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, wanted.reshape(shape))
    back = ops.permute(result, ops.invert_permutations(rows))
    np.testing.assert_array_equal(back, x)


def test_inverse(key):
    rows = ops.permutations(key, np.arange(36, dtype="uint8").reshape(3, 12), 50)
    inverse = ops.invert_permutations(rows)
    assert inverse.dtype == tf.int32
    for row, back in zip(rows.numpy(), inverse.numpy(), strict=True):
        np.testing.assert_array_equal(back, np.argsort(row))
    with pytest.raises(tf.errors.InvalidArgumentError):
        ops.invert_permutations([[0, 1, 1]])


def op_types(graph) -> set[str]:
    """All ops of a graph and of the functions that it calls."""
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    return {node.op for node in nodes}


def gradient_ops(function, x, rows) -> set[str]:
    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(function(x, rows)))
        return tf.convert_to_tensor(tape.gradient(loss, x))

    return op_types(gradient.get_concrete_function(x).graph)


def scatters(types: set[str]) -> set[str]:
    return {op for op in types if "Scatter" in op or "Segment" in op}


@pytest.mark.parametrize("rows", [1, 3])
def test_the_gradient_is_a_gather(rows):
    rng = np.random.default_rng(0)
    rows = random_rows(rng, rows, 20)
    x = tf.constant(rng.normal(size=(3, 4, 5, 2)))
    types = gradient_ops(ops.permute, x, rows)
    assert "GatherV2" in types
    assert not scatters(types)


def test_a_scatter_would_be_found():
    rows = random_rows(np.random.default_rng(0), 3, 20)
    x = tf.zeros((3, 20, 2))

    def plain(x, rows):
        return tf.gather(x, rows, axis=1, batch_dims=1)

    assert scatters(gradient_ops(plain, x, rows))


@pytest.mark.parametrize("rows", [1, 3])
def test_gradients_are_those_of_a_gather(rows):
    rng = np.random.default_rng(0)
    rows = random_rows(rng, rows, 20)
    x, weights = (tf.constant(rng.normal(size=(3, 4, 5, 2))) for _ in range(2))

    def plain(x, rows):
        rows = np.broadcast_to(rows, (3, 20))
        flat = tf.reshape(x, (3, 20, 2))
        return tf.reshape(tf.gather(flat, rows, axis=1, batch_dims=1), x.shape)

    found = []
    for function in (ops.permute, plain):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(weights * tf.sin(function(x, rows)))
            first = inner.gradient(y, x)
            z = tf.reduce_sum(tf.square(first))
        found.append((first, outer.gradient(z, x)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_unknown_sizes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 5, 2))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, 2), tf.float64),
            tf.TensorSpec(None, tf.int32),
        ]
    )
    def run(x, rows):
        return ops.permute(x, rows)

    for rows in (1, 3):
        rows = random_rows(rng, rows, 20)
        np.testing.assert_array_equal(run(x, rows), ops.permute(x, rows))
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(x, random_rows(rng, 2, 20))
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(x, random_rows(rng, 3, 20) + 1)


@pytest.mark.parametrize(
    ("x", "rows"),
    [
        ((3, 20), (3, 20)),
        ((3, 4, 5, 2), (3, 19)),
        ((3, 4, 5, 2), (2, 20)),
        ((3, 4, 5, 2), (20,)),
        ((3, 20, 2), (3, 4, 5)),
    ],
)
def test_wrong_shapes(x, rows):
    with pytest.raises(ValueError, match="Received: x of shape"):
        ops.permute(np.zeros(x), np.zeros(rows, "int32"))


def test_other_integers_are_refused():
    with pytest.raises(ValueError, match="dtype int64"):
        ops.permute(np.zeros((1, 2, 1)), np.zeros((1, 2), "int64"))
