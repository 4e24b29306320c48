"""What is under a mask cannot show, and what is outside stays as it was."""

import numpy as np
import pytest

from tfpriv.networks.diffusion import pipeline, schedulers

SIZE = 8


def masks_of(kind, rng):
    """Bool (1, SIZE, SIZE)."""
    mask = np.zeros((1, SIZE, SIZE), bool)
    if kind == "box":
        mask[:, 2:7, 1:5] = True
    elif kind == "pixel":
        mask[:, 3, 3] = True
    elif kind == "scattered":
        mask = rng.random(mask.shape) < 0.4
    elif kind == "all":
        mask[:] = True
    return mask


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)


def shows_what_is_masked(inpainter, picture, mask, rng, tries=3):
    """Whether other pixels under the mask change the result."""
    results = []
    for _ in range(tries):
        altered = picture.copy()
        altered[mask] = rng.integers(0, 256, (mask.sum(), 3), np.uint8)
        results.append(inpainter(altered, mask, steps=2).tobytes())
    return len(set(results)) > 1


@pytest.mark.parametrize("kind", ["box", "pixel", "scattered", "all"])
def test_nothing_under_the_mask_shows(inpainter, picture, kind, rng):
    mask = masks_of(kind, rng)
    assert not shows_what_is_masked(inpainter, picture, mask, rng)


def test_a_leak_under_the_mask_is_seen(inpainter, picture, rng, monkeypatch):
    """The planted fault: the network is shown the picture as it was."""
    seen = inpainter.seen

    def leaking(images, masks):
        covered, open_ = seen(images, masks), seen(images, np.zeros_like(masks))
        return np.concatenate([covered[..., :1], open_[..., 1:]], axis=-1)

    monkeypatch.setattr(inpainter, "seen", leaking)
    assert shows_what_is_masked(inpainter, picture, masks_of("box", rng), rng)


@pytest.mark.parametrize("kind", ["box", "scattered", "none"])
def test_outside_all_is_kept(inpainter, picture, kind, rng):
    mask = masks_of(kind, rng)
    found = inpainter(picture, mask, steps=2)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[~mask], picture[~mask])
    if kind == "box":
        assert (found[mask] != picture[mask]).any()


def test_seeds(inpainter, picture, rng):
    pictures, masks = picture.repeat(2, 0), masks_of("box", rng).repeat(2, 0)
    found = inpainter(pictures, masks, steps=2, seed=1)
    np.testing.assert_array_equal(found, inpainter(pictures, masks, steps=2, seed=1))
    assert (found != inpainter(pictures, masks, steps=2, seed=2)).any()
    assert (found[0] != found[1]).any()
    same = inpainter(pictures, masks, steps=2, seed=[5, 5])
    np.testing.assert_array_equal(same[0], same[1])
    with pytest.raises(ValueError, match="Received: 3 seeds"):
        inpainter(pictures, masks, steps=2, seed=[1, 2, 3])


def test_the_initial_noise_is_normal():
    """Mean and variance of 10^5 values; false alarm 1e-6 each (4.9 deviations)."""
    noise = pipeline.initial_noise(0, 4, (50, 125, 4))
    assert abs(noise.mean()) < 4.9 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4.9 * np.sqrt(2 / noise.size)
    assert abs((noise[0] * noise[1]).mean()) < 4.9 / np.sqrt(noise[0].size)


def test_without_a_prompt_the_network_is_asked_once(inpainter, picture, rng):
    asked = []

    def counting(x, times, context):
        asked.append(np.asarray(context))
        return noise(x, times, context)

    noise, inpainter._noise = inpainter._noise, counting
    try:
        mask = masks_of("box", rng)
        empty = inpainter(picture, mask, steps=2)
        assert len(asked) == 2
        guided = inpainter(picture, mask, "ab", steps=2)
        assert len(asked) == 6
        assert (asked[2] != asked[3]).any()
        np.testing.assert_allclose(asked[3], asked[0], atol=1e-5)
        inpainter(picture, mask, "ab", steps=2, guidance_scale=1.0)
        assert len(asked) == 8
    finally:
        inpainter._noise = noise
    assert (guided != empty).any()


def test_guidance_goes_beyond_the_prompt(inpainter, picture, rng):
    """By the formula, from the two answers."""
    mask, seen = masks_of("box", rng), []
    answers = iter([np.float32(2.0), np.float32(0.5)])
    noise = inpainter._noise
    inpainter._noise = lambda x, times, context: np.full(
        (*x.shape[:3], 4), next(answers), np.float32
    )
    try:
        inpainter(
            picture,
            mask,
            "ab",
            1,
            guidance_scale=3.0,
            callback=lambda s: seen.append(s),
        )
    finally:
        inpainter._noise = noise
    scheduler = schedulers.from_config(inpainter.scheduler.get_config())
    scheduler.set_timesteps(1)
    start = pipeline.initial_noise(0, 1, seen[0].latents.shape[1:])
    told = np.full_like(start, 0.5 + 3 * (2.0 - 0.5))
    right = scheduler.step(told, scheduler.timesteps[0], start)
    np.testing.assert_allclose(seen[0].latents, right, rtol=1e-5)


def test_a_callback_reads_alters_and_stops(inpainter, picture, rng):
    mask, seen = masks_of("box", rng), []

    def look(step):
        seen.append((step.number, step.total, step.timestep, step.latents.shape))
        return step.number == 2

    inpainter(picture, mask, steps=4, callback=look)
    assert seen == [(1, 4, 750, (1, 4, 4, 4)), (2, 4, 500, (1, 4, 4, 4))]

    def zero(step):
        step.latents.assign(np.zeros(step.latents.shape))
        return True

    one, other = (
        inpainter(picture, mask, steps=3, seed=seed, callback=zero) for seed in (0, 1)
    )
    np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_is_refused(inpainter, picture, rng):
    mask = masks_of("box", rng)
    for images, masks in (
        (picture.astype("float32"), mask),
        (picture[0], mask),
        (picture, mask.astype("uint8")),
        (picture, mask[:, :-1]),
        (picture[:, :6], mask[:, :6]),
        (picture[:0], mask[:0]),
    ):
        with pytest.raises(ValueError, match="Received"):
            inpainter(images, masks, steps=1)


def test_without_a_text_encoder_there_is_no_prompt(inpainter, picture, rng):
    mute = pipeline.StableDiffusionInpainter(
        inpainter.unet, inpainter.vae, inpainter.scheduler
    )
    mask = masks_of("box", rng)
    assert mute(picture, mask, steps=1).shape == picture.shape
    with pytest.raises(ValueError, match="Received: prompt='ab'"):
        mute(picture, mask, "ab", steps=1)
    with pytest.raises(ValueError, match="go together"):
        pipeline.StableDiffusionInpainter(
            inpainter.unet,
            inpainter.vae,
            inpainter.scheduler,
            tokenizer=inpainter.tokenizer,
        )


def test_half_precision(saved, inpainter, picture, rng):
    """Sixteen bits paint about the same."""
    half = pipeline.StableDiffusionInpainter.from_diffusers(saved, "mixed_bfloat16")
    assert half.unet.down[0].residuals[0].conv1.compute_dtype == "bfloat16"
    mask = masks_of("box", rng)
    one, other = (
        each(picture, mask, steps=2).astype(int) for each in (half, inpainter)
    )
    assert np.abs(one - other).mean() < 8
    assert not shows_what_is_masked(half, picture, mask, rng, tries=2)
