"""deformable_conv2d against the definition and its gradients against differences."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from deformable_oracle import TENSORS, layer, oracle, problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfpriv.ops import deformable_conv2d, loader

# Of the largest value.
TOLERANCE = {"bfloat16": 2e-2, "float16": 2e-3, "float32": 2e-5, "float64": 1e-12}
CHOICES = {"native": "0", "twin": "1"}
THREADS = "get_intra_op_parallelism_threads"


def _choose(patch, name):
    patch.setenv(loader.ENV, CHOICES[name])
    if name == "native" and not loader.native_available():
        pytest.skip(loader.why_not_native())


def assert_close(actual, expected, dtype):
    actual, expected = np.float64(actual), np.float64(expected)
    assert actual.shape == expected.shape
    most = np.max(np.abs(expected), initial=0)
    error = np.max(np.abs(actual - expected), initial=0)
    assert error <= TOLERANCE[dtype] * most + 1e-300


def split(problem):
    """The tensors of a call, and its other arguments."""
    tensors = {
        name: tf.constant(value)
        for name, value in problem.items()
        if name in TENSORS and value is not None
    }
    return tensors, {k: v for k, v in problem.items() if k not in TENSORS}


def gradients_of(problem, weights):
    """Gradients of the sum of weighted outputs, a dict."""
    tensors, rest = split(problem)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = tf.reduce_sum(deformable_conv2d(**tensors, **rest) * weights)
    return tape.gradient(loss, tensors)


def weights_for(problem, seed=0):
    shape = deformable_conv2d(**problem).shape
    weights = np.random.default_rng(seed).normal(size=shape)
    return weights.astype(problem["inputs"].dtype)


def away_from_kinks(problem, fractions):
    """The same offsets on whole pixels, or at least 0.1 away from them."""
    offsets = np.clip(np.floor(problem["offsets"]), -1e6, 1e6)
    rng = np.random.default_rng(1)
    if fractions:
        offsets = offsets + rng.uniform(0.1, 0.9, offsets.shape)
    return problem | {"offsets": offsets}


# --- Values ---


@pytest.mark.parametrize("name", sorted(CHOICES))
@settings(max_examples=40, deadline=None)
@given(problem=problems())
def test_equals_the_definition(name, problem):
    with pytest.MonkeyPatch.context() as patch:
        _choose(patch, name)
        outputs = deformable_conv2d(**problem)
    assert outputs.dtype == problem["inputs"].dtype
    assert_close(outputs, oracle(**problem), problem["inputs"].dtype.name)


@pytest.mark.parametrize(
    "sizes",
    [
        {"size": 12, "channels": 70, "filters": 20},  # parts of 64 channels and 6
        {"size": 5, "channels": 150, "filters": 3, "offset_groups": 2},
        {"size": 11, "channels": 66, "filters": 4, "groups": 2, "offset_groups": 3},
        {"size": 6, "channels": 40, "filters": 40, "groups": 40},  # depthwise
        {"size": 3, "channels": 300, "filters": 2, "examples": 1},
    ],
)
def test_layers(implementation, sizes):
    problem = layer(**sizes)
    rest = {"strides": (1, 1), "dilation_rate": (1, 1)}
    assert_close(deformable_conv2d(**problem), oracle(**problem, **rest), "float32")


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same", "SAME"]),
)
def test_offsets_of_zero_are_a_convolution(size, kernel, stride, dilation, padding):
    assume(stride == 1 or dilation == 1)  # TensorFlow has no convolution with both
    assume(padding != "valid" or size > (kernel - 1) * dilation)
    rng = np.random.default_rng(size)
    inputs, filters = (
        rng.normal(size=(2, size, 9, 3)),
        rng.normal(size=(kernel, 2, 3, 5)),
    )
    expected = tf.nn.convolution(
        inputs, filters, stride, padding.upper(), dilations=dilation
    )
    outputs = deformable_conv2d(
        inputs,
        np.zeros((1, *expected.shape[1:3], 4 * kernel)),
        filters,
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
    )
    assert_close(outputs, expected, "float64")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(implementation, dtype):
    problem = layer(6, 4, 5)
    halves = {name: tf.cast(problem[name], dtype) for name in TENSORS}
    outputs = deformable_conv2d(**problem | halves)
    assert outputs.dtype == dtype
    exact = {name: tf.cast(value, tf.float32) for name, value in halves.items()}
    assert_close(
        tf.cast(outputs, tf.float32), deformable_conv2d(**problem | exact), dtype
    )
    weights = tf.ones_like(outputs)
    for name, gradient in gradients_of(problem | halves, weights).items():
        assert gradient.dtype == dtype, name


def test_offsets_may_be_finer_than_inputs(implementation):
    problem = layer(6, 4, 5)
    half = {n: tf.cast(problem[n], "bfloat16") for n in ("inputs", "filters", "bias")}
    exact = {name: tf.cast(value, tf.float32) for name, value in half.items()}
    assert_close(
        tf.cast(deformable_conv2d(**problem | half), tf.float32),
        deformable_conv2d(**problem | exact),
        "bfloat16",
    )


# --- Borders and what is not finite ---


def one_sample(image, dy, dx):
    """Each pixel of an image, moved."""
    image = tf.constant(image)
    offsets = np.broadcast_to(np.array([dy, dx]), (1, *image.shape, 2))
    return deformable_conv2d(
        image[None, :, :, None],
        offsets.astype(image.dtype.as_numpy_dtype),
        np.ones((1, 1, 1, 1), image.dtype.as_numpy_dtype),
    )[0, :, :, 0].numpy()


def test_borders_fade_to_zero(implementation):
    image = np.arange(1.0, 10.0).reshape(3, 3)
    np.testing.assert_array_equal(one_sample(image, -1, 0)[1:], image[:-1])
    np.testing.assert_array_equal(one_sample(image, -1, 0)[0], 0)
    np.testing.assert_array_equal(one_sample(image, 0, -0.5)[:, 0], image[:, 0] / 2)
    np.testing.assert_array_equal(one_sample(image, 0.25, 0)[2], 0.75 * image[2])
    for far in (3.0, -3.0, 1e30, -1e30, np.finfo(float).max):
        np.testing.assert_array_equal(one_sample(image, far, 0), 0)
        np.testing.assert_array_equal(one_sample(image, 0, far), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 3e38])
@pytest.mark.parametrize("coordinate", [0, 1])
def test_places_that_are_no_places(implementation, value, coordinate):
    problem = layer(5, 4, 3, examples=2)
    problem["offsets"][1, 2, 3, 8 + coordinate] = value
    nowhere = problem | {"offsets": problem["offsets"].copy()}
    nowhere["offsets"][1, 2, 3, 8:10] = -100
    np.testing.assert_array_equal(
        deformable_conv2d(**problem), deformable_conv2d(**nowhere)
    )
    weights = weights_for(problem)
    gradients = gradients_of(problem, weights)
    expected = gradients_of(nowhere, weights)
    for name, gradient in gradients.items():
        assert_close(gradient, expected[name], "float32")
    np.testing.assert_array_equal(gradients["offsets"][1, 2, 3, 8:10], 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_of_weight_zero_count_for_nothing(implementation, value):
    image = np.ones((3, 3))
    image[1, 1] = value
    moved, blended = one_sample(image, 1, 0), one_sample(image, 0.5, 0)
    np.testing.assert_array_equal(np.argwhere(~np.isfinite(moved)), [[0, 1]])
    np.testing.assert_array_equal(np.argwhere(~np.isfinite(blended)), [[0, 1], [1, 1]])


@pytest.mark.parametrize("examples", [0, 1])
def test_few_examples(implementation, examples):
    problem = layer(4, 3, 2, examples=examples)
    outputs = deformable_conv2d(**problem)
    assert outputs.shape == (examples, 4, 4, 2)
    for name, gradient in gradients_of(problem, weights_for(problem)).items():
        assert gradient.shape == problem[name].shape
        assert examples or not np.any(gradient)


def test_no_positions(implementation):
    problem = layer(2, 3, 2) | {"padding": "valid"}
    for name in ("offsets", "mask"):
        problem[name] = problem[name][:, :0, :0]
    gradients = gradients_of(problem, weights_for(problem))
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, np.zeros_like(problem[name]))


# --- Gradients ---


@settings(max_examples=20, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**32))
def test_gradients_equal_the_twins(problem, seed):
    results = {}
    for name in CHOICES:
        with pytest.MonkeyPatch.context() as patch:
            _choose(patch, name)
            results[name] = gradients_of(problem, weights_for(problem, seed))
    for name, expected in results["twin"].items():
        assert_close(results["native"][name], expected, problem["inputs"].dtype.name)


@pytest.mark.parametrize("name", sorted(CHOICES))
@settings(max_examples=12, deadline=None)
@given(
    problem=problems(dtypes=["float64"], least=1),
    fractions=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_gradients_equal_differences(name, problem, fractions, seed):
    """Towards larger offsets: at whole pixels the blend has another slope behind."""
    step = 1e-6
    with pytest.MonkeyPatch.context() as patch:
        _choose(patch, name)
        problem = away_from_kinks(problem, fractions)
        weights = weights_for(problem, seed)
        gradients = gradients_of(problem, weights)
        base = deformable_conv2d(**problem)
        rng = np.random.default_rng(seed)
        for tensor, gradient in gradients.items():
            direction = rng.uniform(0.1, 1, gradient.shape)
            moved = problem | {tensor: problem[tensor] + step * direction}
            change = (deformable_conv2d(**moved) - base).numpy() / step
            terms = np.abs(gradient * direction)
            expected = np.sum(change * weights)
            slack = 1e-4 * (np.sum(terms) + np.sum(np.abs(change * weights))) + 1e-6
            assert abs(np.sum(gradient * direction) - expected) <= slack, tensor


@pytest.mark.parametrize(
    "sizes",
    [
        {"size": 12, "channels": 70, "filters": 20},
        {"size": 6, "channels": 40, "filters": 40, "groups": 40},
        {"size": 11, "channels": 66, "filters": 4, "groups": 2, "offset_groups": 3},
    ],
)
def test_gradients_of_layers_equal_the_twins(native, monkeypatch, sizes):
    problem = layer(**sizes)
    weights = weights_for(problem)
    results = gradients_of(problem, weights)
    monkeypatch.setenv(loader.ENV, "1")
    for name, expected in gradients_of(problem, weights).items():
        assert_close(results[name], expected, "float32")


def test_only_what_is_asked_for_is_computed(native, monkeypatch):
    called = []
    for op in ("input", "offset", "filter"):
        name = f"tfpriv_deformable_conv2d_{op}_gradients"

        def spy(function, op, **arguments):
            called.append(op)
            return function(**arguments)

        monkeypatch.setattr(native, name, partial(spy, getattr(native, name), op))
    tensors, rest = split(layer(4, 3, 2))
    for wanted, op in [
        ("inputs", "input"),
        ("offsets", "offset"),
        ("mask", "offset"),
        ("filters", "filter"),
        ("bias", "filter"),
    ]:
        called.clear()
        with tf.GradientTape() as tape:
            tape.watch(tensors[wanted])
            loss = tf.reduce_sum(deformable_conv2d(**tensors, **rest))
        tape.gradient(loss, tensors[wanted])
        assert called == [op]


# --- Threads and examples change no bit ---


@pytest.mark.parametrize(
    "sizes",
    [
        {"size": 20, "channels": 64, "filters": 32},
        {"size": 16, "channels": 3, "filters": 64},
        {"size": 8, "channels": 96, "filters": 64, "offset_groups": 2, "groups": 2},
    ],
)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("examples", [1, 9])
def test_threads_change_no_bit(native, monkeypatch, sizes, shared, examples):
    problem = layer(**sizes, examples=examples)
    if shared:
        problem |= {name: problem[name][:1] for name in ("offsets", "mask")}
    results = []
    for threads in (1, 2, 3, 64):
        monkeypatch.setattr(tf.config.threading, THREADS, lambda n=threads: n)
        gradients = gradients_of(problem, weights_for(problem))
        results.append([deformable_conv2d(**problem), *gradients.values()])
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_examples_do_not_matter_to_each_other(native):
    problem = layer(13, 20, 24, examples=5)
    alone = problem | {
        name: problem[name][2:3] for name in ("inputs", "offsets", "mask")
    }
    together, single = deformable_conv2d(**problem), deformable_conv2d(**alone)
    np.testing.assert_array_equal(together[2:3], single)
    gradients = gradients_of(problem, np.ones(together.shape, "float32"))
    own = gradients_of(alone, np.ones(single.shape, "float32"))
    for name in ("inputs", "offsets", "mask"):
        np.testing.assert_array_equal(gradients[name][2:3], own[name])
