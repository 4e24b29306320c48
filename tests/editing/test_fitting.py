"""A generator fitted to drawn faces: z says what is in the picture."""

import keras
import numpy as np
import pytest

from tfpriv import faces
from tfpriv.editing import fitting
from tfpriv.faces import reader
from tfpriv.networks.stylegan import StyleGAN, load_generator
from tfpriv.support import images

OPTIONS = {"batch_size": 4, "save_every": 2}


def new_generator(latent_dim=32):
    keras.utils.set_random_seed(0)
    return StyleGAN(16, latent_dim, (16, 16, 8), mapping_layers=2)


def test_normal_latents_give_faces_as_they_are_sampled():
    random = np.random.default_rng(0)
    found = fitting.faces_of(random.normal(size=(4000, 64)))
    drawn = faces.sample(4000, seed=1)
    # Means of 4,000: deviation below 0.012 for each side; 5 of it, about 28 numbers.
    for part in ("traits", "attributes", "scene"):
        difference = getattr(found, part).mean(0) - getattr(drawn, part).mean(0)
        assert np.abs(difference).max() < 5 * 0.012 * 2**0.5
        spreads = getattr(found, part).std(0) / getattr(drawn, part).std(0)
        assert np.all(np.abs(spreads - 1) < 0.08)


def test_the_length_of_z_does_not_matter():
    z = np.random.default_rng(0).normal(size=(3, 32))
    one, other = fitting.faces_of(z), fitting.faces_of(7 * z)
    np.testing.assert_allclose(one.traits, other.traits, atol=1e-6)
    np.testing.assert_array_equal(one.column("gender"), other.column("gender"))


def test_steps_make_pictures_alike(tmp_path):
    generator = new_generator()
    z, wanted = fitting.pairs(10**6, 16, 32, 16, seed=0)
    before = np.abs(generator.generate(z, "z", psi=1) - wanted).mean()
    fitted = fitting.fit(
        tmp_path, generator, steps=120, **OPTIONS | {"save_every": 120}
    )
    after = np.abs(fitted.generate(z, "z", psi=1) - wanted).mean()
    assert after < 0.7 * before
    again = load_generator(tmp_path / fitting.GENERATOR)
    assert again.fingerprint == fitted.fingerprint
    assert images.load(tmp_path / fitting.SAMPLES).ndim == 3
    # The same picture with any noise.
    w = np.asarray(fitted.mapping(z))
    noisy = [fitted.generate(w, noise=noise) for noise in ("fixed", "random")]
    np.testing.assert_array_equal(*noisy)


def test_a_reader_sees_what_differs():
    keras.utils.set_random_seed(1)
    judge = reader.convolutions(16, (4, 8), 28, "reader")
    _, pictures = fitting.pairs(0, 4, 32, 16, seed=0)
    difference = fitting._difference(judge)
    np.testing.assert_array_equal(difference(pictures, pictures), 0)
    assert np.all(np.asarray(difference(pictures, pictures[::-1].copy())) > 0)


def test_an_interrupted_fit_comes_to_the_same(tmp_path):
    whole = fitting.fit(tmp_path / "whole", new_generator(), steps=4, **OPTIONS)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    arguments = {"steps": 4, "progress": stop} | OPTIONS
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(tmp_path / "parts", new_generator(), **arguments)
    parts = fitting.fit(tmp_path / "parts", new_generator(), steps=4, **OPTIONS)
    assert whole.fingerprint == parts.fingerprint
    with pytest.raises(ValueError, match="another recipe"):
        fitting.fit(tmp_path / "parts", new_generator(), steps=5, **OPTIONS)


def test_latents_that_are_too_short():
    with pytest.raises(ValueError, match="at least 28"):
        fitting.faces_of(np.zeros((2, 16)))
    with pytest.raises(ValueError, match="28 numbers from -1 to 1"):
        faces.of_numbers(np.full((1, 28), 2.0))
