"""The fast engine is exact on layers whose configuration hypothesis draws."""

import math

import keras
import numpy as np
import oracle
import pytest
from engines import PRECISIONS, SEEDS, Drawn, assert_exact, draws
from hypothesis import given, note
from hypothesis import strategies as st
from keras import layers

ACTIVATIONS = st.sampled_from([None, "tanh", "softplus"])
SIZES = st.integers(1, 4)


@st.composite
def dense(draw):
    shape = draw(st.lists(SIZES, min_size=1, max_size=3))
    config = {
        "units": draw(SIZES),
        "use_bias": draw(st.booleans()),
        "activation": draw(ACTIVATIONS),
    }
    return Drawn(layers.Dense, config, (*shape[:-1], 3 * shape[-1]))


# Equation, shape of one example, letters of the output that may carry a bias.
EQUATIONS = [
    ("ab,bc->ac", (3,), "c"),
    ("abc,cd->abd", (4, 3), "bd"),
    ("abc,cde->abde", (4, 3), "de"),
    ("abc,dce->abde", (4, 3), "de"),
    ("abc,dec->abed", (2, 3), "ed"),
    ("abde,def->abf", (4, 2, 3), "f"),
    ("abde,edf->abf", (4, 2, 3), "bf"),
    ("abde,fde->afb", (4, 2, 3), "f"),
    ("abde,dfe->abf", (4, 2, 3), "f"),
    ("abc,bcd->abd", (4, 3), "bd"),  # a letter on both sides
    ("abc,bd->adc", (4, 3), "dc"),
    ("abc,bc->abc", (4, 3), "c"),
    ("abc,cd->ad", (4, 3), "d"),  # summed over a letter of the inputs alone
    ("...x,xy->...y", (2, 4, 3), "y"),
    ("...x,yx->...y", (3,), "y"),
    ("...x,xyz->...zy", (4, 3), "zy"),
    ("ab...,bc->ac...", (3, 4), "c"),
    ("...B,BZ->...Z", (4, 3), "Z"),
]


@st.composite
def einsum_dense(draw):
    equation, shape, letters = draw(st.sampled_from(EQUATIONS))
    axes = draw(st.sampled_from([None, *(letters[i:] for i in range(len(letters)))]))
    config = {
        "equation": equation,
        "output_shape": output_shape(equation, shape),
        "bias_axes": axes,
        "activation": draw(ACTIVATIONS),
    }
    return Drawn(layers.EinsumDense, config, shape)


def output_shape(equation, shape):
    """Sizes of the letters of the output behind that of the examples.

    The kernel's own letters get 2 and 3. An ellipsis stands for examples, or behind.
    """
    left, out = equation.split("->")
    x, kernel = left.split(",")
    letters, out = x.replace("...", ""), out.replace("...", "")
    if x.startswith("..."):
        sizes = dict(zip(letters[::-1], shape[::-1], strict=False))
    else:
        sizes, out = dict(zip(letters[1:], shape, strict=False)), out[1:]
    new = [a for a in kernel if a not in x]
    sizes.update({a: 2 + i for i, a in enumerate(new)})
    return tuple(sizes[a] for a in out)


@st.composite
def sliding(draw, rank, paddings=("valid", "same"), per_axis=True):
    """Sizes that every convolution has, and the shape of its input's space.

    Strided or dilated, never both: Keras refuses that.
    """

    def sizes(most):
        if per_axis and draw(st.booleans()):
            return draw(st.tuples(*[st.integers(1, most)] * rank))
        return draw(st.integers(1, most))

    padding = draw(st.sampled_from(paddings))
    config = {"kernel_size": sizes(3), "padding": padding}
    config["use_bias"] = draw(st.booleans())
    config["activation"] = draw(ACTIVATIONS)
    kind = draw(st.sampled_from(["plain", "strides", "dilation_rate"]))
    if kind != "plain":
        config[kind] = sizes(3)
    extent = [
        (k - 1) * d + 1
        for k, d in zip(
            axes(config["kernel_size"], rank),
            axes(config.get("dilation_rate", 1), rank),
            strict=True,
        )
    ]
    # Where zeros are put around it, an input may be smaller than the kernel.
    least = extent if padding == "valid" else [1] * rank
    space = tuple(draw(st.integers(n, max(extent) + 3)) for n in least)
    return config, space


def axes(value, rank):
    return (value,) * rank if isinstance(value, int) else value


def placed(space, channels, data_format):
    if data_format == "channels_first":
        return (channels, *space)
    return (*space, channels)


FORMATS = st.sampled_from(["channels_last", "channels_last", "channels_first"])


@st.composite
def convolution(draw, layer_class, rank):
    paddings = ("valid", "same", "causal") if rank == 1 else ("valid", "same")
    config, space = draw(sliding(rank, paddings))
    groups = draw(st.sampled_from([1, 1, 2]))
    data_format = "channels_last"
    if groups == 1 and rank == 3:  # TensorFlow has no other on CPUs
        data_format = draw(FORMATS)
    config |= {
        "filters": groups * draw(st.integers(1, 3)),
        "groups": groups,
        "data_format": data_format,
    }
    channels = groups * draw(st.integers(1, 3))
    return biased(Drawn(layer_class, config, placed(space, channels, data_format)))


def biased(drawn):
    """Without a bias where Keras 3.15 adds it along the wrong axis.

    It does where channels come first and the last axis has as many entries as they.
    """
    _, *sizes = drawn.make(**drawn.config).compute_output_shape((1, *drawn.shape))
    if drawn.config["data_format"] == "channels_first" and sizes[0] == sizes[-1]:
        drawn.config["use_bias"] = False
    return drawn


@st.composite
def depthwise(draw, layer_class, rank):
    config, space = draw(sliding(rank, per_axis=False))
    config["depth_multiplier"] = draw(st.integers(1, 3))
    config["data_format"] = draw(FORMATS)
    if layer_class in (layers.SeparableConv1D, layers.SeparableConv2D):
        config["filters"] = draw(st.integers(1, 3))
    shape = placed(space, draw(st.integers(1, 3)), config["data_format"])
    return biased(Drawn(layer_class, config, shape))


@st.composite
def transposed(draw, layer_class, rank):
    config, space = draw(sliding(rank))
    config.pop("dilation_rate", None)  # TensorFlow has none of these on CPUs
    config["filters"] = draw(st.integers(1, 3))
    shape = (*space, draw(st.integers(1, 3)))
    if draw(st.booleans()):
        strides = axes(config.get("strides", 1), rank)
        larger = tuple(draw(st.integers(0, s - 1)) for s in strides)
        if is_possible(layer_class(**config, output_padding=larger), shape):
            config["output_padding"] = larger
    return Drawn(layer_class, config, shape)


def is_possible(layer, shape):
    """Whether a convolution of the transposed output has the size of the input."""
    sizes = layer.compute_output_shape((1, *shape))[1:-1]
    if layer.padding == "valid":
        sizes = [n - k + 1 for n, k in zip(sizes, layer.kernel_size, strict=True)]
    strided = [-(-n // s) for n, s in zip(sizes, layer.strides, strict=True)]
    return strided == list(shape[:-1])


@st.composite
def embedding(draw):
    vocabulary = draw(st.integers(2, 9))
    config = {
        "input_dim": vocabulary,
        "output_dim": draw(SIZES),
        "mask_zero": draw(st.booleans()),
    }
    shape = draw(st.lists(SIZES, min_size=0, max_size=2))
    return Drawn(unmasked(layers.Embedding), config, tuple(shape), vocabulary)


def unmasked(layer_class):
    """The mask is of no use to what follows, and Keras would say so."""

    def make(**config):
        layer = layer_class(**config)
        return lambda x: keras.ops.tanh(layer(x))

    return make


@st.composite
def layer_normalization(draw):
    shape = draw(st.tuples(SIZES, SIZES, st.integers(2, 5)))
    config = {
        "axis": draw(st.sampled_from([-1, 3, (3,), (2, 3), (1, 3), (3, 1), (1, 2, 3)])),
        "center": draw(st.booleans()),
        "scale": draw(st.booleans()),
    }
    return Drawn(layers.LayerNormalization, config, shape)


@st.composite
def rms_normalization(draw):
    shape = draw(st.tuples(SIZES, SIZES, st.integers(2, 5)))
    axis = draw(st.sampled_from([-1, 3, (3,), (2, 3), (3, 2), (1, 2, 3)]))
    return Drawn(layers.RMSNormalization, {"axis": axis}, shape)


@st.composite
def group_normalization(draw):
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 3))
    axis = draw(st.integers(1, rank))
    shape = [*draw(st.tuples(*[st.integers(2, 4)] * rank))]
    shape[axis - 1] = channels
    config = {
        "groups": draw(st.sampled_from([groups, -1])),
        "axis": draw(st.sampled_from([axis, axis - rank - 1])),
        "center": draw(st.booleans()),
        "scale": draw(st.booleans()),
    }
    if math.prod(shape) // (channels if config["groups"] == -1 else groups) == 1:
        config["center"] = True  # nothing else is left of a group of one number
    return Drawn(layers.GroupNormalization, config, tuple(shape))


KINDS = {
    "dense": dense(),
    "einsum_dense": einsum_dense(),
    "conv1d": convolution(layers.Conv1D, 1),
    "conv2d": convolution(layers.Conv2D, 2),
    "conv3d": convolution(layers.Conv3D, 3),
    "depthwise1d": depthwise(layers.DepthwiseConv1D, 1),
    "depthwise2d": depthwise(layers.DepthwiseConv2D, 2),
    "separable1d": depthwise(layers.SeparableConv1D, 1),
    "separable2d": depthwise(layers.SeparableConv2D, 2),
    "transposed1d": transposed(layers.Conv1DTranspose, 1),
    "transposed2d": transposed(layers.Conv2DTranspose, 2),
    "transposed3d": transposed(layers.Conv3DTranspose, 3),
    "embedding": embedding(),
    "layer_normalization": layer_normalization(),
    "rms_normalization": rms_normalization(),
    "group_normalization": group_normalization(),
}


@pytest.mark.parametrize(
    "models", [1, pytest.param(40, marks=pytest.mark.slow)], ids=["one", "many"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_drawn_configurations(kind, models):
    @draws(models)
    @given(drawn=KINDS[kind], floatx=PRECISIONS, seed=SEEDS)
    def check(drawn, floatx, seed):
        note(f"{drawn}")
        rng = np.random.default_rng(seed)
        with oracle.precision(floatx):
            assert_exact(drawn.model(), drawn.inputs(rng), rng)

    check()
