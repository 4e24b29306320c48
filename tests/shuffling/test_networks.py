"""The networks have the sizes of the papers; whitening whitens."""

import keras
import numpy as np
import pytest

from tfpriv.shuffling import networks


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (networks.small_cnn, 1.97),
        (networks.preresnet110, 1.73),
        (networks.vgg16_bn, 33.65),
    ],
)
def test_sizes(build, millions):
    assert build().count_params() == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize("depth", [2, 9, 109])
def test_a_depth_that_there_is_not(depth):
    with pytest.raises(ValueError, match=f"Received: depth={depth}"):
        networks.preresnet(depth)


def test_whitening_decorrelates_patches():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(size=(50, 32, 32, 3)), axis=1) * 10 + 128
    model = networks.small_cnn()
    networks.whiten(model, smooth.astype("float32"))
    layer = model.get_layer("whitening")
    assert not layer.trainable
    scaled = smooth.astype("float32") / 64 - 2
    out = keras.ops.convert_to_numpy(layer(scaled) - layer.bias)[..., :12]
    covariance = np.cov(out.reshape(-1, 12), rowvar=False)
    variances = np.diag(covariance)
    # Directions that vary less than the constant that is added stay below 1.
    assert variances.max() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(covariance - np.diag(variances), 0, atol=1e-2)


def test_partial_identity_hands_channels_on():
    kernel = np.array(networks.PartialIdentity()((3, 3, 4, 6)))
    x = np.random.default_rng(1).normal(size=(1, 5, 5, 4)).astype("float32")
    out = keras.ops.conv(x, kernel, padding="same")
    np.testing.assert_allclose(out[..., :4], x, atol=1e-6)
    assert np.abs(kernel[..., 4:]).min() > 0
