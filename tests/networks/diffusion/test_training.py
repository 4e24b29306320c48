"""The small inpainter learns, stops, goes on, and comes out the same."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from tiny_inpainter import UNET, VAE

from tfpriv.networks import diffusion
from tfpriv.networks.diffusion import schedulers, small, train, training

SIZE = 16
RECIPE = training.DiffusionRecipe(vae_steps=2, unet_steps=2, batch_size=4, half_life=8)


def new_inpainter(seed=0):
    keras.utils.set_random_seed(seed)
    return diffusion.StableDiffusionInpainter(
        diffusion.UNet(UNET),
        diffusion.VAE(VAE | {"sample_size": SIZE, "scaling_factor": 1.0}),
        schedulers.DDIMScheduler(clip_sample=False),
    )


def weights_of(inpainter):
    return [*inpainter.vae.get_weights(), *inpainter.unet.get_weights()]


@pytest.fixture(scope="module")
def pictures():
    """Two colours each, the left half and the right."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (24, 1, 2, 3), np.uint8)
    return colours.repeat(SIZE, 1).repeat(SIZE // 2, 2)


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train.train_inpainter(pictures, folder, new_inpainter(), RECIPE), folder


def test_both_networks_are_trained_and_saved(run):
    trained, folder = run
    start = new_inpainter()
    assert all(np.isfinite(weight).all() for weight in weights_of(trained))
    moved = [
        (before != after).any()
        for before, after in zip(weights_of(start), weights_of(trained), strict=True)
    ]
    # Without a prompt, queries and keys of it stay, and its values.
    assert np.mean(moved) > 0.9
    again = diffusion.StableDiffusionInpainter.from_diffusers(folder / train.INPAINTER)
    for one, other in zip(weights_of(trained), weights_of(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.vae.config["scaling_factor"] != 1.0
    assert (folder / train.SAMPLES).stat().st_size


@pytest.mark.slow
def test_it_learns(pictures):
    recipe = dataclasses.replace(RECIPE, vae_steps=60, unet_steps=60, batch_size=8)
    trainer = training.Trainer(new_inpainter(), recipe)
    fed = train.batches(pictures, SIZE, 8, 0, 0)
    losses = [trainer.step(number, next(fed)) for number in range(recipe.steps)]
    vae, unet = losses[: recipe.vae_steps], losses[recipe.vae_steps :]
    assert np.mean(vae[-10:]) < 0.7 * np.mean(vae[:5])
    assert np.mean(unet[-10:]) < 0.8 * np.mean(unet[:5])
    latents = trainer.vae.moments(pictures / np.float32(127.5) - 1)[0]
    assert 0.5 < np.std(latents) * float(trainer.scale) < 2


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_it_had_not_been(run, pictures, tmp_path):
    whole, _ = run

    def kill(done, total):
        assert total == RECIPE.steps
        if done == killed_at:
            raise KeyboardInterrupt

    for killed_at in (1, 3):
        folder = tmp_path / str(killed_at)
        arguments = {"save_every": 1, "progress": kill}
        with pytest.raises(KeyboardInterrupt):
            train.train_inpainter(
                pictures, folder, new_inpainter(), RECIPE, **arguments
            )
        assert not (folder / train.INPAINTER).exists()
        again = train.train_inpainter(pictures, folder, new_inpainter(5), RECIPE)
        for one, other in zip(weights_of(whole), weights_of(again), strict=True):
            np.testing.assert_array_equal(one, other)
        assert again.vae.config == whole.vae.config


def test_a_finished_training_is_written_again(run, pictures, tmp_path):
    shutil.copytree(run[1], tmp_path / "run")
    before = (tmp_path / "run" / train.INPAINTER / "model_index.json").stat().st_ino
    train.train_inpainter(pictures, tmp_path / "run", new_inpainter(5), RECIPE)
    after = (tmp_path / "run" / train.INPAINTER / "model_index.json").stat().st_ino
    assert before != after
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        p.name for p in run[1].iterdir()
    }


@pytest.mark.parametrize("trained", [False, True])
def test_somebody_elses_inpainter_stays(run, pictures, tmp_path, trained):
    folder = tmp_path / "run"
    if trained:
        shutil.copytree(run[1], folder)
    (folder / train.INPAINTER / "unet").mkdir(parents=True, exist_ok=True)
    theirs = folder / train.INPAINTER / "unet" / "my_weights.safetensors"
    theirs.write_text("precious")
    with pytest.raises(FileExistsError, match="holds other"):
        train.train_inpainter(pictures, folder, new_inpainter(), RECIPE)
    assert theirs.read_text() == "precious"


def test_a_checkpoint_of_another_training_is_refused(run, pictures, tmp_path):
    checkpoint = (run[1] / train.CHECKPOINT).read_bytes()
    (tmp_path / train.CHECKPOINT).write_bytes(checkpoint)
    other = dataclasses.replace(RECIPE, learning_rate=1e-2)
    with pytest.raises(ValueError, match=r"another recipe.*training\.npz"):
        train.train_inpainter(pictures, tmp_path, new_inpainter(), other)
    with pytest.raises(ValueError, match=r"data; choose.*training\.npz"):
        train.train_inpainter(pictures[1:], tmp_path, new_inpainter(), RECIPE)
    (tmp_path / train.CHECKPOINT).write_bytes(checkpoint[:500])
    with pytest.raises(ValueError, match=r"damaged.*training\.npz"):
        train.train_inpainter(pictures, tmp_path, new_inpainter(), RECIPE)


def test_what_does_not_fit_is_refused(pictures, inpainter, tmp_path):
    with pytest.raises(ValueError, match=r"Received: shape=\(1, 16, 8, 3\)"):
        train.train_inpainter(pictures[:, :, :8], tmp_path, new_inpainter(), RECIPE)
    with pytest.raises(ValueError, match="Received: one with a text encoder"):
        train.train_inpainter(pictures, tmp_path, inpainter, RECIPE)


@pytest.mark.parametrize(
    "change",
    [
        {"vae_steps": 0},
        {"unet_steps": 0},
        {"learning_rate": 0.0},
        {"divergence": -1.0},
        {"half_life": float("inf")},
    ],
)
def test_recipes_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match="Received"):
        training.DiffusionRecipe(**change)


def test_masks_for_training_are_of_every_kind():
    masks = training.random_masks(np.random.default_rng(0), 200, 64)
    shares = masks.mean((1, 2))
    assert masks.dtype == np.bool_
    assert masks.shape == (200, 64, 64)
    assert (shares == 1).sum() > 10
    assert (shares > 0).mean() > 0.95
    assert (shares < 0.5).sum() > 20


def test_the_small_inpainter_is_small():
    inpainter = small.small_inpainter()
    count = inpainter.unet.count_params() + inpainter.vae.count_params()
    assert 4 * count < 10_000_000
    assert inpainter.divisor == 16
    with pytest.raises(ValueError, match="Received: size=24"):
        small.small_inpainter(24)
