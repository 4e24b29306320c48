"""conv_gradients and conv_square_norms against the definition and TensorFlow's own."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfpriv.ops import conv_gradients, conv_square_norms, loader, same_padding

# Of an example's gradient norm.
TOLERANCE = {"bfloat16": 2e-2, "float16": 2e-3, "float32": 1e-5, "float64": 1e-12}
CHOICES = {"native": "0", "twin": "1"}
TENSORS = ("inputs", "gradients")


def oracle(inputs, gradients, kernel_size, *, strides, dilation_rate, padding):
    """The definition: an outer product per offset and position, in float64."""
    inputs, gradients = np.float64(inputs), np.float64(gradients)
    padded = np.pad(inputs, [(0, 0), *padding, (0, 0)])
    result = np.zeros(
        (len(inputs), *kernel_size, inputs.shape[-1], gradients.shape[-1])
    )
    for offset in itertools.product(*map(range, kernel_size)):
        for position in itertools.product(*map(range, gradients.shape[1:-1])):
            cell = np.multiply(position, strides) + np.multiply(offset, dilation_rate)
            values = padded[:, *cell][:, :, None] * gradients[:, *position][:, None, :]
            result[:, *offset] += values
    return result


def by_tensorflow(inputs, gradients, kernel_size, *, strides, dilation_rate, padding):
    """Each example's gradient through TensorFlow's convolution, in a loop."""
    kernel = tf.zeros(
        (*kernel_size, inputs.shape[-1], gradients.shape[-1]), inputs.dtype
    )
    results = []
    for example, gradient in zip(inputs, gradients, strict=True):
        padded = tf.pad(example[None], [(0, 0), *padding, (0, 0)])
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            output = tf.nn.convolution(
                padded, kernel, strides, "VALID", dilations=dilation_rate
            )
            loss = tf.reduce_sum(output * gradient[None])
        results.append(tape.gradient(loss, kernel).numpy())
    return np.stack(results)


def norms_of(gradients: np.ndarray) -> np.ndarray:
    """The L2 norm of each example's gradient."""
    squares = np.square(np.float64(gradients))
    return np.sqrt(squares.sum(axis=tuple(range(1, squares.ndim))))


def assert_close(actual, expected, tolerance):
    """Asks for a small difference beside the norm of each example."""
    error = norms_of(np.float64(actual) - expected)
    np.testing.assert_array_less(error, tolerance * norms_of(expected) + 1e-300)


@st.composite
def problems(draw, dtypes=("float32", "float64"), most_axes=3, least=0):
    """Arguments of conv_gradients with normal values."""
    axes = draw(st.integers(1, most_axes))

    def per_axis(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kernel_size, strides = per_axis(1, 3), per_axis(1, 3)
    dilation_rate = per_axis(1, 2)
    padding = tuple(zip(per_axis(0, 3), per_axis(0, 3), strict=True))
    space = per_axis(least, (40, 8, 5)[axes - 1])
    free = [
        space[i] + sum(padding[i]) - (kernel_size[i] - 1) * dilation_rate[i] - 1
        for i in range(axes)
    ]
    output = [max(free[i] // strides[i] + 1, 0) for i in range(axes)]
    examples = draw(st.integers(least, 3))
    channels, filters = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    dtype = tf.as_dtype(draw(st.sampled_from(dtypes))).as_numpy_dtype
    normal = np.random.default_rng(draw(st.integers(0, 2**32))).normal
    return {
        "inputs": normal(size=(examples, *space, channels)).astype(dtype),
        "gradients": normal(size=(examples, *output, filters)).astype(dtype),
        "kernel_size": kernel_size,
        "strides": strides,
        "dilation_rate": dilation_rate,
        "padding": padding,
    }


def layer(size, channels, filters, stride=1, *, examples=3, axes=2, dtype="float32"):
    """Arguments of a layer with kernels of 3 and padding "SAME"."""
    normal = np.random.default_rng(size * channels * filters).normal
    output = -(-size // stride)
    return {
        "inputs": normal(size=(examples, *[size] * axes, channels)).astype(dtype),
        "gradients": normal(size=(examples, *[output] * axes, filters)).astype(dtype),
        "kernel_size": (3,) * axes,
        "strides": (stride,) * axes,
        "dilation_rate": (1,) * axes,
        "padding": (same_padding(size, 3, stride, 1),) * axes,
    }


@pytest.fixture
def choose(monkeypatch):
    """A function that selects the native op or the twin."""

    def chosen(implementation):
        monkeypatch.setenv(loader.ENV, CHOICES[implementation])
        if implementation == "native" and not loader.native_available():
            pytest.skip(loader.why_not_native())

    return chosen


# --- Values ---


@pytest.mark.parametrize("name", CHOICES)
@settings(max_examples=60, deadline=None)
@given(problem=problems(dtypes=sorted(TOLERANCE)))
def test_equal_the_definition(name, problem):
    dtype = tf.as_dtype(problem["inputs"].dtype)
    expected = oracle(**problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(loader.ENV, CHOICES[name])
        if name == "native" and not loader.native_available():
            pytest.skip(loader.why_not_native())
        result = conv_gradients(**problem)
        squares = conv_square_norms(**problem)
    assert result.dtype == dtype
    assert result.shape == expected.shape
    assert_close(result, expected, TOLERANCE[dtype.name])
    assert squares.dtype == tf.float64
    tolerance = 1e-11 if dtype == tf.float64 else 1e-6
    np.testing.assert_allclose(np.sqrt(squares), norms_of(expected), rtol=tolerance)


@settings(max_examples=30, deadline=None)
@given(problem=problems(most_axes=2, least=1))
def test_equal_tensorflow_example_by_example(problem):
    # TensorFlow has no convolution with both, and none without positions.
    assume(max(problem["strides"]) == 1 or max(problem["dilation_rate"]) == 1)
    assume(problem["gradients"].size > 0)
    expected = by_tensorflow(**problem)
    dtype = problem["inputs"].dtype.name
    assert_close(conv_gradients(**problem), expected, TOLERANCE[dtype])


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize(
    "shape", [(32, 3, 32, 1), (32, 16, 33, 2), (16, 64, 65, 1), (8, 40, 100, 1)]
)
def test_layers_larger_than_a_chunk(choose, name, shape):
    choose(name)
    problem = layer(*shape)
    expected = by_tensorflow(
        **{
            key: np.float64(value) if key in ("inputs", "gradients") else value
            for key, value in problem.items()
        }
    )
    assert_close(conv_gradients(**problem), expected, 1e-5)
    squares = conv_square_norms(**problem)
    np.testing.assert_allclose(np.sqrt(squares), norms_of(expected), rtol=1e-6)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("shape", [(5, 8, 3, 1), (600, 2, 3, 1), (37, 16, 16, 2)])
@pytest.mark.parametrize("axes", [1, 3])
def test_one_and_three_axes(choose, name, shape, axes):
    choose(name)
    size, *rest = shape
    problem = layer(min(size, 7) if axes == 3 else size, *rest, axes=axes)
    expected = oracle(**problem)
    assert_close(conv_gradients(**problem), expected, 1e-5)
    squares = conv_square_norms(**problem)
    np.testing.assert_allclose(np.sqrt(squares), norms_of(expected), rtol=1e-6)


# --- Each example by itself ---

SHAPES = [(32, 3, 8, 1), (8, 64, 64, 1), (8, 64, 64, 2), (9, 5, 7, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", [conv_gradients, conv_square_norms])
def test_examples_and_threads_change_no_bit(native, monkeypatch, shape, function):
    problem = layer(*shape, examples=65)
    alone = [
        function(**problem | {key: problem[key][i : i + 1] for key in TENSORS})[0]
        for i in range(3)
    ]
    for threads in (1, 2, 3, 64):
        monkeypatch.setattr(
            tf.config.threading, "get_intra_op_parallelism_threads", lambda n=threads: n
        )
        results = function(**problem)
        np.testing.assert_array_equal(results[:3], alone)
        reverse = function(**problem | {key: problem[key][::-1] for key in TENSORS})
        np.testing.assert_array_equal(reverse[::-1], results)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tensor", ["inputs", "gradients"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_example(choose, name, shape, tensor, value):
    choose(name)
    problem = layer(*shape)
    clean = conv_square_norms(**problem).numpy(), conv_gradients(**problem).numpy()
    problem[tensor][1, 2, 2, -1] = value
    dirty = conv_square_norms(**problem).numpy(), conv_gradients(**problem).numpy()
    assert not np.isfinite(dirty[0][1])
    assert not np.isfinite(dirty[1][1]).all()
    for before, after in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])


# --- Norms whose terms cancel ---


def cancelling(shape, share):
    """A layer whose patches and gradients are orthogonal, but for a share.

    Every example has another seed; the values are rounded to float32 in the end.
    """
    problem = layer(*shape, dtype="float64")
    inputs, gradients = problem["inputs"], problem["gradients"]
    patches = np.stack(
        [
            oracle(
                **problem
                | {
                    "inputs": inputs,
                    "gradients": np.broadcast_to(unit, gradients.shape),
                }
            )[..., 0].reshape(len(inputs), -1)
            for unit in np.eye(gradients[0, ..., 0].size).reshape(
                -1, *gradients.shape[1:-1], 1
            )
        ],
        axis=1,
    )  # (examples, positions, values)
    flat = gradients.reshape(len(gradients), -1, gradients.shape[-1])
    for patch, gradient in zip(patches, flat, strict=True):
        fitted = patch @ np.linalg.lstsq(patch, gradient, rcond=None)[0]
        gradient -= (1 - share) * fitted
    return problem | {key: problem[key].astype("float32") for key in TENSORS}


@pytest.mark.parametrize("shape", [(16, 2, 3, 1), (8, 3, 48, 1), (12, 8, 96, 2)])
@pytest.mark.parametrize("share", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 0])
def test_native_norms_are_right_where_terms_cancel(native, shape, share):
    problem = cancelling(shape, share)
    expected = norms_of(oracle(**problem))
    norms = np.sqrt(conv_square_norms(**problem))
    np.testing.assert_allclose(norms, expected, rtol=1e-6)
