"""Schedulers against their formulas, written out for single numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.networks.diffusion import schedulers

KINDS = [
    schedulers.DDIMScheduler,
    schedulers.PNDMScheduler,
    schedulers.DPMSolverMultistepScheduler,
]
STABLE_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
SHAPE = (2, 2, 2, 3)


def new(kind, steps, **options):
    if kind is schedulers.DDIMScheduler:
        options = {"clip_sample": False} | options
    scheduler = kind(**STABLE_DIFFUSION | options)
    scheduler.set_timesteps(steps)
    return scheduler


def run(scheduler, sample, answer):
    """All steps; `answer` tells the noise from time and sample."""
    for time in scheduler.timesteps:
        sample = np.asarray(scheduler.step(answer(time, sample), time, sample))
    return sample


def alpha_at(time):
    """The signal's share of the variance, multiplied up one step after the other."""
    result = 1.0
    for step in range(time + 1):
        low, high = math.sqrt(0.00085), math.sqrt(0.012)
        result *= 1 - (low + (high - low) * step / 999) ** 2
    return result


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(steps=st.integers(2, 60), seed=st.integers(0, 2**32 - 1))
def test_noise_that_is_known_is_taken_off(kind, steps, seed):
    """Who always tells the true noise gets the clean sample back."""
    random = np.random.default_rng(seed)
    clean, noise = random.normal(size=(2, *SHAPE))
    options = {"set_alpha_to_one": True}
    if kind is schedulers.DPMSolverMultistepScheduler:
        options = {}
    scheduler = new(kind, steps, **options)
    start = scheduler.add_noise(clean, noise, [scheduler.timesteps[0]] * 2)
    np.testing.assert_allclose(
        run(scheduler, start, lambda time, sample: noise), clean, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_signal_and_noise_as_the_betas_say(kind, rng):
    scheduler = new(kind, 10)
    clean, noise = rng.normal(size=(2, *SHAPE)).astype("float32")
    times = [3, 900]
    found = np.asarray(scheduler.add_noise(clean, noise, times))
    for row, time in enumerate(times):
        alpha = alpha_at(time)
        right = math.sqrt(alpha) * clean[row] + math.sqrt(1 - alpha) * noise[row]
        np.testing.assert_allclose(found[row], right, rtol=1e-5, atol=1e-5)


def test_ddim_by_hand(rng):
    scheduler = new(schedulers.DDIMScheduler, 4, steps_offset=1, set_alpha_to_one=False)
    assert scheduler.timesteps.tolist() == [751, 501, 251, 1]
    sample, output = rng.normal(size=(2, *SHAPE))
    found = scheduler.step(output, 751, sample)
    now, then = alpha_at(751), alpha_at(501)
    clean = (sample - math.sqrt(1 - now) * output) / math.sqrt(now)
    right = math.sqrt(then) * clean + math.sqrt(1 - then) * output
    np.testing.assert_allclose(found, right, rtol=1e-9)


def test_pndm_by_hand(rng):
    """Its five directions, each fitted to those before; steps as DDIM takes them."""
    scheduler = new(schedulers.PNDMScheduler, 5, steps_offset=1)
    assert scheduler.timesteps.tolist() == [801, 601, 601, 401, 201, 1]
    outputs = rng.normal(size=(6, *SHAPE))
    start = sample = rng.normal(size=SHAPE)
    e0, e1, e2, e3, e4, e5 = outputs
    mixed = [
        (801, 601, e0),
        (801, 601, (e0 + e1) / 2),
        (601, 401, (3 * e2 - e0) / 2),
        (401, 201, (23 * e3 - 16 * e2 + 5 * e0) / 12),
        (201, 1, (55 * e4 - 59 * e3 + 37 * e2 - 9 * e0) / 24),
        (1, 0, (55 * e5 - 59 * e4 + 37 * e3 - 9 * e2) / 24),
    ]
    right = start
    for number, (now, then, direction) in enumerate(mixed):
        sample = scheduler.step(outputs[number], scheduler.timesteps[number], sample)
        a, b = alpha_at(now), alpha_at(then)
        before = start if number == 1 else right
        clean = (before - math.sqrt(1 - a) * direction) / math.sqrt(a)
        right = math.sqrt(b) * clean + math.sqrt(1 - b) * direction
        np.testing.assert_allclose(sample, right, rtol=1e-6, atol=1e-6)


def dpm_error(order, steps):
    """Of samples of variance 1/4, for which the best guess at the noise is known."""
    scheduler = new(
        schedulers.DPMSolverMultistepScheduler,
        steps,
        solver_order=order,
        final_sigmas_type="sigma_min",
        lower_order_final=False,
    )

    def deviation(time):
        return math.sqrt(1 - 0.75 * scheduler.alphas[time])

    def answer(time, sample):
        return sample * math.sqrt(1 - scheduler.alphas[time]) / deviation(time) ** 2

    start = np.full(SHAPE, deviation(scheduler.timesteps[0]))
    return abs(run(scheduler, start, answer).flat[0] - deviation(0))


def test_dpm_solver_is_of_its_order():
    """Twice the steps leave half of the error, or almost a quarter of it."""
    first, second = (dpm_error(order, 160) for order in (1, 2))
    assert second < first / 2
    assert 1.8 < first / dpm_error(1, 320) < 2.2
    assert 3.0 < second / dpm_error(2, 320) < 4.2


@pytest.mark.parametrize("kind", KINDS)
def test_configurations_are_read_as_written(kind):
    scheduler = new(kind, 3, steps_offset=1)
    config = json.loads(json.dumps(scheduler.get_config()))
    again = schedulers.from_config(config)
    assert again.get_config() == scheduler.get_config()
    again.set_timesteps(3)
    np.testing.assert_array_equal(again.timesteps, scheduler.timesteps)


@pytest.mark.parametrize(
    "config",
    [
        {"_class_name": "EulerDiscreteScheduler"},
        {"_class_name": "PNDMScheduler"},
        {"_class_name": "DDIMScheduler", "thresholding": True},
        {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"},
        {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3},
        {"_class_name": "DPMSolverMultistepScheduler", "final_sigmas_type": "one"},
        {"_class_name": "DDIMScheduler", "prediction_type": "noise"},
        {"_class_name": "DDIMScheduler", "beta_schedule": "steep"},
        {"_class_name": "DDIMScheduler", "trained_betas": [0.1, 0.2]},
        {"_class_name": "DDIMScheduler", "beta_end": 1.5},
        {"_class_name": []},
        {"_class_name": "DDIMScheduler", "beta_end": "0.02"},
        {"_class_name": "DDIMScheduler", "beta_end": {}},
        {"_class_name": "DDIMScheduler", "beta_end": 10**400},
        {"_class_name": "DDIMScheduler", "num_train_timesteps": 2**40},
        {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000.0},
        {"_class_name": "DDIMScheduler", "steps_offset": "1"},
    ],
)
def test_what_is_not_built_is_refused(config):
    with pytest.raises(ValueError, match="Received"):
        schedulers.from_config(config)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_taken_in_their_order(kind):
    scheduler = new(kind, 4)
    zeros = np.zeros(SHAPE)
    with pytest.raises(ValueError, match="Received: timestep=1"):
        scheduler.step(zeros, 1, zeros)
    run(scheduler, zeros, lambda time, sample: sample)
    with pytest.raises(ValueError, match="Expected the time none"):
        scheduler.step(zeros, scheduler.timesteps[-1], zeros)
    for steps in (0, 1001):
        with pytest.raises(ValueError, match=f"Received: {steps}"):
            scheduler.set_timesteps(steps)
