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
    return lambda name: _choose(monkeypatch, name)


def _choose(patch, name):
    patch.setenv(loader.ENV, CHOICES[name])
    if name == "native" and not loader.native_available():
        pytest.skip(loader.why_not_native())


def assert_equal_the_definition(problem, expected):
    """Checks both functions: gradients, dtypes, shapes and norms."""
    dtype = tf.as_dtype(problem["inputs"].dtype)
    result, result_squares = conv_gradients(**problem)
    squares = conv_square_norms(**problem)
    assert result.dtype == dtype
    assert result.shape == expected.shape
    assert_close(result, expected, TOLERANCE[dtype.name])
    tolerance = 1e-11 if dtype == tf.float64 else 1e-6
    for actual, gradients in ((squares, expected), (result_squares, result)):
        assert actual.dtype == tf.float64
        np.testing.assert_allclose(np.sqrt(actual), norms_of(gradients), rtol=tolerance)


# --- Values ---


@pytest.mark.parametrize("name", CHOICES)
@settings(max_examples=40, deadline=None)
@given(problem=problems(dtypes=sorted(TOLERANCE)))
def test_equal_the_definition(name, problem):
    with pytest.MonkeyPatch.context() as patch:
        _choose(patch, name)
        assert_equal_the_definition(problem, oracle(**problem))


@settings(max_examples=20, deadline=None)
@given(problem=problems(most_axes=2, least=1))
def test_equal_tensorflow_example_by_example(problem):
    # TensorFlow has no convolution with both, and none without positions.
    assume(max(problem["strides"]) == 1 or max(problem["dilation_rate"]) == 1)
    assume(problem["gradients"].size > 0)
    expected = by_tensorflow(**problem)
    dtype = problem["inputs"].dtype.name
    assert_close(conv_gradients(**problem)[0], expected, TOLERANCE[dtype])


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((32, 3, 32, 1), 2),  # several chunks of positions
        ((32, 16, 33, 2), 2),
        ((16, 64, 65, 1), 2),
        ((8, 40, 100, 1), 2),  # norms without the gradient
        ((8, 40, 100, 2), 2),
        ((600, 2, 3, 1), 1),
        ((37, 16, 60, 2), 1),
        ((7, 16, 40, 2), 3),
        ((10, 2, 3, 1), 3),
    ],
)
def test_layers(choose, name, shape, axes):
    choose(name)
    problem = layer(*shape, axes=axes, examples=2)
    assert_equal_the_definition(problem, oracle(**problem))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_same_padding_is_tensorflows(size, kernel_size, stride, dilation):
    assume(stride == 1 or dilation == 1)
    x = np.arange(1.0, size + 1)[None, :, None]
    kernel = np.arange(1.0, kernel_size + 1)[:, None, None]
    expected = tf.nn.convolution(x, kernel, stride, "SAME", dilations=dilation)
    padding = same_padding(size, kernel_size, stride, dilation)
    padded = np.pad(x, [(0, 0), padding, (0, 0)])
    actual = tf.nn.convolution(padded, kernel, stride, "VALID", dilations=dilation)
    np.testing.assert_array_equal(actual, expected)


# --- Each example by itself ---

SHAPES = [(32, 3, 8, 1), (8, 64, 64, 1), (8, 64, 64, 2), (9, 5, 7, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_examples_and_threads_change_no_bit(native, monkeypatch, shape):
    problem = layer(*shape, examples=65)

    def results(examples):
        part = problem | {key: problem[key][examples] for key in TENSORS}
        return [*conv_gradients(**part), conv_square_norms(**part)]

    alone = results(slice(2, 3))
    for threads in (1, 2, 3, 64):
        monkeypatch.setattr(
            tf.config.threading, "get_intra_op_parallelism_threads", lambda n=threads: n
        )
        forward, backward = results(slice(None)), results(slice(None, None, -1))
        for one, there, back in zip(alone, forward, backward, strict=True):
            np.testing.assert_array_equal(there[2:3], one)
            np.testing.assert_array_equal(back[::-1], there)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_example(choose, name, shape, tensor, value):
    choose(name)
    problem = layer(*shape)
    clean = [*conv_gradients(**problem), conv_square_norms(**problem)]
    problem[tensor][1, 2, 2, -1] = value
    dirty = [*conv_gradients(**problem), conv_square_norms(**problem)]
    for before, after in zip(clean, dirty, strict=True):
        assert not np.isfinite(after[1]).all()
        np.testing.assert_array_equal(after[::2], before[::2])


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("shape", SHAPES)
def test_norms_beyond_the_dtype_are_infinite(choose, name, shape):
    choose(name)
    problem = layer(*shape)
    problem |= {key: problem[key] * np.float32(1e25) for key in TENSORS}
    np.testing.assert_array_equal(conv_square_norms(**problem), np.inf)
    assert not np.isfinite(conv_gradients(**problem)[1]).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_tiny_norms_do_not_underflow(native, shape):
    problem = layer(*shape)
    norms = np.sqrt(conv_square_norms(**problem))
    problem |= {key: problem[key] * np.float32(2.0**-80) for key in TENSORS}
    tiny = np.sqrt(conv_square_norms(**problem))
    np.testing.assert_allclose(tiny, norms * 2.0**-160, rtol=1e-6)


# --- Norms whose terms cancel ---


def cancelling(shape, share):
    """A layer of which only a share of the gradient does not cancel."""
    problem = layer(*shape, dtype="float64")
    inputs, gradients = problem["inputs"], problem["gradients"]
    padded = np.pad(inputs, [(0, 0), *problem["padding"], (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    stride = shape[-1]
    windows = windows[:, ::stride, ::stride]
    patches = windows.reshape(len(inputs), -1, 9 * inputs.shape[-1])
    flat = gradients.reshape(len(inputs), -1, gradients.shape[-1])
    for patch, gradient in zip(patches, flat, strict=True):
        fitted = patch @ np.linalg.lstsq(patch, gradient, rcond=None)[0]
        gradient -= (1 - share) * fitted
    return problem | {key: problem[key].astype("float32") for key in TENSORS}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("shape", [(16, 2, 3, 1), (8, 3, 48, 1), (12, 2, 96, 2)])
@pytest.mark.parametrize("share", [1e-1, 1e-2, 1e-3, 1e-5, 0])
def test_norms_are_right_where_terms_cancel(choose, name, shape, share):
    choose(name)
    problem = cancelling(shape, share)
    squares = norms_of(oracle(**problem)) ** 2
    terms = 9 * norms_of(problem["inputs"]) ** 2 * norms_of(problem["gradients"]) ** 2
    error = np.abs(conv_square_norms(**problem) - squares)
    rounding = 0 if name == "native" else 1e-13 * terms
    np.testing.assert_array_less(error, 2e-6 * squares + rounding)


@pytest.mark.parametrize("channels", [1, 256])
def test_a_gradient_that_cancels_altogether(native, channels):
    gradients = np.ones((2, 8, 8, channels), np.float32)
    gradients[:, ::2] = -1.0
    problem = layer(8, channels, channels) | {"gradients": gradients}
    problem |= {"inputs": np.ones_like(gradients), "kernel_size": (1, 1)}
    problem |= {"padding": ((0, 0), (0, 0))}
    np.testing.assert_array_equal(conv_square_norms(**problem), 0.0)


# --- Calls ---


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_sizes_that_only_the_run_knows(choose, name, axes):
    choose(name)
    problem = layer(6, 2, 3, axes=axes)
    problem |= {"kernel_size": (2,) * axes, "padding": ((1, 0),) * axes}
    known = {key: problem.pop(key) for key in TENSORS}
    expected = (
        conv_gradients(**known, **problem)[0],
        conv_square_norms(**known, **problem),
    )
    dims = [None] * (axes + 2)
    for spec in (dims, None):
        specs = {"inputs": tf.TensorSpec(spec), "gradients": tf.TensorSpec(None)}

        @tf.function(input_signature=[specs])
        def both(tensors):
            gradients, square_norms = conv_gradients(**tensors, **problem)
            assert gradients.shape.rank == axes + 3
            assert square_norms.shape.rank == 1
            return gradients, conv_square_norms(**tensors, **problem)

        for result, value in zip(both(known), expected, strict=True):
            np.testing.assert_allclose(result, value, rtol=1e-6)
        for wrong in (
            known["gradients"][:2],
            known["gradients"][:, 1:],
            known["gradients"][:, :0],
            known["gradients"][None],
            known["gradients"][..., 0],
        ):
            with pytest.raises(tf.errors.InvalidArgumentError):
                both(known | {"gradients": wrong})


def test_tensors_on_a_gpu_stay_there(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    monkeypatch.setattr(loader, "native_ops", lambda: pytest.fail("native op called"))
    problem = layer(6, 2, 3)
    _, square_norms = conv_gradients(**problem)
    np.testing.assert_allclose(conv_square_norms(**problem), square_norms, rtol=1e-6)


@pytest.mark.parametrize("name", CHOICES)
def test_transposed_gradients_are_refused(choose, name):
    choose(name)
    problem = layer(6, 2, 3)
    problem["inputs"] = problem["inputs"][:, :4]
    with pytest.raises(ValueError, match="Received: inputs of shape"):
        conv_square_norms(**problem)
    problem["gradients"] = problem["gradients"][:, :, :4]  # as many positions
    function = tf.function(
        lambda gradients: conv_square_norms(**problem | {"gradients": gradients}),
        input_signature=[tf.TensorSpec((None, None, None, None))],
    )
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        function(problem["gradients"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": (3,)}, "Received: kernel_size="),
        ({"kernel_size": (3, 0)}, "Received: kernel_size="),
        ({"kernel_size": (3, 3.0)}, "Received: kernel_size="),
        ({"kernel_size": (1, 1, 1, 1)}, "Received: kernel_size="),
        ({"strides": (1, 1, 1)}, "Received: kernel_size="),
        ({"strides": (0, 1)}, "Received: kernel_size="),
        ({"dilation_rate": (1, -1)}, "Received: kernel_size="),
        ({"padding": ((1, 1),)}, "Received: kernel_size="),
        ({"padding": ((1, 1), (-1, 1))}, "Received: kernel_size="),
        ({"padding": ((1, 1), (1, 1, 1))}, "Received: kernel_size="),
        ({"padding": ((0, 1), (1, 1))}, "Received: inputs of shape"),
        ({"inputs": np.zeros((2, 6, 2), np.float32)}, "Received: inputs of shape"),
        ({"inputs": np.zeros((3, 6, 6, 2), np.int32)}, "Received: inputs of dtype"),
        ({"inputs": np.zeros((3, 6, 6, 2))}, "Received: inputs of dtype float64"),
    ],
)
@pytest.mark.parametrize("function", [conv_gradients, conv_square_norms])
def test_wrong_arguments(function, changes, message):
    with pytest.raises(ValueError, match=message):
        function(**layer(6, 2, 3) | changes)


def test_wrong_attributes_of_the_native_op(native):
    arguments = {
        "inputs": np.zeros((1, 4, 1, 4, 1), np.float32),
        "gradients": np.zeros((1, 4, 1, 4, 1), np.float32),
        "kernel_size": [1, 1, 1],
        "strides": [1, 1, 1],
        "dilations": [1, 1, 1],
        "before": [0, 0, 0],
        "after": [0, 0, 0],
    }
    native.tfpriv_conv_square_norms(**arguments)
    for name in ("kernel_size", "strides", "dilations", "before", "after"):
        for wrong in ([1, 1], [1, 1, 1, 1], [1, -1, 1], [2**40, 1, 1]):
            with pytest.raises(tf.errors.InvalidArgumentError, match=name):
                native.tfpriv_conv_square_norms(**arguments | {name: wrong})
