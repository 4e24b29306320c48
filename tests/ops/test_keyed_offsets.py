"""keyed_offsets: a convolution of shuffled inputs is the shuffled convolution."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfpriv.ops import deformable_conv2d, keyed_offsets, loader


def shuffled(pictures, permutations):
    """Pictures of which position q shows the true position permutation[q]."""
    flat = pictures.reshape(len(pictures), -1, pictures.shape[-1])
    moved = [picture[order] for picture, order in zip(flat, permutations, strict=True)]
    return np.stack(moved).reshape(pictures.shape)


def permutations_of(rng, examples, size):
    rows = [rng.permutation(size) for _ in range(examples)]
    return np.array(rows, "int32").reshape(examples, size)


def plain_and_keyed(rng, examples, size, kernel, **steps):
    """The plain convolution's shuffled output, and that of shuffled inputs."""
    inputs = rng.normal(size=(examples, *size, 3))
    filters = rng.normal(size=(*kernel, 3, 4))
    padding, padded = steps["padding"], inputs
    if not isinstance(padding, str):
        padded, padding = np.pad(inputs, [(0, 0), *padding, (0, 0)]), "valid"
    plain = tf.nn.convolution(
        padded,
        filters,
        steps["strides"],
        padding.upper(),
        dilations=steps["dilation_rate"],
    ).numpy()
    source = permutations_of(rng, examples, size[0] * size[1])
    target = permutations_of(rng, examples, plain.shape[1] * plain.shape[2])
    offsets = keyed_offsets(
        source, target, input_size=size, kernel_size=kernel, **steps
    )
    assert offsets.dtype == tf.float32
    assert offsets.shape == (*plain.shape[:3], 2 * kernel[0] * kernel[1])
    np.testing.assert_array_equal(offsets, np.round(offsets))
    keyed = deformable_conv2d(shuffled(inputs, source), offsets, filters, **steps)
    return shuffled(plain, target), keyed.numpy()


@pytest.mark.parametrize("choice", ["0", "1"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equals_the_plain_convolution(choice, data):
    draw = data.draw
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    dilation_rate = [draw(st.integers(1, 2)) for _ in range(2)]
    size = [
        draw(st.integers((kernel[i] - 1) * dilation_rate[i] + 1, 9)) for i in range(2)
    ]
    padding = [[draw(st.integers(0, 3)) for _ in range(2)] for _ in range(2)]
    strides = [draw(st.integers(1, 3)) for _ in range(2)]
    # TensorFlow has no convolution with both.
    assume(max(strides) == 1 or max(dilation_rate) == 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(loader.ENV, choice)
        plain, keyed = plain_and_keyed(
            rng,
            draw(st.integers(1, 3)),
            size,
            kernel,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
        )
    np.testing.assert_allclose(keyed, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2])
def test_named_paddings(implementation, padding, strides):
    rng = np.random.default_rng(strides)
    plain, keyed = plain_and_keyed(
        rng, 2, (7, 8), (3, 4), padding=padding, strides=strides, dilation_rate=1
    )
    np.testing.assert_allclose(keyed, plain, rtol=1e-12, atol=1e-12)


def test_bit_for_bit_as_with_offsets_of_zero(native):
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(2, 14, 15, 20)).astype("float32")
    filters = rng.normal(size=(3, 3, 20, 33)).astype("float32")
    zero = np.zeros((1, 14, 15, 18), "float32")
    plain = deformable_conv2d(inputs, zero, filters, padding="same").numpy()
    source, target = (permutations_of(rng, 2, 210) for _ in range(2))
    offsets = keyed_offsets(
        source, target, input_size=(14, 15), kernel_size=3, padding="same"
    )
    keyed = deformable_conv2d(
        shuffled(inputs, source), offsets, filters, padding="same"
    )
    np.testing.assert_array_equal(keyed, shuffled(plain, target))


def test_a_wrong_key_is_no_convolution(implementation):
    rng = np.random.default_rng(0)
    arguments = {"input_size": 8, "kernel_size": 3, "padding": "same"}
    source, other, target = (permutations_of(rng, 1, 64) for _ in range(3))
    inputs, filters = rng.normal(size=(1, 8, 8, 2)), rng.normal(size=(3, 3, 2, 2))
    results = [
        deformable_conv2d(
            shuffled(inputs, source),
            keyed_offsets(key, target, **arguments),
            filters,
            padding="same",
        ).numpy()
        for key in (source, other)
    ]
    correlation = np.corrcoef(results[0].ravel(), results[1].ravel())[0, 1]
    assert abs(correlation) < 0.5


def test_native_equals_twin(native, monkeypatch):
    rng = np.random.default_rng(3)
    arguments = {"input_size": (9, 7), "kernel_size": (3, 2), "strides": (2, 1)}
    arguments |= {"padding": ((1, 2), (0, 5)), "dilation_rate": (1, 3)}
    source, target = permutations_of(rng, 70, 63), permutations_of(rng, 70, 45)
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(
            tf.config.threading, "get_intra_op_parallelism_threads", lambda n=threads: n
        )
        results.append(keyed_offsets(source, target, **arguments))
    monkeypatch.setenv(loader.ENV, "1")
    results.append(keyed_offsets(source, target, **arguments))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_graphs_and_no_examples(implementation):
    @tf.function(input_signature=[tf.TensorSpec([None, 12], tf.int32)] * 2)
    def function(source, target):
        offsets = keyed_offsets(
            source, target, input_size=(3, 4), kernel_size=3, padding="same"
        )
        assert offsets.shape.as_list() == [None, 3, 4, 18]
        return offsets

    rows = permutations_of(np.random.default_rng(0), 2, 12)
    assert function(rows, rows[::-1]).shape == (2, 3, 4, 18)
    assert function(rows[:0], rows[:0]).shape == (0, 3, 4, 18)
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(rows, rows[:1])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("value", [-1, 12, 5, 2**31 - 1, -(2**31)])
def test_rows_that_are_no_permutations(implementation, which, value):
    rows = [permutations_of(np.random.default_rng(i), 3, 12) for i in range(2)]
    place = np.argmax(rows[which][1] != 5)
    rows[which][1, place] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="permutation"):
        keyed_offsets(*rows, input_size=(3, 4), kernel_size=3, padding="same")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": np.zeros((2, 11), "int32")}, "Received: source of dtype int32"),
        ({"target": np.zeros(12, "int32")}, "Received: target of dtype int32"),
        ({"target": np.zeros((2, 12), "int64")}, "Received: target of dtype int64"),
        ({"input_size": (3, 0)}, "Received: input_size="),
        ({"input_size": None}, "Received: input_size="),
        ({"kernel_size": (3, 3, 3)}, "Received: kernel_size="),
        ({"strides": 0}, "Received: strides=0"),
        ({"padding": "full"}, "padding=full"),
    ],
)
def test_wrong_arguments(implementation, changes, message):
    arguments = {"input_size": (3, 4), "kernel_size": 3, "padding": "same"}
    rows = {name: np.zeros((2, 12), "int32") for name in ("source", "target")}
    with pytest.raises(ValueError, match=message):
        keyed_offsets(**rows | arguments | changes)
