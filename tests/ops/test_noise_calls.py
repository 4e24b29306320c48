"""How gaussian_noise is called: eager, in graphs, and wrongly."""

import numpy as np
import pytest
import tensorflow as tf

from tfpriv.ops import gaussian_noise

pytestmark = pytest.mark.usefixtures("implementation")


def test_shapes_of_every_kind(key):
    expected = gaussian_noise(key, [2, 3]).numpy()
    shapes = [
        (2, 3),
        tf.TensorShape([2, 3]),
        np.array([2, 3], np.int32),
        tf.constant([2, 3], tf.int32),
        tf.constant([2, 3], tf.int64),
        [tf.constant(2), 3],
    ]
    for shape in shapes:
        np.testing.assert_array_equal(gaussian_noise(key, shape), expected)
    assert gaussian_noise(key, ()).shape == ()
    assert gaussian_noise(key, []).shape == ()
    assert gaussian_noise(key, [0]).shape == (0,)
    assert gaussian_noise(key, [3, 0, 2**50]).shape == (3, 0, 2**50)


def test_in_a_graph_with_dynamic_shapes(key):
    @tf.function(
        input_signature=[tf.TensorSpec((None, 4)), tf.TensorSpec((), tf.int64)]
    )
    def noise_like(x, stream):
        noise = gaussian_noise(key, tf.shape(x), x.dtype, stream=stream)
        static = gaussian_noise(key, (2, 5))
        assert noise.shape.rank == 2
        assert static.shape == (2, 5)
        return noise

    for rows in (0, 1, 50):
        expected = gaussian_noise(key, (rows, 4), stream=rows)
        np.testing.assert_array_equal(noise_like(tf.zeros((rows, 4)), rows), expected)


def test_in_a_graph_with_unknown_rank(key):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32)])
    def noise(shape):
        return gaussian_noise(key, shape)

    for shape in ([], [4], [2, 3]):
        np.testing.assert_array_equal(noise(shape), gaussian_noise(key, shape))


def test_a_runtime_key_is_not_folded_into_the_graph(key):
    @tf.function
    def noise(key):
        return gaussian_noise(key, [100])

    first, second = noise(tf.constant(key)), noise(tf.constant(key ^ 1))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(second, gaussian_noise(key ^ 1, [100]))


def test_a_variable_key_may_change_between_steps(key):
    variable = tf.Variable(key)

    @tf.function
    def noise():
        return gaussian_noise(variable, [100])

    before = noise().numpy()
    variable.assign(key ^ 1)
    assert np.abs(noise().numpy() - before).max() > 0.1


@pytest.mark.parametrize(
    "shape", [[-1], [2, -3], [0, -1], [2**40, 2**40], [2**62, 4, 4], [2**41], [1] * 255]
)
def test_hostile_shapes(key, shape):
    with pytest.raises(tf.errors.InvalidArgumentError):
        gaussian_noise(key, tf.constant(shape, tf.int64)).numpy()


def test_a_negative_stream_in_a_tensor(key):
    with pytest.raises(tf.errors.InvalidArgumentError, match="stream must not be neg"):
        gaussian_noise(key, [3], stream=tf.constant(-1))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(31, np.uint8),
        np.zeros((1, 32), np.uint8),
        np.zeros(32, np.int32),
        [0] * 32,
        b"0" * 32,
    ],
)
def test_wrong_keys(bad):
    with pytest.raises(ValueError, match=r"Expected a uint8 .* Received: key of"):
        gaussian_noise(bad, [3])


def test_a_key_whose_shape_only_the_run_knows(key):
    @tf.function(input_signature=[tf.TensorSpec(None, tf.uint8)])
    def noise(key):
        return gaussian_noise(key, [3])

    assert noise(key).shape == (3,)
    for wrong in (key[:31], key[None], key[0]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            noise(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": [2.5]}, "Received: shape="),
        ({"shape": 5}, "Received: shape="),
        ({"shape": [[1]]}, "Received: shape="),
        ({"dtype": "int32"}, "Received: dtype=int32"),
        ({"stream": -1}, "Received: stream=-1"),
        ({"stream": 2**63}, "Received: stream="),
        ({"stream": 1.5}, "Received: stream=1.5"),
        ({"stream": [1]}, "Received: stream="),
    ],
)
def test_wrong_arguments(key, arguments, message):
    with pytest.raises(ValueError, match=message):
        gaussian_noise(key, **{"shape": [3], **arguments})
