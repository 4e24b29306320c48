"""A task of KerasHub behind our interface: nothing covered shows, all else is kept."""

import keras_hub
import numpy as np
import pytest
from keras_hub.src.models.vae.vae_backbone import VAEBackbone  # not exported

from tfpriv.inpainting import KerasHubInpainter

SIZE = 32


def text_encoder(width, name):
    return keras_hub.models.CLIPTextEncoder(
        20, width, width, 2, 2, 2 * width, "quick_gelu", -2, name=name
    )


def preprocessor():
    vocabulary = [
        "a",
        "a</w>",
        "b</w>",
        "ab</w>",
        "!",
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    tokens = {word: number for number, word in enumerate(vocabulary)}
    return keras_hub.models.CLIPPreprocessor(
        keras_hub.tokenizers.CLIPTokenizer(
            tokens, ["a b</w>"], pad_with_end_token=True
        ),
        sequence_length=8,
    )


@pytest.fixture(scope="module")
def inpainter():
    """A Stable Diffusion 3 of a few thousand weights, at random."""
    vae = VAEBackbone([32] * 4, [1] * 4, [32] * 4, [1] * 4, name="vae")
    backbone = keras_hub.models.StableDiffusion3Backbone(
        mmdit_patch_size=2,
        mmdit_hidden_dim=16,
        mmdit_num_layers=2,
        mmdit_num_heads=2,
        mmdit_position_size=192,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=vae,
        clip_l=text_encoder(32, "clip_l"),
        clip_g=text_encoder(64, "clip_g"),
        image_shape=(SIZE, SIZE, 3),
    )
    both = keras_hub.models.StableDiffusion3TextToImagePreprocessor(
        preprocessor(), preprocessor()
    )
    return KerasHubInpainter(keras_hub.models.StableDiffusion3Inpaint(backbone, both))


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def masks():
    masks = np.zeros((2, SIZE, SIZE), bool)
    masks[:, 5:21, 9:30] = True
    return masks


def test_it_repaints_what_is_covered(inpainter, pictures, masks, rng):
    results = inpainter(pictures, masks, steps=2, seed=1)
    np.testing.assert_array_equal(results[~masks], pictures[~masks])
    altered = pictures.copy()
    altered[masks] = rng.integers(0, 256, (masks.sum(), 3), np.uint8)
    again = inpainter(altered, masks, steps=2, seed=1)
    np.testing.assert_array_equal(again[masks], results[masks])


def test_a_leak_is_seen(inpainter, pictures, masks, rng, monkeypatch):
    """The planted fault: what is covered is dimmed only."""
    from tfpriv.networks.diffusion import keras_hub_task

    def dimmed(condition, covered, otherwise):
        scalar = np.ndim(covered) == 0
        return where(condition, 0.5 * otherwise if scalar else covered, otherwise)

    where = np.where
    monkeypatch.setattr(keras_hub_task.np, "where", dimmed)
    altered = pictures.copy()
    altered[masks] = rng.integers(0, 256, (masks.sum(), 3), np.uint8)
    results = [inpainter(p, masks, steps=2, seed=1)[masks] for p in (pictures, altered)]
    assert (results[0] != results[1]).any()


def test_a_picture_is_the_same_in_any_company(inpainter, pictures, masks):
    both = inpainter(pictures, masks, steps=1, seed=[3, 4])
    alone = inpainter(pictures[1:], masks[1:], steps=1, seed=[4])
    np.testing.assert_array_equal(both[1:], alone)


def test_wrong_arguments(inpainter, pictures, masks):
    with pytest.raises(ValueError, match="paints pictures of"):
        inpainter(pictures[:, :16], masks[:, :16])
    with pytest.raises(ValueError, match="bool masks"):
        inpainter(pictures, masks.astype("float32"))
    with pytest.raises(ValueError, match="one seed"):
        inpainter(pictures, masks, seed=[1])
    with pytest.raises(TypeError, match="inpainting task"):
        KerasHubInpainter(keras_hub)
