"""The encoder guesses latents better than the mean does."""

import numpy as np
import pytest

from tfpriv.editing import encoder
from tfpriv.networks.stylegan import StyleGAN


@pytest.fixture(scope="module")
def generator():
    generator = StyleGAN(16, 4, channels=(8, 8, 8))
    generator.w_avg.assign(np.full(4, 0.1))
    return generator


def test_spread(generator):
    z = np.random.default_rng(1).normal(size=(4096, 4)).astype("float32")
    w = np.asarray(generator.mapping(z))
    # A deviation's own relative error, from the fourth moment; of two samples; 6 of it.
    kurtosis = np.mean(((w - w.mean(0)) / w.std(0)) ** 4, axis=0)
    error = 6 * np.sqrt(2 * (kurtosis - 1) / (4 * len(w)))
    ratio = encoder.latent_spread(generator) / (w.std(0) + 1e-6)
    assert np.all(np.abs(ratio - 1) < error)
    assert np.all(error < 0.6)  # it would notice a spread that is far off


def test_it_learns(generator, tmp_path):
    options = {"steps": 150, "batch_size": 16, "psi": 1.0, "folder": tmp_path}
    model = encoder.train_encoder(generator, **options)
    z = np.random.default_rng(2).normal(size=(64, 4)).astype("float32")
    w = np.asarray(generator.mapping(z))
    pictures = generator.generate(w, psi=1.0, batch_size=64)
    guessed = encoder.encode(model, pictures)
    assert guessed.shape == w.shape
    error = np.mean((guessed - w) ** 2)
    assert error < 0.7 * np.mean((w - w.mean(0)) ** 2)


def test_an_interrupted_training_comes_to_the_same(generator, tmp_path):
    options = {"steps": 4, "batch_size": 2, "folder": tmp_path / "training"}
    options["save_every"] = 2
    whole = encoder.train_encoder(generator, **options)

    def stop(done, steps):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoder.train_encoder(generator, progress=stop, **options)
    with pytest.raises(ValueError, match="another recipe"):
        encoder.train_encoder(generator, **options | {"psi": 0.5})
    again = encoder.train_encoder(generator, **options)
    for one, other in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(tmp_path.iterdir())
