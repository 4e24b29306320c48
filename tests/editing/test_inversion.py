"""Inversion finds what a generator drew, and loses nothing on the way."""

import os
import stat

import numpy as np
import pytest

from tfpriv.editing import inversion, losses
from tfpriv.networks.stylegan import StyleGAN


@pytest.fixture(scope="module")
def generator():
    """Of 16 pixels, its weights random but with styles that show."""
    generator = StyleGAN(16, 8, channels=(8, 8, 8))
    rng = np.random.default_rng(0)
    generator.w_avg.assign(rng.normal(size=8) * 0.1)
    # Within -1 and 1, where nothing is cut.
    to_rgb = generator.synthesis.to_rgb.kernel
    to_rgb.assign(0.1 * to_rgb)
    return generator


@pytest.fixture(scope="module")
def drawn(generator):
    z = np.random.default_rng(1).normal(size=(3, 8)).astype("float32")
    w = np.asarray(generator.mapping(z))
    pictures = generator.generate(w, psi=1.0)
    return w, pictures


def invert(generator, pictures, **options):
    options = {"steps": 60, "learning_rate": 0.05, "psi": 1.0, **options}
    return inversion.invert(generator, pictures, losses.PixelLoss(), **options)


def test_pictures_come_nearer(generator, drawn):
    found = invert(generator, drawn[1])
    assert found.latents.shape == (3, 8)
    assert found.pictures.shape == (3, 16, 16, 3)
    assert found.losses.shape == (60, 3)
    assert (found.losses[-1] < 0.5 * found.losses[0]).all()
    again = generator.generate(found.latents, psi=1.0)
    np.testing.assert_allclose(again, found.pictures, atol=1e-5)


def test_the_right_start_stays(generator, drawn):
    w, pictures = drawn
    found = invert(generator, pictures, start=w, steps=3)
    np.testing.assert_array_equal(found.latents, w)
    assert (found.ssim > 0.999).all()


def test_pictures_do_not_meet(generator, drawn):
    """One picture's latent is the same alone and among others."""
    together, alone = (
        invert(generator, pictures, steps=20) for pictures in (drawn[1], drawn[1][1:2])
    )
    np.testing.assert_allclose(together.latents[1], alone.latents[0], atol=1e-4)


def test_a_latent_for_each_layer(generator, drawn):
    found = invert(generator, drawn[1], space="wp", steps=40)
    assert found.latents.shape == (3, generator.num_layers, 8)
    assert (found.losses[-1] < found.losses[0]).all()


def test_random_starts_follow_the_seed(generator, drawn):
    one, same, other = (
        invert(generator, drawn[1], start="random", seed=seed, steps=1).latents
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_pulled_to_the_mean(generator, drawn):
    far, near = (
        invert(generator, drawn[1], mean_pull=pull).latents for pull in (0.0, 10.0)
    )
    mean = generator.w_avg.numpy()
    assert np.linalg.norm(near - mean) < np.linalg.norm(far - mean)


def test_it_ends_early(generator, drawn):
    found = invert(generator, drawn[1], learning_rate=0.0, patience=5)
    assert len(found.losses) == 6


def test_a_callback_reads_alters_and_ends(generator, drawn):
    seen = []

    def callback(step):
        seen.append(step.number)
        step.latents.assign(np.tile(drawn[0][:1], (3, 1)))
        return step.number == 4

    found = invert(generator, drawn[1], callback=callback)
    assert seen == [1, 2, 3, 4]
    # Altered to the first picture's own latent, which is therefore its best.
    np.testing.assert_array_equal(found.latents[0], drawn[0][0])


class Stopped(Exception):  # noqa: N818 - not an error: it ends a run
    pass


def test_it_goes_on_where_it_was_ended(generator, drawn, tmp_path):
    def stop(step):
        if step.number == 13:
            raise Stopped

    whole = invert(generator, drawn[1], steps=20)
    options = {"steps": 20, "folder": tmp_path, "save_every": 5}
    with pytest.raises(Stopped):
        invert(generator, drawn[1], **options, callback=stop)
    (state,) = tmp_path.iterdir()
    assert stat.S_IMODE(os.stat(state).st_mode) == 0o600
    resumed = invert(generator, drawn[1], **options)
    np.testing.assert_allclose(resumed.losses, whole.losses, rtol=1e-5)
    np.testing.assert_allclose(resumed.latents, whole.latents, atol=1e-5)
    assert not list(tmp_path.iterdir())


def test_states_that_do_not_fit(generator, drawn, tmp_path):
    (tmp_path / "inversion.npz").write_bytes(b"no state")
    with pytest.raises(ValueError, match="damaged; delete it"):
        invert(generator, drawn[1], folder=tmp_path)

    def stop(step):
        raise Stopped

    os.unlink(tmp_path / "inversion.npz")
    with pytest.raises(Stopped):
        invert(
            generator,
            drawn[1],
            folder=tmp_path,
            save_every=1,
            callback=lambda step: step.number == 2 and stop(step),
        )
    kept = (tmp_path / "inversion.npz").read_bytes()
    for pictures, other in (
        (drawn[1][:1], {}),
        (drawn[1][::-1], {}),  # other people's
        (drawn[1], {"learning_rate": 0.1}),
        (drawn[1], {"mean_pull": 1.0}),
        (drawn[1], {"start": drawn[0]}),
    ):
        with pytest.raises(ValueError, match="belongs to another inversion"):
            invert(generator, pictures, folder=tmp_path, **other)
    assert (tmp_path / "inversion.npz").read_bytes() == kept


def test_poor_identity_names_alignment_first(generator, drawn):
    found = invert(
        generator,
        drawn[1],
        steps=1,
        identity=lambda wanted, made: np.array([0.9, 0.2, 0.6]),
    )
    (line,) = found.advice(["a.png", "b.png", "c.png"])
    assert line.startswith("b.png was drawn with an identity similarity of 0.20: align")
    assert invert(generator, drawn[1], steps=1).advice(["a", "b", "c"]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"space": "z"},
        {"steps": 0},
        {"learning_rate": -1.0},
        {"patience": 0},
        {"start": "best"},
        {"start": np.zeros((2, 8))},
        {"start": np.zeros((3, 7))},
        {"start": np.full((3, 8), np.nan)},
        {"start": np.zeros((3, 6, 8)), "space": "w"},
    ],
)
def test_bad_arguments(generator, drawn, change):
    with pytest.raises(ValueError, match="Received: "):
        invert(generator, drawn[1], **change)


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((1, 32, 32, 3)),
        np.zeros((16, 16, 3)),
        np.zeros((0, 16, 16, 3)),
        np.full((1, 16, 16, 3), 2.0),
        np.full((1, 16, 16, 3), np.nan),
    ],
)
def test_bad_pictures(generator, pictures):
    with pytest.raises(ValueError, match="Received: "):
        invert(generator, pictures)


def test_latents_are_written_as_interfacegan_reads_them(tmp_path):
    latent = np.arange(8.0)
    inversion.save_latents(tmp_path / "w.npy", latent)
    assert np.load(tmp_path / "w.npy").shape == (1, 8)
    assert stat.S_IMODE(os.stat(tmp_path / "w.npy").st_mode) == 0o600
    inversion.save_latents(tmp_path / "wp.npy", np.zeros((6, 8)))
    assert np.load(tmp_path / "wp.npy").shape == (6, 8)
    for path, bad in (
        ("w.txt", latent),
        ("x.npy", np.zeros((1, 6, 8))),
        ("x.npy", np.full(8, np.nan)),
    ):
        with pytest.raises(ValueError, match="Received: "):
            inversion.save_latents(tmp_path / path, bad)
    assert len(list(tmp_path.iterdir())) == 2
