"""The embedded generator and its boundaries do what the docs say of them."""

import keras
import numpy as np
import pytest

from tfpriv.accounting import Ledger
from tfpriv.editing import (
    AttributeMechanism,
    Boundary,
    IsotropicMechanism,
    embedded,
    encode,
    invert,
    load_generator,
    losses,
)
from tfpriv.faces import reader as readers
from tfpriv.faces.looks import ATTRIBUTES
from tfpriv.support import images
from tfpriv.support.fidelity import structural_similarities


@pytest.fixture(scope="module")
def generator():
    return load_generator(embedded.path(embedded.GENERATOR))


@pytest.fixture(scope="module")
def reader():
    return readers.embedded_reader()


def latents_of(generator, count):
    z = np.random.default_rng(5).normal(size=(count, generator.latent_dim))
    return np.asarray(generator.mapping(z.astype(np.float32)))


def readings(generator, reader, latents):
    pictures = images.to_uint8(generator.generate(latents, batch_size=64))
    return reader.predict(pictures.astype(np.float32), verbose=0)


def test_boundaries_are_named_where_one_is_missing():
    with pytest.raises(FileNotFoundError, match=r"age\.npz, gender") as raised:
        embedded.path("happiness.npz")
    assert ".keras" not in str(raised.value)


def test_it_is_small(generator):
    assert generator.resolution == 64
    assert generator.count_params() < 2_400_000


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_boundaries_belong_to_it_and_move_their_attribute(generator, reader, name):
    boundary = Boundary.load(embedded.path(f"{name}.npz"))
    boundary.check_fits(generator.latent_dim, "w", generator.fingerprint)
    latents = latents_of(generator, 64)
    level = latents - boundary.score(latents)[:, None] * boundary.normal
    column = readers.NUMBERS.index(name)
    low, high = (
        readings(generator, reader, (level + s * boundary.normal).astype(np.float32))
        for s in (-1.5, 1.5)
    )
    assert np.mean(high[:, column] > low[:, column]) > 0.9


def test_a_release_keeps_more_of_the_person_than_noise_everywhere(generator, reader):
    age = Boundary.load(embedded.path("age.npz"))
    latents = latents_of(generator, 128)
    before, kept = readings(generator, reader, latents), []
    for kind in (AttributeMechanism, IsotropicMechanism):
        release = kind(age, 1.5, epsilon=1.0, delta=1e-5)
        after = readings(generator, reader, release(latents, ledger=Ledger()))
        kept.append(readers.identity_similarity(before, after).mean())
    assert kept[0] > kept[1] + 0.2


@pytest.mark.slow
def test_inversion_recovers_its_own_pictures(generator):
    encoder = keras.saving.load_model(embedded.path(embedded.ENCODER))
    wanted = generator.generate(latents_of(generator, 20), batch_size=20)
    found = invert(
        generator,
        wanted,
        losses.PixelLoss(),
        start=encode(encoder, wanted),
        steps=300,
        learning_rate=0.03,
    )
    pair = images.to_uint8(wanted), images.to_uint8(found.pictures)
    assert structural_similarities(*pair).min() > 0.9
