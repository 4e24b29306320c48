"""VGG-16 and LPIPS by small networks that NumPy can follow."""

import numpy as np
import pytest

from tfpriv.networks.perception import vgg
from tfpriv.networks.perception.lpips import LINEAR, Lpips
from tfpriv.support import weights

SMALL = ((2, 3), (4, 4), (3,) * 3, (2,) * 3, (5,) * 3)


@pytest.fixture
def state(monkeypatch):
    """A VGG-16 of few filters, and its weights in torchvision's naming."""
    monkeypatch.setattr(vgg, "BLOCKS", SMALL)
    rng, arrays, inputs, number = np.random.default_rng(0), {}, 3, 0
    for block in SMALL:
        for filters in block:
            kernel = rng.normal(size=(filters, inputs, 3, 3)) / np.sqrt(4 * inputs)
            arrays[f"features.{number}.weight"] = kernel.astype("float32")
            arrays[f"features.{number}.bias"] = rng.normal(size=filters).astype("f4")
            inputs, number = filters, number + 2
        number += 1
    monkeypatch.setattr(weights, "read_torch", lambda path: arrays)
    return arrays


def slow_maps(pictures, state, relus):
    """By torchvision's numbers: convolution and ReLU, pooling where one is missing."""
    x = (pictures / 255 - np.array(vgg.MEAN)) / np.array(vgg.DEVIATION)
    maps, number = [], 0
    while number < relus[-1]:
        if f"features.{number}.weight" not in state:
            n, h, w, c = x.shape
            x = x[:, : h // 2 * 2, : w // 2 * 2]
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
            number += 1
            continue
        kernel = state[f"features.{number}.weight"]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        x = np.einsum("nhwcij,ocij->nhwo", windows, kernel)
        x = np.maximum(x + state[f"features.{number}.bias"], 0)
        if number + 1 in relus:
            maps.append(x)
        number += 2
    return maps


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(-1, 1, (2, 2, 24, 17, 3)).astype("float32")


def test_features(state, pictures):
    relus = (1, 3, 6, 8, 11, 15, 22, 29)
    network = vgg.features("any", relus, size=None)
    given = (pictures[0] + 1) * 127.5
    found = network(given)
    assert not network.trainable_variables
    for a, b in zip(found, slow_maps(given, state, relus), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_lpips(state, pictures, tmp_path, monkeypatch):
    relus = (3, 8, 15, 22, 29)
    rng = np.random.default_rng(2)
    filters = [block[-1] for block in SMALL]
    linear = [rng.uniform(0, 1, n).astype("float32") for n in filters]
    path = tmp_path / "linear.npz"
    np.savez(path, **{f"lin{i}": weight for i, weight in enumerate(linear)})
    monkeypatch.setattr("tfpriv.networks.perception.lpips.LINEAR", path)
    expected = np.zeros(2)
    maps = [slow_maps((p + 1) * 127.5, state, relus) for p in pictures]
    for a, b, weight in zip(*maps, linear, strict=True):
        a, b = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in (a, b))
        expected += ((a - b) ** 2 @ weight).mean((1, 2))
    distance = Lpips("any")
    np.testing.assert_allclose(distance(*pictures), expected, rtol=1e-4)
    assert np.asarray(distance(pictures[0], pictures[0])).max() == 0


def test_the_linear_weights_are_vggs():
    with np.load(LINEAR) as data:
        shapes = [data[f"lin{i}"].shape for i in range(5)]
        assert all(data[f"lin{i}"].min() >= 0 for i in range(5))
    assert shapes == [(64,), (128,), (256,), (512,), (512,)]
    assert LINEAR.with_name("LICENSE-of-lpips").exists()


@pytest.mark.parametrize("relus", [(), (2,), (3, 1), (3, 3), (31,)])
def test_other_layers(relus):
    with pytest.raises(ValueError, match=r"ascending numbers of .*Received: relus="):
        vgg.features("any", relus)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features.5.weight", None),
        ("features.2.weight", np.zeros((3, 2, 1, 1), "float32")),
        ("features.7.bias", np.full(4, np.nan, "float32")),
    ],
)
def test_weights_that_do_not_fit_are_named(state, name, value):
    del state[name]
    if value is not None:
        state[name] = value
    with pytest.raises(ValueError, match=f"finite `{name}`.*Received: shape"):
        vgg.features("any")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: "):
        Lpips(tmp_path / "vgg16.pth")
