"""Norms and attention against their formulas."""

import numpy as np
import pytest

from tfpriv.networks.diffusion import attention
from tfpriv.networks.diffusion.blocks import (
    HEAVY,
    Convolution,
    GroupNorm,
    Upsample,
    as_product,
)


def attention_oracle(queries, keys, values):
    """One query after the other."""
    result = np.zeros(queries.shape)
    for picture, head, place in np.ndindex(*queries.shape[:-1]):
        scores = keys[picture, head] @ queries[picture, head, place]
        shares = np.exp(scores / np.sqrt(queries.shape[-1]))
        result[picture, head, place] = shares / shares.sum() @ values[picture, head]
    return result


@pytest.mark.parametrize("max_weights", [1, 100, 1000, 10**6])
def test_attention(rng, max_weights):
    queries = rng.normal(size=(2, 3, 12, 4)).astype("float32")
    keys = rng.normal(size=(2, 3, 7, 4)).astype("float32")
    values = rng.normal(size=(2, 3, 7, 4)).astype("float32")
    right = attention_oracle(queries, keys, values)
    found = attention.attend(queries, keys, values, max_weights)
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("max_weights", "chunks"), [(10**6, 1), (504, 1), (503, 2), (100, 6), (1, 12)]
)
def test_no_more_weights_than_allowed(rng, max_weights, chunks, monkeypatch):
    held = []
    softmax = attention.ops.softmax

    def counted(x):
        held.append(np.prod(x.shape))
        return softmax(x)

    monkeypatch.setattr(attention.ops, "softmax", counted)
    queries = rng.normal(size=(2, 3, 12, 4)).astype("float32")
    keys = rng.normal(size=(2, 3, 7, 4)).astype("float32")
    attention.attend(queries, keys, keys, max_weights)
    assert set(held) == {2 * 3 * 12 * 7 // chunks}
    assert held[0] <= max(max_weights, 2 * 3 * 7)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_convolution_as_a_product(rng, size, count):
    x = rng.normal(size=(count, 4, 5, 6)).astype("float32")
    kernel = rng.normal(size=(size, size, 6, 7)).astype("float32")
    edge = size // 2
    wide = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    right = np.zeros((count, 4, 5, 7))
    for i, j in np.ndindex(4, 5):
        seen = wide[:, i : i + size, j : j + size]
        right[:, i, j] = np.tensordot(seen, kernel, 3)
    np.testing.assert_allclose(as_product(x, kernel), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("places", [1, 2])
def test_small_pictures_with_many_weights_go_the_other_way(rng, places, monkeypatch):
    """Both ways give the same; which one was taken is seen."""
    filters = -(-2 * HEAVY // (9 * 8)) - 1  # too few for two places
    layer = Convolution(filters)
    layer.build((None, None, None, 8))
    x = rng.normal(size=(1, 1, places, 8)).astype("float32")
    taken = []
    monkeypatch.setattr(
        "tfpriv.networks.diffusion.blocks.as_product",
        lambda *given: taken.append(1) or as_product(*given),
    )
    found = layer(x)
    assert len(taken) == 2 - places
    right = as_product(x, layer.kernel)
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


def test_group_norm(rng):
    layer = GroupNorm(3, 1e-5)
    x = (rng.normal(size=(2, 4, 5, 6)) * 3 + 100).astype("float32")
    layer.build(x.shape)
    gamma, beta = rng.normal(size=(2, 6)).astype("float32")
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    right = np.zeros(x.shape)
    for picture, group in np.ndindex(2, 3):
        part = x[picture, ..., 2 * group : 2 * group + 2].astype("float64")
        scaled = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
        right[picture, ..., 2 * group : 2 * group + 2] = scaled
    np.testing.assert_allclose(layer(x), right * gamma + beta, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="Received: 7 channels"):
        GroupNorm(3, 1e-5).build((None, 4, 4, 7))


def test_upsampling_repeats_pixels(rng):
    layer = Upsample(2)
    x = rng.normal(size=(1, 3, 2, 2)).astype("float32")
    layer.build(x.shape)
    kernel = np.zeros((3, 3, 2, 2), "float32")
    kernel[1, 1] = np.eye(2)  # passes on what there is
    layer.conv.kernel.assign(kernel)
    np.testing.assert_array_equal(layer(x), x.repeat(2, 1).repeat(2, 2))
