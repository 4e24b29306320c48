"""How much noise a claim takes, and that nothing longer than the clip gets in."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from tfpriv.accounting import Ledger, mechanisms
from tfpriv.editing import discrete_noise, grid_noise
from tfpriv.editing.grid_noise import SCALE, calibrated
from tfpriv.support.randomness import Randomness

CLAIMS = [(0.2, 1e-5), (0.5, 1e-5), (1.0, 1e-6), (2.0, 1e-5), (8.0, 1e-5), (1.0, 1e-8)]


def noise_of(clip=2.0, **claim):
    given = {"epsilon": None, "delta": None, "noise_multiplier": None, **claim}
    return grid_noise.grid_noise(clip, note="a note", **given)


def gaussian_delta(z, epsilon):
    """Balle and Wang's formula, for sensitivity 1 and standard deviation z."""
    a, b = 0.5 / z, epsilon * z
    return stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)


@pytest.mark.parametrize(("epsilon", "delta"), CLAIMS)
def test_gaussian_noise_is_the_least_that_keeps_the_claim(epsilon, delta):
    z = calibrated(epsilon, delta)
    assert gaussian_delta(z, epsilon) < delta
    assert gaussian_delta(0.9999 * z, epsilon) > delta
    noise = noise_of(clip=3.0, epsilon=epsilon, delta=delta)
    assert noise.stddev == pytest.approx(z * 6.0)  # the diameter, not the radius
    assert noise.mechanism.event.noise_multiplier == z


@pytest.mark.parametrize(("epsilon", "delta"), CLAIMS)
def test_the_ledger_agrees(epsilon, delta):
    ledger = Ledger()
    mechanism = noise_of(epsilon=epsilon, delta=delta).mechanism
    ledger.record(mechanism, unit="face", purpose="test")
    assert 0.998 * epsilon < ledger.epsilon(delta, "pld") <= epsilon * (1 + 1e-9)


@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 1.0, 30.0])
def test_laplace_noise_is_the_diameter_over_epsilon(epsilon):
    noise = noise_of(clip=3.0, epsilon=epsilon, delta=0.0)
    assert noise.scale == pytest.approx(6.0 / epsilon)
    assert noise.stddev == pytest.approx(6.0 / epsilon * math.sqrt(2))
    ledger = Ledger()
    ledger.record(noise.mechanism, unit="face", purpose="test")
    assert ledger.epsilon(0.0) == pytest.approx(epsilon)


def test_given_noise_is_taken_as_it_is():
    noise = noise_of(clip=0.5, noise_multiplier=2.5)
    assert noise.stddev == pytest.approx(2.5)
    assert noise.mechanism == mechanisms.gaussian_release(2.5, notes=("a note",))


@pytest.mark.parametrize("scale", [8, 32, 128])
def test_discrete_noise_is_rounded_noise_up_to_the_stated_distance(scale):
    """The bound of docs/editing_privacy.md, 1 / (5 scale^2), by summation."""
    values = np.arange(-40 * scale, 40 * scale + 1)
    weights = np.exp(-((values / scale) ** 2) / 2)
    discrete = weights / weights.sum()
    low, high = (np.abs(values) - 0.5) / scale, (np.abs(values) + 0.5) / scale
    rounded = stats.norm.sf(low) - stats.norm.sf(high)
    distance = 0.5 * np.abs(discrete - rounded).sum()
    assert 0.005 / scale**2 < distance < 1 / (5 * scale**2)
    assert grid_noise.MOST_COORDINATES / (5 * SCALE**2) < grid_noise._OFF_THE_GRID


def exact_length(steps, noise):
    """Of whole numbers: nothing is rounded. The square of it for Gaussian noise."""
    whole = [int(s) for s in steps]
    size = Fraction(noise.step)
    if noise.kind == "laplace":
        return sum(map(abs, whole)) * size, Fraction(noise.radius)
    return sum(s * s for s in whole) * size**2, Fraction(noise.radius) ** 2


numbers = st.floats(-1e6, 1e6) | st.floats(-4, 4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(numbers, min_size=1, max_size=9),
    st.floats(1e-6, 1e6),
    st.sampled_from([{"epsilon": 0.7, "delta": 0.0}, {"noise_multiplier": 1e-3}]),
)
@example([0.0], 1.0, {"noise_multiplier": 1.0})
@example([1e6, -1e6, 1e-300, 0.0], 1.0, {"noise_multiplier": 1e5})
@example([1.0] * 3, 3**0.5, {"noise_multiplier": 1.0})
def test_nothing_is_longer_than_the_clip(offsets, clip, claim):
    noise = noise_of(clip=clip, **claim)
    steps = noise.clipped(np.array([offsets]))[0]
    length, most = exact_length(steps, noise)
    assert length <= most
    # The claim, in whole numbers: diameter over the scale of the noise.
    if noise.kind == "laplace":
        epsilon = Fraction(claim["epsilon"])
        assert 2 * most / Fraction(noise.step) / SCALE <= epsilon
    else:
        z = Fraction(claim["noise_multiplier"])
        assert Fraction(noise.step) * SCALE >= 2 * Fraction(noise.radius) * z


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5))
def test_what_is_inside_stays_where_it_is(offsets):
    noise = noise_of(clip=5.01, noise_multiplier=1.0)
    found = noise.clipped(np.array([offsets]))[0] * noise.step
    np.testing.assert_allclose(found, offsets, atol=1.01 * noise.step)


def test_what_is_outside_keeps_its_direction(rng):
    offsets = 100 * rng.normal(size=(20, 3))
    for claim, order in (
        ({"noise_multiplier": 1.0}, 2),
        ({"epsilon": 1, "delta": 0}, 1),
    ):
        noise = noise_of(clip=2.0, **claim)
        found = noise.clipped(offsets) * noise.step
        lengths = np.linalg.norm(offsets, ord=order, axis=1, keepdims=True)
        np.testing.assert_allclose(found, 2 * offsets / lengths, atol=1e-6)


def test_a_planted_clip_that_rounds_away_from_zero_is_caught(monkeypatch):
    """One step too far: the exact lengths see it."""
    noise = noise_of(clip=1.0, noise_multiplier=1e5)
    monkeypatch.setattr(np, "trunc", lambda x: np.sign(x) * np.ceil(np.abs(x)))
    steps = noise.clipped(np.array([[1.0, 1.0, 1.0]]))[0]
    length, most = exact_length(steps, noise)
    assert length > most


def test_noise_has_the_stated_standard_deviation():
    for claim in ({"noise_multiplier": 0.3}, {"epsilon": 2.0, "delta": 0.0}):
        noise = noise_of(clip=1.7, **claim)
        drawn = noise.draw(Randomness(), (100_000, 2)) * noise.step
        # Five standard deviations of a standard deviation's estimate.
        relative = {"gaussian": 0.5**0.5, "laplace": 1.25**0.5}[noise.kind]
        error = drawn.std() / noise.stddev - 1
        assert abs(error) < 5 * relative / math.sqrt(drawn.size)


def test_noise_comes_from_the_exact_samplers(monkeypatch):
    calls = []

    def fake(randomness, scale, count):
        calls.append((scale, count))
        return np.arange(count)

    monkeypatch.setattr(discrete_noise, "gaussian", fake)
    drawn = noise_of(noise_multiplier=1.0).draw(Randomness(), (2, 3))
    np.testing.assert_array_equal(drawn, [[0, 1, 2], [3, 4, 5]])
    assert calls == [(SCALE, 6)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected `epsilon` and `delta`"),
        ({"epsilon": 1.0}, "Expected `epsilon` and `delta`"),
        ({"delta": 1e-5}, "Expected `epsilon` and `delta`"),
        ({"epsilon": 1.0, "delta": 0.0, "noise_multiplier": 1.0}, "Give either"),
        ({"epsilon": 0.0, "delta": 1e-5}, "Received: epsilon=0"),
        ({"epsilon": -1.0, "delta": 0.0}, "Received: epsilon=-1"),
        ({"epsilon": math.nan, "delta": 0.0}, "Received: epsilon=nan"),
        ({"epsilon": math.inf, "delta": 0.0}, "Received: epsilon=inf"),
        ({"epsilon": True, "delta": 0.0}, "Received: epsilon=True"),
        ({"epsilon": 1.0, "delta": 1.0}, "Received: delta=1.0"),
        ({"epsilon": 1.0, "delta": -1e-9}, "Received: delta=-1e-09"),
        (
            {"epsilon": 1.0, "delta": 1e-13},
            "`delta` is too small.*Received: delta=1e-13",
        ),
        ({"epsilon": 20.0, "delta": 1e-5}, "`delta` is too small"),
        ({"noise_multiplier": 0.0}, "Received: noise_multiplier=0.0"),
        ({"noise_multiplier": 1.0, "clip": 0.0}, "Received: clip=0.0"),
        ({"noise_multiplier": 1.0, "clip": -2.0}, "Received: clip=-2.0"),
        ({"noise_multiplier": 1.0, "clip": math.nan}, "Received: clip=nan"),
        ({"noise_multiplier": 1.0, "clip": "2"}, "Received: clip='2'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        noise_of(**arguments)
