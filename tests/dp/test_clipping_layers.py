"""Per-example clipping is exact on every family of layers, in both precisions."""

import keras
import keras_hub
import oracle
import pytest
from keras import layers

EXAMPLES = 4
MSE = keras.losses.MeanSquaredError


def stack(rng, shape, *parts):
    """A Sequential model that ends in two numbers, and inputs for it."""
    model = keras.Sequential([keras.Input(shape), *parts])
    if len(model.output_shape) > 2:
        model.add(layers.Flatten())
    model.add(layers.Dense(2))
    return model, rng.normal(size=(EXAMPLES, *shape))


def tokens(rng, length, vocabulary):
    """Integer rows of several lengths, padded with zeros at their ends."""
    x = rng.integers(1, vocabulary, (EXAMPLES, length))
    for row, used in enumerate(rng.integers(1, length + 1, EXAMPLES)):
        x[row, used:] = 0
    return x


def dense(rng):
    return stack(rng, (5,), layers.Dense(7, "tanh"), layers.Dense(3, use_bias=False))


def einsum_dense(rng):
    return stack(
        rng,
        (4, 6),
        layers.EinsumDense("abc,cde->abde", (4, 2, 3), bias_axes="de"),
        layers.EinsumDense("abde,def->abf", (4, 4), activation="tanh"),
    )


def residual(rng):
    """Sums of two outputs, which a batch of one makes look like adding a bias."""
    x = keras.Input((3,))
    y = layers.Dense(3, "relu")(x) + x
    y = y * layers.Dense(3, "sigmoid")(x) + layers.Dense(1)(x)
    z = keras.ops.squeeze(keras.ops.expand_dims(layers.Dense(4)(y), 1), 1)
    return keras.Model(x, layers.Dense(2)(z)), rng.normal(size=(EXAMPLES, 3))


def drawn(rng, *choices):
    """One of the choices; pytest shows it where a test fails."""
    choice = choices[rng.integers(len(choices))]
    print("drawn:", choice)
    return choice


def strided_or_dilated(rng):
    """Convolutions are strided or dilated, never both."""
    return drawn(rng, {"strides": 2}, {"dilation_rate": 2}, {})


def conv1d(rng):
    return stack(
        rng,
        (int(rng.integers(9, 12)), 3),
        layers.Conv1D(4, 3, dilation_rate=2, padding="causal", activation="tanh"),
        layers.Conv1D(3, 2, padding=drawn(rng, "valid", "same")),
        layers.Conv1D(3, 2, **strided_or_dilated(rng)),
        layers.MaxPooling1D(2),
    )


def conv2d(rng):
    kernel = drawn(rng, 3, (2, 3), (3, 1))
    return stack(
        rng,
        (int(rng.integers(8, 11)), 9, 3),
        layers.Conv2D(4, kernel, padding="same", **strided_or_dilated(rng)),
        layers.Activation("tanh"),
        layers.Conv2D(3, 2, padding="valid", **strided_or_dilated(rng)),
        layers.AveragePooling2D(2, padding="same"),
    )


def conv3d(rng):
    return stack(
        rng,
        (5, 4, 4, 2),
        layers.Conv3D(3, 2, padding="same", activation="tanh"),
        layers.Conv3D(2, 2, strides=2),
        layers.GlobalAveragePooling3D(),
    )


def depthwise(rng):
    return stack(
        rng,
        (7, 7, 3),
        layers.DepthwiseConv2D(
            3, depth_multiplier=2, activation="tanh", **strided_or_dilated(rng)
        ),
        layers.GlobalMaxPooling2D(),
    )


def depthwise1d(rng):
    return stack(rng, (7, 3), layers.DepthwiseConv1D(3, strides=2, activation="tanh"))


def separable(rng):
    return stack(
        rng,
        (7, 7, 3),
        layers.SeparableConv2D(4, 3, padding="same", activation="tanh"),
        layers.Reshape((7, 28)),
        layers.SeparableConv1D(3, 2),
    )


def transposed(rng):
    return stack(
        rng,
        (3, 4, 2),
        layers.Conv2DTranspose(3, 3, strides=2, padding=drawn(rng, "same", "valid")),
        layers.Activation("tanh"),
        layers.Conv2DTranspose(2, 2),
    )


def upsampling(rng):
    return stack(
        rng,
        (4, 4, 2),
        layers.Conv2D(3, 2, activation="tanh"),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Conv2D(2, 2),
        layers.ZeroPadding2D(1),
        layers.Cropping2D(1),
        layers.UpSampling2D(2),
    )


def embedding(rng):
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(11, 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )
    return model, rng.integers(0, 11, (EXAMPLES, 6))  # some words twice


def normalisations(rng):
    return stack(
        rng,
        (4, 4, 6),
        layers.Conv2D(6, 2),
        layers.GroupNormalization(3),
        layers.LayerNormalization(),
        layers.RMSNormalization(),
        layers.GroupNormalization(-1, center=False),  # instance normalisation
        layers.UnitNormalization(),
        layers.PReLU(),
    )


def attention(rng):
    x = keras.Input((5, 8))
    y = layers.MultiHeadAttention(2, 3, use_bias=True)(x, x, use_causal_mask=True)
    y = layers.LayerNormalization()(x + y)
    y = layers.GroupQueryAttention(4, 4, 2)(y, y)
    y = layers.Attention(use_scale=True)([y, x])
    y = layers.AdditiveAttention()([y, x])
    model = keras.Model(x, layers.Dense(2)(y))
    return model, rng.normal(size=(EXAMPLES, 5, 8))


def transformer(rng):
    """Tied embeddings, masks, encoder and decoder of KerasHub."""
    ids = keras.Input((5,), dtype="int32")
    embed = keras_hub.layers.TokenAndPositionEmbedding(
        9, 5, 8, tie_weights=True, mask_zero=True
    )
    x = embed(ids)
    encoded = keras_hub.layers.TransformerEncoder(8, 2)(x)
    decoded = keras_hub.layers.TransformerDecoder(8, 2)(x, encoded)
    y = embed.token_embedding(decoded, reverse=True)
    return keras.Model(ids, layers.Dense(2)(y)), tokens(rng, 5, 9)


def shared(rng):
    """A layer called twice, and a nested model called twice."""
    inner = keras.Sequential([layers.Dense(4, "tanh"), layers.Dense(3)], name="inner")
    once = layers.Dense(3, "tanh")
    x = keras.Input((3,))
    y = once(inner(once(x)))
    outer = keras.Model(x, layers.Dense(2)(inner(y) + x))
    return outer, rng.normal(size=(EXAMPLES, 3))


def distributed(rng):
    return stack(
        rng,
        (3, 4, 4, 2),
        layers.TimeDistributed(layers.Conv2D(3, 2, activation="tanh")),
        layers.TimeDistributed(layers.Flatten()),
        layers.TimeDistributed(layers.Dense(2)),
    )


def grouped(rng):
    return stack(rng, (6, 6, 4), layers.Conv2D(6, 3, groups=2, activation="tanh"))


def gru(rng):
    return stack(rng, (3, 2), layers.GRU(3))


def masked_recurrent(rng):
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(9, 3, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.GRU(3),
            layers.Dense(2),
        ]
    )
    return model, tokens(rng, 4, 9)


def convolutional_recurrent(rng):
    return stack(rng, (3, 4, 4, 2), layers.ConvLSTM2D(2, 2))


LIGHT = [
    dense,
    residual,
    einsum_dense,
    conv1d,
    conv2d,
    conv3d,
    depthwise,
    depthwise1d,
    separable,
    transposed,
    upsampling,
    embedding,
    normalisations,
    shared,
    distributed,
    attention,
    grouped,
]
HEAVY = {gru: "float32", masked_recurrent: "float64", transformer: "float32"}
SLOW = [convolutional_recurrent]
# Each engine is quick in one precision; the ghost engine's other is drawn elsewhere.
QUICK = {"ghost": "float64", "vectorized": "float32"}


def cases():
    for build in (*LIGHT, *HEAVY, *SLOW):
        for engine in QUICK:
            for floatx in ("float32", "float64"):
                quick = build in LIGHT and QUICK[engine] == floatx
                # Long to trace: once for each engine, in any precision.
                quick |= HEAVY.get(build) == floatx
                name = f"{build.__name__}-{engine}-{floatx}"
                marks = () if quick else pytest.mark.slow
                yield pytest.param(build, engine, floatx, id=name, marks=marks)


@pytest.mark.filterwarnings("ignore:TensorFlow cannot vectorise")
@pytest.mark.filterwarnings("ignore:No clipping rule")
@pytest.mark.parametrize(("build", "engine", "floatx"), cases(), indirect=["floatx"])
def test_layers(build, engine, rng, floatx):
    model, x = build(rng)
    if x.dtype == "float64":
        x = x.astype(floatx)
    y = rng.normal(size=(EXAMPLES, *model.output_shape[1:])).astype(floatx)
    oracle.assert_exact(model, x, y, loss=MSE(), engine=engine)
