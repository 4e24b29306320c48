"""The generator: the paper's arithmetic, its spaces, and what it refuses."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import stylegan_oracle as oracle
from keras import ops

import tfpriv.networks.stylegan
from tfpriv.networks.stylegan import StyleGAN, generator, layers


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def relative(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


# --- Arithmetic ---


def test_mapping_is_the_papers(tiny, tiny_weights, rng):
    z = rng.normal(size=(3, 6)).astype(np.float32)
    wanted = [oracle.mapping(oracle.in_double(tiny_weights), row) for row in z]
    assert relative(tiny.mapping(z), np.stack(wanted)) < 1e-5


@pytest.mark.parametrize(("psi", "truncated"), [(0.7, 8), (0.5, 2), (1.0, 8), (0.7, 0)])
def test_pictures_are_the_papers(tiny, tiny_weights, rng, psi, truncated):
    w = rng.normal(size=6).astype(np.float32)
    weights = oracle.in_double(tiny_weights)
    wp = oracle.truncate(weights, w, tiny.num_layers, psi, truncated)
    wanted = oracle.synthesis(weights, wp)
    found = tiny.synthesis(tiny.truncate(w[None], psi, truncated))[0]
    assert relative(found, wanted) < 1e-5


def test_each_layer_takes_its_own_style(tiny, tiny_weights, rng):
    wp = rng.normal(size=(tiny.num_layers, 6)).astype(np.float32)
    wanted = oracle.synthesis(oracle.in_double(tiny_weights), wp)
    assert relative(tiny.synthesis(wp[None])[0], wanted) < 1e-5


def test_a_kernel_read_the_wrong_way_round_is_seen(tiny_weights, rng):
    """The oracle tells a transposed convolution from an ordinary one."""
    weights = oracle.in_double(tiny_weights)
    fused = weights.pop("synthesis.layer4.weight")
    wp = rng.normal(size=(6, 6))
    right = weights | {
        "synthesis.layer4.conv.weight": fused[::-1, ::-1].transpose(3, 2, 0, 1)
    }
    wrong = weights | {"synthesis.layer4.conv.weight": fused.transpose(3, 2, 0, 1)}
    wanted = oracle.synthesis(weights | {"synthesis.layer4.weight": fused}, wp)
    assert relative(oracle.synthesis(right, wp), wanted) < 1e-12
    assert relative(oracle.synthesis(wrong, wp), wanted) > 0.01


def test_half_the_size_by_the_mean_of_four_convolutions(rng):
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    wide = ops.average_pool(ops.conv(x, kernel, 1, "same"), 2, 2)
    assert relative(layers.down_convolution(x, kernel), np.asarray(wide)) < 1e-5


def test_a_large_mean_does_not_swallow_the_variance(rng):
    x = rng.normal(size=(1, 64, 64, 2)) + 300.0
    found = layers.normalise(ops.cast(x, "float32"), 1.0, 0.0)
    wanted = (x - x.mean((1, 2))) / x.std((1, 2))
    assert np.abs(np.asarray(found) - wanted).max() < 1e-3


# --- Spaces, noise, batches ---


def test_all_spaces_lead_to_the_same_picture(tiny, rng):
    z = rng.normal(size=(3, 6)).astype(np.float32)
    w = np.asarray(tiny.mapping(z))
    wp = np.asarray(tiny.truncate(w))
    wanted = np.clip(tiny(z), -1, 1)
    for latents, space in ((z, "z"), (w, "w"), (wp, "wp")):
        np.testing.assert_allclose(tiny.generate(latents, space), wanted, atol=1e-5)


def test_batches_and_single_latents(tiny, rng):
    w = rng.normal(size=(5, 6))
    together = tiny.generate(w, batch_size=2)
    assert together.shape == (5, 16, 16, 3)
    assert together.dtype == np.float32
    for one, picture in zip(w, together, strict=True):
        np.testing.assert_allclose(tiny.generate(one), picture, atol=1e-5)


def test_truncation_pulls_the_first_layers_towards_the_mean(tiny, rng):
    w = rng.normal(size=(2, 6)).astype(np.float32)
    mean = np.asarray(tiny.w_avg)
    wp = np.asarray(tiny.truncate(w, psi=0.0, layers=4))
    np.testing.assert_allclose(wp[:, :4], np.broadcast_to(mean, (2, 4, 6)), atol=1e-6)
    np.testing.assert_allclose(wp[:, 4:], np.repeat(w[:, None], 2, 1), atol=1e-6)
    np.testing.assert_array_equal(tiny.truncate(w, psi=1.0)[:, 3], w)


def test_noise_is_fixed_or_new_each_time(tiny, rng):
    w = rng.normal(size=(1, 6))
    np.testing.assert_array_equal(tiny.generate(w), tiny.generate(w))
    first, second = (tiny.generate(w, noise="random") for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    twins = tiny.generate(np.repeat(w, 2, 0), noise="random")
    assert np.abs(twins[0] - twins[1]).max() > 1e-3


def test_the_published_networks_have_the_published_sizes():
    assert generator.standard_channels(1024) == (512,) * 4 + (256, 128, 64, 32, 16)
    assert generator.standard_channels(64) == (512, 512, 512, 512, 256)


# --- The fingerprint ---


def test_the_fingerprint_knows_every_weight(tiny):
    copy = StyleGAN.from_config(tiny.get_config())
    assert copy.fingerprint != tiny.fingerprint
    copy.set_weights(tiny.get_weights())
    assert copy.fingerprint == tiny.fingerprint
    assert len(bytes.fromhex(copy.fingerprint)) == 8
    for variable in (copy.w_avg, copy.synthesis.layers[0].noise, copy.weights[-1]):
        value = np.asarray(variable)
        variable.assign(np.nextafter(value, np.float32(9)))
        assert copy.fingerprint != tiny.fingerprint
        variable.assign(value)


def test_the_fingerprint_knows_how_kernels_were_trained(tiny):
    other = StyleGAN.from_config(tiny.get_config() | {"fused_from": 8})
    other.set_weights(tiny.get_weights())
    assert other.fingerprint != tiny.fingerprint


# --- Refusals ---


@pytest.mark.parametrize(
    ("latents", "space", "message"),
    [
        (np.zeros((2, 5)), "w", r"\(6,\).*Received: shape=\(2, 5\)"),
        (np.zeros((2, 6)), "wp", r"\(6, 6\)|\(2, 6\)"),
        (np.zeros((1, 2, 6)), "w", r"shape=\(1, 2, 6\)"),
        (np.full((1, 6), np.nan), "w", "NaN"),
        (np.full(6, np.inf), "z", "infinity"),
        (np.zeros(6), "v", "Received: space='v'"),
    ],
)
def test_latents_that_do_not_fit_are_refused(tiny, latents, space, message):
    with pytest.raises(ValueError, match=message):
        tiny.generate(latents, space)


def test_other_noise_is_refused(tiny):
    with pytest.raises(ValueError, match="Received: noise='some'"):
        tiny.synthesis(np.zeros((1, 6, 6), np.float32), noise="some")


@pytest.mark.parametrize(
    "arguments",
    [{"resolution": 48}, {"resolution": 16, "channels": (4, 4)}, {"resolution": 4}],
)
def test_sizes_that_do_not_fit_are_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        StyleGAN(latent_dim=4, **arguments)


# --- Other backends ---


def test_the_networks_name_no_backend():
    """Keras alone: the generator, its files and the discriminator run on any."""
    folder = Path(tfpriv.networks.stylegan.__file__).parent
    for name in (
        "layers",
        "synthesis",
        "generator",
        "loading",
        "names",
        "discriminator",
    ):
        tree = ast.parse((folder / f"{name}.py").read_text())
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "tensorflow" not in imported, name


def test_it_is_a_keras_model(tiny, tmp_path):
    tiny.save(tmp_path / "g.keras")
    again = keras.models.load_model(tmp_path / "g.keras")
    assert again.fingerprint == tiny.fingerprint
