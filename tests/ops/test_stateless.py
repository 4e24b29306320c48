"""Random numbers for many seeds, against TensorFlow's own ops, seed by seed."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv import ops
from tfpriv.ops import loader

pytestmark = pytest.mark.skipif(not loader.LIBRARY.exists(), reason="no native ops")
SEEDS = st.lists(
    st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 2), min_size=0, max_size=5
)


@settings(max_examples=60, deadline=None)
@given(seeds=SEEDS, size=st.one_of(st.integers(0, 70), st.integers(990, 1030)))
def test_equals_tensorflow_to_the_bit(seeds, size):
    seeds = tf.reshape(tf.constant(seeds, tf.int64), [-1, 2])
    keys, counters = ops.philox_keys(seeds)
    values = ops.philox_uniform(keys, counters, size)
    assert values.shape == (len(seeds), size)
    for i, seed in enumerate(seeds):
        key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
        np.testing.assert_array_equal(keys[i], key)
        np.testing.assert_array_equal(counters[i], counter)
        one = tf.raw_ops.StatelessRandomUniformV2(
            shape=[size], key=key, counter=counter, alg=1
        )
        np.testing.assert_array_equal(values[i], one)


@pytest.mark.parametrize("low", [2**64 - 1, 2**64 - 9, 2**32 - 1])
def test_counters_carry(native, low):
    del native
    keys = tf.constant([[5]], tf.uint64)
    counters = tf.constant([[low, 2**64 - 1]], tf.uint64)
    one = tf.raw_ops.StatelessRandomUniformV2(
        shape=[100], key=keys[0], counter=counters[0], alg=1
    )
    np.testing.assert_array_equal(ops.philox_uniform(keys, counters, 100)[0], one)


def test_threads_do_not_matter(native):
    keys, counters = ops.philox_keys(tf.reshape(tf.range(14), [7, 2]))
    options = {"keys": keys, "counters": counters, "size": 40_001}
    together = native.tfpriv_philox_uniform(**options, num_threads=1).numpy()
    for threads in (2, 5):
        again = native.tfpriv_philox_uniform(**options, num_threads=threads)
        np.testing.assert_array_equal(again, together)


@pytest.mark.parametrize(
    ("keys", "counters", "message"),
    [
        ([1, 2], [[1, 2]], "keys must have shape"),
        ([[1]], [[1, 2], [3, 4]], "counters must have shape"),
        ([[1]], [[1]], "counters must have shape"),
    ],
)
def test_other_shapes_are_refused(native, keys, counters, message):
    del native
    keys, counters = (tf.constant(t, tf.uint64) for t in (keys, counters))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.philox_uniform(keys, counters, 3)


def test_none_without_native_ops(monkeypatch):
    monkeypatch.setenv("TFPRIV_PY_OPS", "1")
    assert ops.philox_keys(tf.zeros([3, 2], tf.int64)) is None
