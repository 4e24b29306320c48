"""The noise of a training step: z C on the sum, once, fresh, for every weight.

With a loss whose gradient is zero and DP-SGD at rate 1, a step changes the weights by
the noise alone: normal, standard deviation z C / (expected batch). `assert_noise` holds
with a false alarm of 1e-6 each time it is called; every planted fault must trip it.
"""

import os

import keras
import noise_checks
import numpy as np
import pytest
import small
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfpriv.dp as dp
from tfpriv import ops
from tfpriv.dp import noise
from tfpriv.support.randomness import Randomness

Z, C, BATCH = 1.5, 0.7, 2
STDDEV = Z * C / BATCH


def updates_of(steps=3, batch_size=BATCH, population=8):
    """What each step adds to the weights of a model with zero gradients."""
    optimizer = small.sgd(1.0, l2_norm_clip=C, noise_multiplier=Z)
    model = dp.make_private(noise_checks.wide())
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    small.compiled(model, optimizer, loss=noise_checks.zero)
    updates = noise_checks.Updates()
    sampler = dp.PoissonSampler(
        small.data(8, 2), batch_size, steps_per_epoch=steps, population=population
    )
    model.fit(sampler, verbose=0, callbacks=[updates])
    assert len(model.privacy.ledger) == steps == len(updates.steps)
    return updates.steps


def test_noise_is_what_was_promised():
    noise_checks.assert_noise(updates_of(), STDDEV)


def test_empty_batches_get_noise_and_count():
    updates = updates_of(batch_size=1, population=10**9)  # 8 of 10**9: all are empty
    noise_checks.assert_noise(updates, Z * C)


def test_batch_of_everything():
    noise_checks.assert_noise(updates_of(batch_size=8), Z * C / 8)


real_noise, real_noisy_sum = ops.gaussian_noise, ops.noisy_sum


def halved(key, shape, dtype="float32", *, stream=0):
    return real_noise(key, shape, dtype, stream=stream) / 2


def one_stream(key, shape, dtype="float32", *, stream=0):
    return real_noise(key, shape, dtype, stream=0)


def not_on_one_variable(key, shape, dtype="float32", *, stream=0):
    return real_noise(key, shape, dtype, stream=stream) * float(stream != 1)


def once_per_replica(key, shape, dtype="float32", *, stream=0):
    twice = real_noise(key, shape, dtype, stream=stream + 100)
    return twice + real_noise(key, shape, dtype, stream=stream)


def on_the_mean(key, shape, dtype="float32", *, stream=0):
    return BATCH * real_noise(key, shape, dtype, stream=stream)


def one_percent_less(key, shape, dtype="float32", *, stream=0):
    return 0.99 * real_noise(key, shape, dtype, stream=stream)


def uniform(key, shape, dtype="float32", *, stream=0):
    normal = real_noise(key, shape, dtype, stream=stream)
    return keras.ops.erf(normal / 2**0.5) * 3**0.5


def cut_at_four(key, shape, dtype="float32", *, stream=0):
    return keras.ops.clip(real_noise(key, shape, dtype, stream=stream), -4.0, 4.0)


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (halved, r"sigma is off by 0\.(49|50)"),
        (one_stream, "correlated"),
        (not_on_one_variable, "sigma is off"),
        (once_per_replica, r"sigma is off by 1\.41"),
        (on_the_mean, r"sigma is off by (1\.99|2\.0)"),
        (one_percent_less, r"sigma is off by 0\.(98|99)"),
        (uniform, "not normal|extremes"),
        (cut_at_four, "extremes"),
    ],
)
def test_planted_faults_are_found(fault, finding, monkeypatch):
    monkeypatch.setattr(noise.ops, "noisy_sum", noise_checks.noisy_sum_with(fault))
    with pytest.raises(AssertionError, match=finding):
        noise_checks.assert_noise(updates_of(), STDDEV)


def test_planted_fault_reused_key(monkeypatch):
    monkeypatch.setattr(
        Randomness, "key", lambda self, purpose="": b"always the same key, 32 bytes!!!"
    )
    with pytest.raises(AssertionError, match="correlated"):
        noise_checks.assert_noise(updates_of(), STDDEV)


def used_streams(monkeypatch):
    """(key, stream) of all noise in three steps that release all that a step can."""
    used = []

    def recorded(total, key, *, stream=0, **options):
        used.append((bytes(key.numpy()), int(stream)))
        return real_noisy_sum(total, key, stream=stream, **options)

    monkeypatch.setattr(ops, "noisy_sum", recorded)
    model = dp.make_private(noise_checks.wide(), private_metrics=True)
    optimizer = small.sgd(
        1.0,
        l2_norm_clip=C,
        noise_multiplier=Z,
        clipping=dp.AdaptiveClipping(indicator_stddev=1.0),
    )
    model.compile(optimizer, loss=noise_checks.zero, run_eagerly=True)
    sampler = dp.PoissonSampler(small.data(8, 2), 8, steps_per_epoch=3)
    model.fit(sampler, verbose=0)
    sizes = [v.value.shape.num_elements() for v in model.trainable_variables]
    large = [size for size in sizes if size > noise.SMALL]
    assert 0 < len(large) < len(sizes)
    per_step = len(large) + 1 + 2  # the small ones together; loss; clipped units
    assert len(used) == 3 * per_step
    return used


SIZES = st.sampled_from([0, 1, 3, 40, 300])  # up to 40 are small in this test


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(st.lists(SIZES, max_size=2), min_size=1, max_size=6),
    doubles=st.lists(st.booleans(), min_size=6, max_size=6),
    stddev=st.sampled_from([0.0, 1e-5]),
)
def test_sums_that_are_released_together_come_apart_again(shapes, doubles, stddev):
    rng = np.random.default_rng(0)
    sums = [tf.constant(rng.normal(size=shape)) for shape in shapes]
    dtypes = [tf.float64 if double else tf.float32 for double in doubles[: len(sums)]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "SMALL", 40)
        released = noise.release(
            sums,
            sensitivity=1.0,
            stddev=stddev,
            draw_key=lambda: tf.zeros([32], tf.uint8),
            dtypes=dtypes,
        )
    for total, dtype, result in zip(sums, dtypes, released, strict=True):
        assert (result.shape, result.dtype) == (total.shape, dtype)
        np.testing.assert_allclose(result, total, rtol=1e-6, atol=1e-3)


def test_no_noise_is_used_twice(monkeypatch):
    used = used_streams(monkeypatch)
    assert len(set(used)) == len(used)


def test_planted_fault_one_key_for_two_releases(monkeypatch):
    first = os.urandom(32)
    monkeypatch.setattr(Randomness, "key", lambda self, purpose="": first)
    used = used_streams(monkeypatch)
    assert len(set(used)) < len(used)


def two_runs_after_the_same_seed():
    """Updates and batches of two runs that Keras was seeded alike for."""
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        steps = updates_of(steps=1)
        drawn = Randomness().bernoulli(0.5, 64)
        runs.append((steps[0][0], drawn))
    return runs


def assert_runs_differ(runs):
    (noise_a, drawn_a), (noise_b, drawn_b) = runs
    assert not np.any(noise_a == noise_b)
    assert not np.array_equal(drawn_a, drawn_b)  # false alarm 2**-64


def test_randomness_does_not_follow_the_keras_seed():
    assert_runs_differ(two_runs_after_the_same_seed())


def test_planted_fault_keys_that_follow_the_keras_seed(monkeypatch):
    monkeypatch.setattr(os, "urandom", np.random.bytes)
    with pytest.raises(AssertionError):
        assert_runs_differ(two_runs_after_the_same_seed())


def test_dropout_masks_do_not_follow_the_keras_seed():
    """Known masks would tie the examples of a batch together (see `example_seeds`)."""

    def trained():
        keras.utils.set_random_seed(7)
        layers = [keras.Input((50,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
        model = dp.make_private(keras.Sequential(layers))
        small.compiled(model, small.sgd(1.0, noise_multiplier=0.0))
        ones = np.ones((4, 50), "float32")
        model.fit(ones, np.ones((4, 1)), batch_size=4, verbose=0)  # all, every time
        return model.get_weights()[0]

    assert not np.array_equal(trained(), trained())  # alike by chance: 2**-200


def test_a_test_seed_repeats_everything_and_forbids_release():
    def trained(seed):
        model = small.private(seed=seed)
        model.set_weights([np.zeros((3, 1)), np.zeros(1)])
        model.fit(np.eye(3), np.ones((3, 1)), batch_size=2, verbose=0)
        assert not model.privacy.ledger.releasable
        assert "NOT FOR RELEASE" in model.privacy.statement()
        return model.get_weights()

    np.testing.assert_array_equal(trained(3)[0], trained(3)[0])
    assert not np.array_equal(trained(3)[0], trained(4)[0])


def test_draws_of_a_test_seed_do_not_depend_on_their_order():
    """Operations of one graph run in any order."""
    purposes = ["gradients", "seeds", "gradients", "loss"]

    def drawn(order):
        source = Randomness(seed=1)
        return sorted((purpose, source.key(purpose)) for purpose in order)

    assert drawn(purposes) == drawn(purposes[::-1])
    assert len(set(drawn(purposes))) == len(purposes)
