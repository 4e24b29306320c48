"""The networks of `runwayml/stable-diffusion-inpainting` at their full size.

Random weights of the other library, one network and one process at a time.
"""

import gc
import json
import shutil

import keras
import numpy as np
import pytest

from tfpriv.networks.diffusion import loading

pytestmark = pytest.mark.slow

TOLERANCE = 1e-3  # of the largest absolute value
SECONDS = 3600
UNET = {
    "in_channels": 9,
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
}


@pytest.fixture
def compare(run_torch, rng, tmp_path):
    """A function (name, config, inputs) -> folder of the network, and its answers."""

    def run(name, config, given):
        settings = {
            "seed": np.array(rng.integers(2**31)),
            "folder": np.array(str(tmp_path)),
            "configs": np.array(json.dumps({name: config})),
            "halves": np.array(False),
        }
        answers = run_torch("diffusion_models", given | settings, SECONDS)
        return tmp_path / name, answers

    yield run
    shutil.rmtree(tmp_path)  # gigabytes
    keras.backend.clear_session()
    gc.collect()


def normal(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def assert_equal(found, expected):
    error = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    print(f"{error:.1e}")
    assert error < TOLERANCE


def test_unet(compare, rng):
    given = {
        "noisy": normal(rng, 1, 64, 64, 9),
        "times": np.array([501]),
        "context": normal(rng, 1, 77, 768),
    }
    folder, expected = compare("unet", UNET, given)
    network = loading.read_unet(folder)
    assert_equal(
        network(given["noisy"], given["times"], given["context"]), expected["unet"]
    )


def test_vae(compare, rng):
    given = {
        "pictures": rng.uniform(-1, 1, (1, 512, 512, 3)).astype("float32"),
        "latents": normal(rng, 1, 64, 64, 4),
    }
    folder, expected = compare("vae", VAE, given)
    network = loading.read_vae(folder)
    mean, log_variance = network.moments(given["pictures"])
    assert_equal(mean, expected["vae_mean"])
    assert_equal(log_variance, expected["vae_log_variance"])
    scaled = given["latents"] * network.config["scaling_factor"]
    assert_equal(network.decode(scaled), expected["vae_decoded"])


def test_text_encoder(compare, rng):
    given = {"tokens": rng.integers(0, 49408, (1, 77))}
    folder, expected = compare("text", TEXT, given)
    network = loading.read_text_encoder(folder)
    found = network({"token_ids": given["tokens"].astype("int32")})
    assert_equal(found, expected["text"])
