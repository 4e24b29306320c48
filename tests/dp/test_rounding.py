"""What is released does not show a unit in its low bits, nor by rounding.

The attack (Mironov, 2012): float noise on a float sum reaches other floats where the
sum is another one. A weight that was zero and had no gradient gets noise alone; with a
unit present, it gets noise plus a little, and some of the results are floats that
noise alone cannot give.
"""

import os

import keras
import noise_checks
import numpy as np
import oracle
import pytest
import small
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import tfpriv.dp as dp
from tfpriv import ops
from tfpriv.dp import noise
from tfpriv.dp.clipping import rounding

WEIGHTS = 200_000
Z, C = 4.0, 1.0
FALSE_ALARM = 1e-6


def key():
    return tf.constant(np.frombuffer(os.urandom(32), np.uint8))


def released(sums, z=Z, dtype="float32"):
    """What the optimizer makes of a clipped sum, divided by 1."""
    return noise.release(
        [tf.convert_to_tensor(sums)],
        sensitivity=C,
        stddev=z * C,
        draw_key=key,
        dtypes=[tf.as_dtype(dtype)],
    )[0].numpy()


def float_noise_on_a_float_sum(sums, z=Z):
    """The planted fault: as it was before sum and noise met on a grid."""
    sums = tf.cast(sums, tf.float32)
    return (sums + z * C * ops.gaussian_noise(key(), tf.shape(sums))).numpy()


def coarse_normals(draw):
    """The planted fault: float32 normals, which are coarser than the grid."""

    def coarse(key, shape, dtype="float32", *, stream=0):
        return tf.cast(draw(key, shape, "float32", stream=stream), dtype)

    return noise_checks.noisy_sum_with(coarse)


# Reachable sets.


def impossible(values, z=Z):
    """How many values no float32 noise on a sum of 0 can give.

    Such noise is a float32 normal times z C, rounded once: values between the images
    of neighbouring normals do not occur.
    """
    values = np.asarray(values, "float32")
    near = (values / np.float32(z * C)).astype("float32")
    candidates = [near]
    for direction in (-np.inf, np.inf):
        step = near
        for _ in range(4):
            step = np.nextafter(step, np.float32(direction), dtype="float32")
            candidates.append(step)
    images = [np.float32(z * C) * c for c in candidates]
    return int(np.sum(~np.any([image == values for image in images], axis=0)))


def canary():
    """A unit's clipped gradient: the same small value in every weight."""
    return np.full(WEIGHTS, C / np.sqrt(WEIGHTS))


def test_planted_float_noise_on_a_float_sum_is_found():
    z = 1.37  # no power of two, as noise multipliers are
    assert impossible(float_noise_on_a_float_sum(np.zeros(WEIGHTS), z), z) == 0
    assert impossible(float_noise_on_a_float_sum(canary(), z), z) > 100


@pytest.mark.parametrize("present", [False, True])
def test_no_output_is_possible_with_the_canary_only(present):
    """Every output is a grid point written as a float, present or absent."""
    sums = canary() if present else np.zeros(WEIGHTS)
    step = float(noise.grid_step(C, Z * C))
    whole = released(sums, dtype="float64") / step
    assert np.array_equal(whole, np.round(whole))


def residues_look_alike(a, b, bits=12):
    """Chi-square tests of the numbers of grid steps modulo powers of two."""
    step = float(noise.grid_step(C, Z * C))
    smallest = 1.0
    for power in range(1, bits + 1):
        residues = [np.round(v / step).astype(np.int64) % 2**power for v in (a, b)]
        counts = np.stack([np.bincount(r, minlength=2**power) for r in residues])
        counts = counts[:, counts.any(axis=0)]
        smallest = min(smallest, stats.chi2_contingency(counts).pvalue)
    return smallest * bits > FALSE_ALARM


def test_residues_modulo_powers_of_two_do_not_show_the_canary():
    absent = released(np.zeros(WEIGHTS), dtype="float64")
    present = released(canary(), dtype="float64")
    assert residues_look_alike(absent, present)


def test_planted_coarse_normals_are_found(monkeypatch):
    faulty = coarse_normals(ops.gaussian_noise)
    monkeypatch.setattr(noise.ops, "noisy_sum", faulty)
    absent = released(np.zeros(WEIGHTS), dtype="float64")
    present = released(np.full(WEIGHTS, 5 * 2.0**-28), dtype="float64")
    assert not residues_look_alike(absent, present)


@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "Adam"])
def test_attack_on_a_training_step_finds_nothing(optimizer):
    """Weights from zero after one step are a function of whole numbers.

    With SGD at rate 1 the weight is the released float; with momentum too, in the first
    step; Adam's first step is the sign but for its epsilon, a function of it.
    """
    made = {
        "SGD": lambda: small.sgd(1.0, C, Z),
        "momentum": lambda: small.sgd(1.0, C, Z, momentum=0.9),
        "Adam": lambda: dp.DPAdam(1.0, l2_norm_clip=C, noise_multiplier=Z),
    }[optimizer]
    step = float(noise.grid_step(C, Z * C))
    for with_canary in (False, True):
        layer = keras.layers.Dense(2_000, use_bias=False, kernel_initializer="zeros")
        model = dp.make_private(keras.Sequential([keras.Input((10,)), layer]))
        small.compiled(model, made(), loss=lambda y, pred: keras.ops.sum(y * pred, -1))
        x = np.ones((2, 10), "float32")
        y = np.zeros((2, 2_000), "float32")
        if with_canary:
            y[0] = 1.0
        batch = 2.0  # a power of two, so that division by it is exact
        model.fit(x, y, batch_size=2, epochs=1, verbose=0)
        weights = model.get_weights()[0].astype("float64")
        if optimizer == "Adam":  # its first moment, (1 - beta_1) times the gradient
            (moment,) = (v for v in model.optimizer.variables if "momentum" in v.path)
            moment, unit = np.asarray(moment), step / batch
            near = np.round(moment.astype("float64") / 0.1 / unit)
            small_ones = np.abs(near) < 2**22
            assert np.sum(small_ones) > 50
            images = [
                ((near + i) * unit).astype("float32") * np.float32(1 - 0.9)
                for i in (-1, 0, 1)
            ]
            possible = np.any([image == moment for image in images], axis=0)
            assert possible[small_ones].all()
            continue
        # A float32 has 24 digits: a whole number of steps of its own size.
        whole = np.abs(weights) * batch / step
        digits = np.maximum(2.0 ** np.floor(np.log2(np.maximum(whole, 1)) - 23), 1)
        assert np.array_equal(whole % digits, np.zeros_like(whole))


# Dense numbers.


@settings(max_examples=60, deadline=None)
@given(
    sensitivity=st.floats(1e-30, 1e30),
    z=st.floats(1e-4, 1e9),
)
def test_the_grid_is_finer_than_bound_and_noise_and_coarser_than_the_draws(
    sensitivity, z
):
    stddev = sensitivity * z
    step = float(noise.grid_step(sensitivity, stddev))
    mantissa, _ = np.frexp(step)
    assert mantissa == 0.5  # a power of two
    assert step <= stddev * 2.0**-28
    assert stddev / step <= 2.0**49
    if z <= 2.0**20:
        assert step <= sensitivity * 2.0**-28


def test_a_unit_moves_the_whole_numbers_by_its_own_only(implementation):
    """With one key, outputs differ by the difference of the rounded sums, exactly."""
    step, fixed = float(noise.grid_step(C, Z)), key()
    rng = np.random.default_rng(0)
    sums = rng.normal(size=1000)
    other = sums + rng.normal(size=1000) * 1e-3

    def steps(total):
        options = {"step": step, "stddev": Z, "dtype": "int64"}
        return ops.noisy_sum(tf.constant(total), fixed, **options).numpy()

    expected = np.round(other / step) - np.round(sums / step)
    np.testing.assert_array_equal(steps(other) - steps(sums), expected)


def test_the_written_float_is_a_function_of_the_whole_number(implementation):
    fixed, sums = key(), np.random.default_rng(0).normal(size=5000)
    options = {"step": 2.0**-28, "stddev": Z}
    whole = ops.noisy_sum(sums, fixed, **options, dtype="int64").numpy()
    for dtype in ("float32", "float64"):
        written = ops.noisy_sum(sums, fixed, **options, scale=1 / 3, dtype=dtype)
        expected = (whole * (2.0**-28 * (1 / 3))).astype(dtype)
        np.testing.assert_array_equal(written, expected)


# What rounding may add to the sum.


def sum_of(model, x, y):
    sums, _ = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=C)
    return [np.asarray(s, "float64") for s in sums]


NETWORKS = {
    "dense": lambda: [
        keras.Input((64,)),
        keras.layers.Dense(256),
        keras.layers.Dense(1),
    ],
    "convolution": lambda: [
        keras.Input((64,)),
        keras.layers.Reshape((8, 8, 1)),
        keras.layers.Conv2D(32, 3, padding="same"),
        keras.layers.Flatten(),
        keras.layers.Dense(1),
    ],
}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_rounding_of_the_others_stays_within_the_margin(network, aligned, rng):
    """One row more, in front: every chunk of the batch is another one."""
    model = keras.Sequential(NETWORKS[network]())
    x = rng.normal(size=(1025, 64)).astype("float32")
    y = 100 + 100 * rng.random((1025, 1)).astype("float32")  # all are clipped
    if aligned:  # the partial sums are as long as they can be
        x = np.abs(x[:1]) + 1e-3 * x
    own = oracle.norm(sum_of(model, x[:1], y[:1]))
    whole, without = sum_of(model, x, y), sum_of(model, x[1:], y[1:])
    moved = oracle.distance(whole, without)
    assert own == pytest.approx(C * (1 - rounding.MARGIN), rel=1e-5)
    assert moved <= C
    alone = sum_of(model, x[:1], y[:1])
    excess = oracle.distance(
        [w - o for w, o in zip(whole, without, strict=True)], alone
    )
    print(f"{network}, aligned={aligned}: rounding moves the sum by {excess / C:.1e} C")
    assert excess <= rounding.MARGIN * C / 4


def test_planted_clip_without_the_margin_is_found(monkeypatch, rng):
    monkeypatch.setattr("tfpriv.dp.clipping.plan.inner_bound", lambda bound: bound)
    model = keras.Sequential(NETWORKS["dense"]())
    x = rng.normal(size=(1, 64)).astype("float32")
    own = oracle.norm(sum_of(model, x, np.full((1, 1), 200.0)))
    assert own > C * (1 - rounding.MARGIN / 2)


def test_at_most_256_units_are_added_in_float32(rng):
    """A larger microbatch gives the sum of chunks of 256, bit for bit."""
    model = keras.Sequential(NETWORKS["dense"]())
    x = rng.normal(size=(600, 64)).astype("float32")
    y = 200 * rng.random((600, 1)).astype("float32")
    options = {"loss": "mse", "l2_norm_clip": C}
    large, _ = dp.clipped_gradients(model, x, y, microbatch_size=600, **options)
    default, _ = dp.clipped_gradients(model, x, y, microbatch_size=256, **options)
    for a, b in zip(large, default, strict=True):
        np.testing.assert_array_equal(a, b)
