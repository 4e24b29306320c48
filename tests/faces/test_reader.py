"""The reader learns to read faces, and its readings mean what they say."""

import keras
import numpy as np
import pytest

from tfpriv import faces
from tfpriv.faces import reader, reader_training


def test_truth_is_within_one():
    drawn = faces.sample(50)
    true = reader.truth(drawn)
    assert true.shape == (50, len(reader.NUMBERS))
    assert np.abs(true).max() <= 1
    for name in reader.NUMBERS:
        read = reader.attribute(true, name)
        np.testing.assert_allclose(read, drawn.column(name), atol=1e-6, err_msg=name)


def test_identity_similarity():
    of_two = faces.sample(200, 2, seed=1)
    true = reader.truth(of_two)
    same = reader.identity_similarity(true[::2], true[1::2])
    np.testing.assert_allclose(same, 1, atol=1e-6)
    others = reader.identity_similarity(true[::2], np.roll(true[::2], 2, 0))
    # 19 even traits: a standard deviation of 1 / sqrt(19); 5 of the mean's.
    assert abs(others.mean()) < 5 / np.sqrt(19 * 200)
    assert (others < 0.9).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    return reader_training.train_reader(32, epochs=1, batch_size=32, folder=folder)


@pytest.mark.slow
def test_it_learns(tmp_path):
    trained = reader_training.train_reader(
        600, epochs=10, batch_size=32, folder=tmp_path
    )
    figures = reader_training.figures(trained, reader_training.faces_for_testing(200))
    assert figures["accuracy of gender"] > 0.8
    assert figures["skin"] > 0.5
    untrained = reader_training.figures(reader.reader(), faces.sample(50))
    assert untrained["skin"] < 0.5


def test_persons_for_testing_are_others():
    train, test = faces.sample(100), reader_training.faces_for_testing(100)
    assert not set(train.identity) & set(test.identity)


def test_feature_maps(trained):
    maps = reader.feature_maps(trained)(np.zeros((2, 64, 64, 3), "float32"))
    assert [m.shape[1] for m in maps] == [64, 32, 16, 8, 4]


def test_it_is_stored_and_loaded(trained, tmp_path):
    trained.save(tmp_path / "reader.keras")
    loaded = keras.saving.load_model(tmp_path / "reader.keras")
    pictures = faces.draw(faces.sample(2)).astype("float32")
    np.testing.assert_allclose(
        loaded.predict(pictures, verbose=0),
        trained.predict(pictures, verbose=0),
        atol=1e-6,
    )
