"""FaceNet: its shape, its files, and a head over persons."""

import foreign_files
import keras
import numpy as np
import pytest

from tfpriv.inpainting import (
    FaceNet,
    identity_classifier,
    load_facenet,
    train_identities,
)
from tfpriv.networks.facenet import loading
from tfpriv.networks.facenet.network import standardised

WIDTH = 0.125


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    return FaceNet(WIDTH)


@pytest.fixture
def published(network, monkeypatch):
    """The narrow network's weights by facenet-pytorch's names; files hold such ones."""
    monkeypatch.setattr(loading, "FaceNet", lambda **options: FaceNet(WIDTH, **options))
    return {
        name: np.transpose(array, (3, 2, 0, 1)) if array.ndim == 4 else array.T
        for name, variable in loading._names(network)
        for array in [np.asarray(variable)]
    }


def pictures(rng, count=2, size=80):
    return rng.integers(0, 256, (count, size, size, 3), np.uint8)


def test_the_published_network_has_as_many_weights():
    """InceptionResnetV1 without its classifier: 23.5 million."""
    assert FaceNet().count_params() == 23_512_224
    assert 4 * FaceNet(0.25).count_params() < 7e6


def test_embeddings_have_length_one(network, rng):
    found = network.embed(pictures(rng, 3), batch_size=2)
    assert found.shape == (3, 512)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_pictures_are_standardised_and_brought_to_size(rng):
    values = np.array([0, 127, 128, 255], np.uint8).reshape(1, 2, 2, 1).repeat(3, 3)
    same = np.asarray(standardised(values, None))
    np.testing.assert_allclose(same, (values - 127.5) / 128, atol=1e-7)
    assert standardised(pictures(rng, size=40)).shape == (2, 160, 160, 3)


@pytest.mark.parametrize("shape", [(2, 80, 80), (2, 80, 80, 1), (80, 80, 3)])
def test_other_arrays_are_refused(network, shape):
    with pytest.raises(ValueError, match="Pictures must be uint8"):
        network.embed(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="Received: float64"):
        network.embed(np.zeros((1, 80, 80, 3)))


@pytest.mark.parametrize("width", [0, -1, 5])
def test_widths_out_of_range(width):
    with pytest.raises(ValueError, match=f"Received: width={width}"):
        FaceNet(width)


def same_weights(one, other):
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), a.path)


def test_our_own_files(network, tmp_path):
    network.save(tmp_path / "n.keras")
    loaded = load_facenet(tmp_path / "n.keras")
    assert loaded.width == WIDTH
    same_weights(loaded, network)


@pytest.mark.parametrize("legacy", [False, True])
def test_facenet_pytorchs_files(network, published, tmp_path, legacy):
    more = {
        "logits.weight": np.zeros((7, 512), np.float32),
        "logits.bias": np.zeros(7, np.float32),
        "last_bn.num_batches_tracked": np.array(3),
        "repeat_1.2.branch1.1.bn.num_batches_tracked": np.array(3),
    }
    path = tmp_path / "n.pt"
    foreign_files.write_torch(path, published | more, legacy=legacy)
    same_weights(load_facenet(path), network)


FAULTS = {
    "missing": lambda a: a.pop("mixed_6a.branch1.2.conv.weight"),
    "extra": lambda a: a.update({"conv2d_9z.weight": np.zeros(3, np.float32)}),
    "misshapen": lambda a: a.update({"last_bn.bias": np.zeros(511, np.float32)}),
    "not finite": lambda a: a["block8.conv2d.bias"].fill(np.nan),
}
NAMED = {
    "missing": "mixed_6a.branch1.2.conv.weight",
    "extra": "conv2d_9z.weight",
    "misshapen": r"last_bn.bias \(511,\)",
    "not finite": "block8.conv2d.bias",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_weight_is_named(published, tmp_path, fault):
    arrays = {name: np.array(array) for name, array in published.items()}
    FAULTS[fault](arrays)
    foreign_files.write_torch(tmp_path / "n.pt", arrays)
    with pytest.raises(ValueError, match=rf"\({fault}: {NAMED[fault]}\)"):
        load_facenet(tmp_path / "n.pt")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: "):
        load_facenet(tmp_path / "none.pt")
    for name in ("n.pt", "n.keras"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=f"Received: .*{name}"):
            load_facenet(tmp_path / name)
    with pytest.raises(ValueError, match="ends in"):
        load_facenet(tmp_path / "n.h5")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="Received: Sequential"):
        load_facenet(tmp_path / "other.keras")


# The head.


def test_a_classifier_trains_its_head_alone(network, rng):
    before = [np.asarray(w).copy() for w in network.weights]
    grey = np.repeat([40, 200, 90, 160], 4).astype(np.uint8)
    shown = np.broadcast_to(grey[:, None, None, None], (16, 80, 80, 3)).copy()
    shown += rng.integers(0, 4, shown.shape, np.uint8)
    labels = np.repeat(np.arange(4), 4)
    classifier, history = train_identities(
        network, shown, labels, 4, epochs=3, batch_size=4, learning_rate=0.01
    )
    classifier(standardised(shown), training=True)
    assert len(classifier.trainable_variables) == 2
    assert history.history["loss"][-1] < history.history["loss"][0]
    for weight, old in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), old)
    x = standardised(shown[:2])
    embeddings = np.maximum(network.embed(shown[:2]), 0)
    head = classifier.get_layer("identities").get_layer("logits")
    expected = embeddings @ np.asarray(head.kernel) + np.asarray(head.bias)
    np.testing.assert_allclose(classifier(x), expected, atol=1e-4)


@pytest.mark.parametrize("labels", [[0, 4], [-1, 0], [0.0, 1.0], [0]])
def test_labels_must_fit(network, rng, labels):
    with pytest.raises(ValueError, match="Received: "):
        train_identities(network, pictures(rng), labels, 4)
    with pytest.raises(ValueError, match="Received: classes=1"):
        identity_classifier(network, 1)
