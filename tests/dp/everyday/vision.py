"""keras.io/examples/vision."""

import math

import keras
import numpy as np
from keras import layers, ops

import tfpriv.dp as dp
from everyday import EXAMPLES, Case, integers, normal, uniform, workflow

CLASSIFY = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
FROM_LOGITS = {
    "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "metrics": ["accuracy"],
}


def images(rng, size=16, classes=3):
    """Images `(examples, size, size, 3)` and labels."""
    return uniform(rng, size, size, 3), integers(rng, classes)


@workflow("vision/mnist_convnet", exact=True)
def mnist_convnet(rng):
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    labels = keras.utils.to_categorical(integers(rng, 10), 10)
    options = {"loss": "categorical_crossentropy", "metrics": ["accuracy"]}
    return Case(model, uniform(rng, 28, 28, 1), labels, options)


@workflow("vision/image_classification_from_scratch")
def small_xception_with_augmentation(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(inputs))
    x = layers.Rescaling(1.0 / 255)(x)
    x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    for width in (4, 8):
        before = x
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.SeparableConv2D(width, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = x + layers.Conv2D(width, 1, strides=2, padding="same")(before)
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    x, _ = images(rng)
    options = {"loss": keras.losses.BinaryCrossentropy(from_logits=True)}
    return Case(dp.replace_batchnorm(model), 255 * x, integers(rng, 2, 1), options)


@workflow("guides/transfer_learning")
def transfer_learning_with_a_frozen_backbone(rng):
    backbone = keras.applications.MobileNetV2((32, 32, 3), 0.35, False, None)
    backbone.trainable = False
    inputs = keras.Input((32, 32, 3))
    x = backbone(layers.Rescaling(2.0, -1.0)(inputs), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    return Case(model, *images(rng, 32), FROM_LOGITS)


@workflow("vision/image_classification_efficientnet_fine_tuning")
def fine_tuning_after_replace_batchnorm(rng):
    backbone = keras.applications.MobileNetV3Small(
        (32, 32, 3), alpha=0.35, minimalistic=True, include_top=False, weights=None
    )
    inputs = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(dp.replace_batchnorm(backbone)(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, *images(rng, 32), CLASSIFY)


class Patches(layers.Layer):
    """Images as sequences of flattened patches."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        patches = ops.image.extract_patches(inputs, self.size)
        _, rows, columns, features = patches.shape
        return ops.reshape(patches, (-1, rows * columns, features))


class ClassToken(layers.Layer):
    """Puts one learned token before a sequence."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")

    def call(self, inputs):
        token = ops.repeat(self.token, ops.shape(inputs)[0], axis=0)
        return ops.concatenate([token, inputs], axis=1)


class Positions(layers.Layer):
    """Adds an embedding of the position."""

    def build(self, shape):
        self.table = layers.Embedding(shape[1], shape[2])
        self.table.build(None)

    def call(self, inputs):
        return inputs + self.table(ops.arange(inputs.shape[1]))


def encoder(x, width=8, heads=2, depth=1):
    """Pre-norm transformer blocks."""
    for _ in range(depth):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(heads, width // heads, dropout=0.1)(y, y)
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dropout(0.1)(layers.Dense(2 * width, activation="gelu")(y))
        x = x + layers.Dense(width)(y)
    return x


@workflow("vision/image_classification_with_vision_transformer", exact=True)
def vision_transformer(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(8)(Patches(4)(inputs))
    x = encoder(Positions()(ClassToken()(x)), depth=2)
    x = layers.LayerNormalization(epsilon=1e-6)(x)[:, 0]
    model = keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.5)(x)))
    return Case(model, *images(rng), FROM_LOGITS)


@workflow("vision/object_detection_using_vision_transformer")
def boxes_by_a_vision_transformer(rng):
    inputs = keras.Input((16, 16, 3))
    x = encoder(Positions()(layers.Dense(8)(Patches(4)(inputs))))
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
    x = layers.Dropout(0.3)(layers.Dense(8, activation="gelu")(x))
    model = keras.Model(inputs, layers.Dense(4)(x))
    return Case(model, images(rng)[0], uniform(rng, 4), {"loss": "mse"})


class WindowAttention(layers.Layer):
    """Attention inside windows of 2 x 2, with a table of relative positions."""

    def __init__(self, heads, shift, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.shift = heads, shift

    def build(self, shape):
        self.qkv = layers.Dense(3 * shape[-1])
        self.out = layers.Dense(shape[-1])
        self.qkv.build((None, 4, shape[-1]))
        self.out.build((None, 4, shape[-1]))
        self.bias = self.add_weight(shape=(9, self.heads), name="relative_bias")
        at = np.stack(np.meshgrid(range(2), range(2), indexing="ij")).reshape(2, -1)
        offset = at[:, :, None] - at[:, None, :] + 1
        self.index = offset[0] * 3 + offset[1]

    def call(self, inputs):
        _, size, _, width = inputs.shape
        x = ops.roll(inputs, (-self.shift, -self.shift), axis=(1, 2))
        x = ops.reshape(x, (-1, size // 2, 2, size // 2, 2, width))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, width))
        shape = (-1, 4, 3, self.heads, width // self.heads)
        q, k, v = ops.unstack(
            ops.transpose(ops.reshape(self.qkv(x), shape), (2, 0, 3, 1, 4)), 3
        )
        score = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2)))
        bias = ops.take(self.bias, self.index.reshape(-1), axis=0)
        bias = ops.transpose(ops.reshape(bias, (4, 4, self.heads)), (2, 0, 1))
        x = ops.matmul(ops.softmax(score / math.sqrt(width // self.heads) + bias), v)
        x = self.out(ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 4, width)))
        x = ops.reshape(x, (-1, size // 2, size // 2, 2, 2, width))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, size, size, width))
        return ops.roll(x, (self.shift, self.shift), axis=(1, 2))


@workflow("vision/swin_transformers")
def swin_transformer(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 4, strides=4)(inputs)
    for shift in (0, 1):
        x = x + WindowAttention(2, shift)(layers.LayerNormalization(epsilon=1e-5)(x))
        y = layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(8)(layers.Dropout(0.03)(y))
    x = layers.Reshape((2, 2, 2, 2, 8))(x)  # patch merging
    x = layers.Reshape((2, 2, 32))(layers.Permute((1, 3, 2, 4, 5))(x))
    x = layers.GlobalAveragePooling2D()(layers.Dense(16, use_bias=False)(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    labels = keras.utils.to_categorical(integers(rng, 3), 3)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    return Case(model, images(rng)[0], labels, {"loss": loss})


class StochasticDepth(layers.Layer):
    """Drops whole residual branches, of each example by itself."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs, training=None):
        if not training:
            return inputs
        shape = (ops.shape(inputs)[0],) + (1,) * (len(inputs.shape) - 1)
        kept = keras.random.uniform(shape, seed=self.seed_generator) < 1 - self.rate
        return inputs / (1 - self.rate) * ops.cast(kept, inputs.dtype)


class SequencePooling(layers.Layer):
    """A weighted mean over a sequence."""

    def build(self, shape):
        self.attention = layers.Dense(1)
        self.attention.build(shape)

    def call(self, inputs):
        weights = ops.transpose(ops.softmax(self.attention(inputs), axis=1), (0, 2, 1))
        return ops.squeeze(ops.matmul(weights, inputs), axis=1)


@workflow("vision/cct")
def compact_convolutional_transformer(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.RandomFlip("horizontal")(layers.RandomCrop(16, 16)(inputs))
    for _ in range(2):
        x = layers.Conv2D(8, 3, padding="valid", activation="relu", use_bias=False)(
            layers.ZeroPadding2D(1)(x)
        )
        x = layers.MaxPooling2D(3, 2, "same")(x)
    x = Positions()(layers.Reshape((16, 8))(x))
    y = layers.LayerNormalization(epsilon=1e-5)(x)
    x = x + StochasticDepth(0.1)(layers.MultiHeadAttention(2, 8, dropout=0.1)(y, y))
    y = layers.Dense(8, activation="gelu")(layers.LayerNormalization(epsilon=1e-5)(x))
    x = x + StochasticDepth(0.1)(y)
    model = keras.Model(inputs, layers.Dense(3)(SequencePooling()(x)))
    labels = keras.utils.to_categorical(integers(rng, 3), 3)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    return Case(model, images(rng)[0], labels, {"loss": loss})


@workflow("vision/mlp_image_classification", exact=True)
def mlp_mixer(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(8)(Patches(4)(inputs))
    for _ in range(2):
        y = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(x))
        y = layers.Dense(16)(layers.Dense(16, activation="gelu")(y))
        x = x + layers.Permute((2, 1))(y)
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.Dense(8)(layers.Dense(8, activation="gelu")(y))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, *images(rng), CLASSIFY)


@workflow("vision/mlp_image_classification")
def gated_mlp(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(8)(Patches(4)(inputs))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    u, v = ops.split(layers.Dense(16, activation="gelu")(y), 2, axis=2)
    v = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(v))
    v = layers.Permute((2, 1))(layers.Dense(16, bias_initializer="ones")(v))
    x = layers.GlobalAveragePooling1D()(x + layers.Dense(8)(u * v))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, *images(rng), CLASSIFY)


class FourierMixing(layers.Layer):
    """The real part of a Fourier transform over tokens and features."""

    def call(self, inputs):
        real, _ = ops.fft2((inputs, ops.zeros_like(inputs)))
        return real


@workflow("vision/mlp_image_classification")
def fnet_of_images(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(8)(Patches(4)(inputs))
    x = layers.LayerNormalization(epsilon=1e-6)(x + FourierMixing()(x))
    y = layers.Dense(8)(layers.Dense(16, activation="gelu")(x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + y)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, *images(rng), CLASSIFY)


@workflow("vision/convmixer")
def convmixer(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 2, strides=2)(layers.Rescaling(1.0 / 255)(inputs))
    x = layers.BatchNormalization()(layers.Activation("gelu")(x))
    for _ in range(2):
        y = layers.DepthwiseConv2D(3, padding="same")(x)
        x = x + layers.BatchNormalization()(layers.Activation("gelu")(y))
        x = layers.Activation("gelu")(layers.Conv2D(8, 1)(x))
        x = layers.BatchNormalization()(x)
    x = layers.GlobalAvgPool2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(dp.replace_batchnorm(model), *images(rng), CLASSIFY)


@workflow("vision/eanet")
def external_attention(rng):
    inputs = keras.Input((16, 16, 3))
    x = Positions()(layers.Dense(8)(Patches(4)(inputs)))
    y = layers.Reshape((16, 4, 4))(layers.Dense(16)(x))
    y = layers.Dense(6)(layers.Permute((2, 1, 3))(y))
    y = layers.Softmax(axis=2)(y)
    y = y / (1e-9 + ops.sum(y, axis=-1, keepdims=True))
    y = layers.Permute((2, 1, 3))(layers.Dense(4)(y))
    x = x + layers.Dense(8)(layers.Reshape((16, 16))(y))
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, *images(rng), CLASSIFY)


class Latents(layers.Layer):
    """A learned array that attends to the input."""

    def build(self, shape):
        self.latents = self.add_weight(shape=(1, 4, shape[-1]), name="latents")
        self.attention = layers.MultiHeadAttention(1, shape[-1])
        self.attention.build((None, 4, shape[-1]), shape)

    def call(self, inputs):
        latents = ops.repeat(self.latents, ops.shape(inputs)[0], axis=0)
        return self.attention(latents, inputs)


@workflow("vision/perceiver_image_classification")
def perceiver(rng):
    inputs = keras.Input((16, 16, 3))
    x = Latents()(Positions()(layers.Dense(8)(Patches(4)(inputs))))
    x = layers.GlobalAveragePooling1D()(encoder(layers.LayerNormalization()(x)))
    model = keras.Model(inputs, layers.Dense(3)(x))
    return Case(model, *images(rng), FROM_LOGITS)


class Involution(layers.Layer):
    """A kernel of 3 x 3 for each position, made from the position's channels."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.reduce = layers.Conv2D(2, 1, activation="relu")
        self.make_kernel = layers.Conv2D(9, 1)
        self.channels = channels

    def build(self, shape):
        self.reduce.build(shape)
        self.make_kernel.build((*shape[:-1], 2))

    def call(self, inputs):
        kernel = self.make_kernel(self.reduce(inputs))[..., None]
        seen = ops.image.extract_patches(inputs, 3, strides=1, padding="same")
        _, height, width, _ = seen.shape
        seen = ops.reshape(seen, (-1, height, width, 9, self.channels))
        return ops.sum(kernel * seen, axis=3)


@workflow("vision/involution")
def involution(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.MaxPooling2D(2)(layers.ReLU()(Involution(3)(inputs)))
    x = layers.MaxPooling2D(2)(layers.ReLU()(Involution(3)(x)))
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    return Case(keras.Model(inputs, layers.Dense(3)(x)), *images(rng), FROM_LOGITS)


@keras.saving.register_keras_serializable("everyday")
class Orthogonal(keras.regularizers.Regularizer):
    """Distance of the transformation's product with its transpose from identity."""

    def __call__(self, x):
        x = ops.reshape(x, (-1, 3, 3))
        product = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        return 0.001 * ops.sum(ops.square(product - ops.eye(3)))

    def get_config(self):
        return {}


@workflow("vision/pointnet")
def pointnet(rng):
    inputs = keras.Input((12, 3))

    def point_layer(x, width):
        x = layers.Conv1D(width, 1, padding="valid")(x)
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.0)(x))

    t = layers.GlobalMaxPooling1D()(point_layer(point_layer(inputs, 4), 8))
    t = layers.Dense(
        9,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(np.eye(3).flatten()),
        activity_regularizer=Orthogonal(),
    )(t)
    x = layers.Dot(axes=(2, 1))([inputs, layers.Reshape((3, 3))(t)])
    x = layers.GlobalMaxPooling1D()(point_layer(point_layer(x, 4), 8))
    x = layers.Dropout(0.3)(layers.Dense(8, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model = dp.replace_batchnorm(model)
    return Case(model, normal(rng, 12, 3), integers(rng, 3), CLASSIFY)


@workflow("vision/3D_image_classification")
def volumes_of_ct_scans(rng):
    inputs = keras.Input((8, 8, 8, 1))
    x = layers.Conv3D(4, 3, activation="relu", padding="same")(inputs)
    x = layers.BatchNormalization()(layers.MaxPool3D(2)(x))
    x = layers.Conv3D(4, 3, activation="relu", padding="same")(x)
    x = layers.GlobalAveragePooling3D()(layers.BatchNormalization()(x))
    x = layers.Dropout(0.3)(layers.Dense(8, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    model = dp.replace_batchnorm(model)
    options = {"loss": "binary_crossentropy", "metrics": ["acc"]}
    return Case(model, uniform(rng, 8, 8, 8, 1), integers(rng, 2, 1), options)


@workflow("vision/oxford_pets_image_segmentation")
def unet_segmentation(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    before = x
    for width in (4, 8):
        x = layers.SeparableConv2D(width, 3, padding="same")(
            layers.Activation("relu")(x)
        )
        x = layers.MaxPooling2D(3, 2, padding="same")(layers.BatchNormalization()(x))
        x = before = x + layers.Conv2D(width, 1, strides=2, padding="same")(before)
    for width in (8, 4, 4):
        x = layers.Conv2DTranspose(width, 3, padding="same")(
            layers.Activation("relu")(x)
        )
        x = layers.UpSampling2D(2)(layers.BatchNormalization()(x))
        before = layers.Conv2D(width, 1, padding="same")(layers.UpSampling2D(2)(before))
        x = before = x + before
    x = layers.Conv2D(3, 3, activation="softmax", padding="same")(x)
    model = dp.replace_batchnorm(keras.Model(inputs, x))
    options = {"loss": "sparse_categorical_crossentropy"}
    return Case(model, images(rng)[0], integers(rng, 3, 16, 16, 1), options)


@workflow("vision/deeplabv3_plus")
def deeplab_segmentation(rng):
    def block(x, width=4, kernel=3, rate=1):
        x = layers.Conv2D(
            width, kernel, dilation_rate=rate, padding="same", use_bias=False
        )(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = keras.Input((16, 16, 3))
    low = layers.MaxPooling2D(2)(block(inputs))
    x = layers.MaxPooling2D(2)(block(low))
    pooled = block(layers.AveragePooling2D((4, 4))(x), kernel=1)
    pooled = layers.UpSampling2D(4, interpolation="bilinear")(pooled)
    branches = [block(x, kernel=1), block(x, rate=2), block(x, rate=3), pooled]
    x = block(layers.Concatenate()(branches), kernel=1)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = block(layers.Concatenate()([x, block(low, kernel=1)]))
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    model = dp.replace_batchnorm(keras.Model(inputs, layers.Conv2D(3, 1)(x)))
    return Case(model, images(rng)[0], integers(rng, 3, 16, 16, 1), FROM_LOGITS)


class CTCLayer(layers.Layer):
    """Computes the CTC loss where labels are an input of the model."""

    def call(self, y_true, y_pred):
        size = ops.shape(y_true)[0]
        loss = ops.ctc_loss(
            y_true,
            ops.log(y_pred + 1e-7),
            ops.full((size,), y_true.shape[1], dtype="int32"),
            ops.full((size,), y_pred.shape[1], dtype="int32"),
            mask_index=0,
        )
        self.add_loss(ops.mean(loss))
        return y_pred


@workflow("vision/captcha_ocr")
def captcha_reader_with_a_ctc_layer(rng):
    image = keras.Input((16, 8, 1), name="image")
    label = keras.Input((4,), dtype="int32", name="label")
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(image)
    x = layers.Reshape((8, 16))(layers.MaxPooling2D((2, 2))(x))
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu")(x))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.Dense(6, activation="softmax")(x)
    model = keras.Model([image, label], CTCLayer()(label, x))
    data = {
        "image": uniform(rng, 16, 8, 1),
        "label": integers(rng, 5, 4, start=1),
    }
    return Case(model, data)


def tower(shape, outputs):
    """A small convolutional network for one image."""
    inputs = keras.Input(shape)
    x = layers.Conv2D(4, 5, activation="tanh")(inputs)
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    return keras.Model(inputs, layers.Dense(outputs, activation="tanh")(x))


def contrastive(y_true, y_pred):
    """Pairs of one class are drawn together, others pushed apart."""
    near = ops.square(y_pred)
    far = ops.square(ops.maximum(1.0 - y_pred, 0))
    return ops.mean((1 - y_true) * near + y_true * far, axis=-1)


@workflow("vision/siamese_contrastive")
def siamese_network_on_pairs(rng):
    left, right = keras.Input((12, 12, 1)), keras.Input((12, 12, 1))
    shared = tower((12, 12, 1), 4)
    gap = ops.sum(ops.square(shared(left) - shared(right)), axis=1, keepdims=True)
    distance = ops.sqrt(ops.maximum(gap, 1e-7))
    model = keras.Model([left, right], layers.Dense(1, activation="sigmoid")(distance))
    pairs = [uniform(rng, 12, 12, 1), uniform(rng, 12, 12, 1)]
    y = integers(rng, 2, 1).astype("float32")
    return Case(model, pairs, y, {"loss": contrastive, "metrics": ["accuracy"]})


class TripletLoss(layers.Layer):
    """Adds a margin loss over three embeddings of one triplet."""

    def call(self, anchor, positive, negative):
        near = ops.sum(ops.square(anchor - positive), axis=-1)
        far = ops.sum(ops.square(anchor - negative), axis=-1)
        self.add_loss(ops.mean(ops.maximum(near - far + 0.5, 0.0)))
        return ops.stack([near, far], axis=-1)


@workflow("vision/siamese_network")
def triplets_with_an_added_loss(rng):
    three = [keras.Input((12, 12, 1)) for _ in range(3)]
    shared = tower((12, 12, 1), 4)
    model = keras.Model(three, TripletLoss()(*map(shared, three)))
    return Case(model, [uniform(rng, 12, 12, 1) for _ in three])


class OwnTrainStep(keras.Model):
    """A model that writes its own step, as many pages do."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)

    def train_step(self, data):
        raise AssertionError("it is never run")


@workflow("vision/siamese_network", refused="`train_step` of its own")
def triplets_with_a_train_step(rng):
    return Case(OwnTrainStep(tower((12, 12, 1), 4)), uniform(rng, 12, 12, 1))


@workflow("vision/knowledge_distillation", refused="`train_step` of its own")
def knowledge_distillation_with_a_train_step(rng):
    return Case(OwnTrainStep(tower((12, 12, 1), 3)), uniform(rng, 12, 12, 1))


class Distilled(layers.Layer):
    """A student whose layer adds the divergence from a frozen teacher."""

    def __init__(self, student, teacher, **kwargs):
        super().__init__(**kwargs)
        self.student, self.teacher = student, teacher
        teacher.trainable = False

    def call(self, inputs):
        logits = self.student(inputs)
        soft = ops.softmax(self.teacher(inputs) / 3.0)
        divergence = keras.losses.kl_divergence(soft, ops.softmax(logits / 3.0))
        self.add_loss(0.9 * 9.0 * ops.mean(divergence))
        return logits


@workflow("vision/knowledge_distillation")
def knowledge_distillation_with_an_added_loss(rng):
    inputs = keras.Input((12, 12, 1))
    student, teacher = tower((12, 12, 1), 3), tower((12, 12, 1), 3)
    model = keras.Model(inputs, Distilled(student, teacher)(inputs))
    return Case(model, uniform(rng, 12, 12, 1), integers(rng, 3), FROM_LOGITS)


class SupervisedContrastive(keras.losses.Loss):
    """Compares every example of a batch with every other."""

    def call(self, labels, features):
        features = ops.normalize(features, axis=1)
        same = ops.equal(ops.reshape(labels, (-1, 1)), ops.reshape(labels, (1, -1)))
        target = ops.cast(same, "float32")
        target = target / ops.sum(target, axis=1, keepdims=True)
        logits = ops.matmul(features, ops.transpose(features)) / 0.05
        return keras.losses.categorical_crossentropy(target, logits, from_logits=True)


@workflow("vision/supervised-contrastive-learning", refused="compares the examples")
def supervised_contrastive_learning(rng):
    model = tower((12, 12, 1), 4)
    loss = SupervisedContrastive()
    return Case(model, uniform(rng, 12, 12, 1), integers(rng, 3), {"loss": loss})


@workflow("vision/semisupervised_simclr", refused="`train_step` of its own")
def contrastive_pretraining(rng):
    return Case(OwnTrainStep(tower((12, 12, 1), 3)), uniform(rng, 12, 12, 1))


@workflow("vision/mixup", refused="batches that are already made")
def mixup_by_a_pipeline(rng):
    import tensorflow as tf

    x, y = uniform(rng, 12, 12, 1), normal(rng, 3)
    pairs = tf.data.Dataset.zip(
        tf.data.Dataset.from_tensor_slices((x, y)).shuffle(EXAMPLES).batch(4),
        tf.data.Dataset.from_tensor_slices((x, y)).shuffle(EXAMPLES).batch(4),
    )
    mixed = pairs.map(lambda a, b: (0.7 * a[0] + 0.3 * b[0], 0.7 * a[1] + 0.3 * b[1]))
    return Case(tower((12, 12, 1), 3), mixed, None, {"loss": "mse"})


@workflow("vision/autoencoder", exact=True)
def denoising_autoencoder(rng):
    model = keras.Sequential([keras.Input((12, 12, 1))])
    for _ in range(2):
        model.add(layers.Conv2D(4, 3, activation="relu", padding="same"))
        model.add(layers.MaxPooling2D(2, padding="same"))
    for _ in range(2):
        model.add(layers.Conv2DTranspose(4, 3, 2, activation="relu", padding="same"))
    model.add(layers.Conv2D(1, 3, activation="sigmoid", padding="same"))
    clean = uniform(rng, 12, 12, 1)
    noisy = np.clip(clean + 0.4 * normal(rng, 12, 12, 1), 0, 1)
    return Case(model, noisy, clean, {"loss": "binary_crossentropy"})


class DepthToSpace(layers.Layer):
    """Channels become pixels: four channels, twice the size."""

    def call(self, inputs):
        _, height, width, channels = inputs.shape
        x = ops.reshape(inputs, (-1, height, width, 2, 2, channels // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, 2 * height, 2 * width, channels // 4))


@workflow("vision/super_resolution_sub_pixel")
def super_resolution(rng):
    options = {"kernel_initializer": "orthogonal", "padding": "same"}
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 5, activation="relu", **options)(inputs)
    x = layers.Conv2D(4, 3, activation="relu", **options)(x)
    x = layers.Conv2D(4, 3, **options)(x)
    model = keras.Model(inputs, DepthToSpace()(x))
    small, large = uniform(rng, 8, 8, 1), uniform(rng, 16, 16, 1)
    return Case(model, small, large, {"loss": "mse"})


def zero_dce_loss(images, enhanced):
    """Colour constancy, exposure and smoothness; no reference images."""
    colours = ops.mean(enhanced, axis=(1, 2))
    difference = colours - ops.roll(colours, 1, axis=-1)
    colour = ops.sqrt(ops.sum(ops.square(difference), axis=-1) + 1e-8)
    grey = ops.mean(enhanced, axis=3, keepdims=True)
    exposure = ops.mean(
        ops.square(ops.average_pool(grey, 4, 4, "valid") - 0.6), axis=(1, 2, 3)
    )
    smooth = ops.mean(ops.square(enhanced[:, 1:] - enhanced[:, :-1]), axis=(1, 2, 3))
    kept = ops.mean(ops.abs(enhanced - images), axis=(1, 2, 3))
    return 5 * colour + 10 * exposure + smooth + kept


@workflow("vision/zero_dce")
def low_light_enhancement(rng):
    inputs = keras.Input((16, 16, 3))
    first = layers.Conv2D(4, 3, activation="relu", padding="same")(inputs)
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(first)
    x = layers.Concatenate()([first, x])
    curves = layers.Conv2D(6, 3, activation="tanh", padding="same")(x)
    x = inputs
    for curve in (curves[..., :3], curves[..., 3:]):
        x = x + curve * (ops.square(x) - x)
    dark = 0.3 * images(rng)[0]
    return Case(keras.Model(inputs, x), dark, dark, {"loss": zero_dce_loss})


@workflow("vision/keypoint_detection")
def keypoint_regression(rng):
    backbone = keras.applications.MobileNetV2((32, 32, 3), 0.35, False, None)
    backbone.trainable = False
    inputs = keras.Input((32, 32, 3))
    x = layers.Dropout(0.3)(backbone(inputs))
    x = layers.SeparableConv2D(8, 1, activation="relu")(x)
    x = layers.SeparableConv2D(6, 1, activation="sigmoid")(x)
    model = keras.Model(inputs, x)
    return Case(model, images(rng, 32)[0], uniform(rng, 1, 1, 6), {"loss": "mse"})


def rays(rng):
    """Points on 4 x 4 rays of 3 samples each, encoded; and images."""
    return normal(rng, 48, 9), uniform(rng, 4, 4, 3)


def nerf_network(inputs):
    x = layers.Dense(8, activation="relu")(inputs)
    x = layers.Concatenate()([layers.Dense(8, activation="relu")(x), inputs])
    return layers.Dense(4)(x)


@workflow("vision/nerf", refused="`train_step` of its own")
def nerf_with_a_train_step(rng):
    inputs = keras.Input((48, 9))
    model = OwnTrainStep(keras.Model(inputs, nerf_network(inputs)))
    return Case(model, *rays(rng), {"loss": "mse"})


@workflow("vision/nerf")
def nerf_with_rendering_in_the_model(rng):
    inputs = keras.Input((48, 9))
    found = ops.reshape(nerf_network(inputs), (-1, 4, 4, 3, 4))
    colour, density = ops.sigmoid(found[..., :3]), ops.relu(found[..., 3])
    opacity = 1 - ops.exp(-0.3 * density)
    passed = ops.cumprod(1 - opacity + 1e-10, axis=-1)
    passed = ops.concatenate([ops.ones_like(passed[..., :1]), passed[..., :-1]], -1)
    model = keras.Model(inputs, ops.sum((opacity * passed)[..., None] * colour, -2))
    return Case(model, *rays(rng), {"loss": "mse"})


@workflow("vision/video_classification")
def recurrent_video_classification(rng):
    features = keras.Input((6, 8))
    mask = keras.Input((6,), dtype="bool")
    x = layers.GRU(8, return_sequences=True)(features, mask=mask)
    x = layers.Dropout(0.4)(layers.GRU(4)(x))
    x = layers.Dense(8, activation="relu")(x)
    model = keras.Model([features, mask], layers.Dense(3, activation="softmax")(x))
    lengths = integers(rng, 7, 1, start=1)
    seen = np.arange(6) < lengths
    return Case(model, [normal(rng, 6, 8), seen], integers(rng, 3), CLASSIFY)


@workflow("vision/vivit")
def video_vision_transformer(rng):
    inputs = keras.Input((4, 8, 8, 1))
    x = layers.Conv3D(8, (2, 4, 4), strides=(2, 4, 4))(inputs)
    x = encoder(Positions()(layers.Reshape((8, 8))(x)))
    x = layers.GlobalAvgPool1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, uniform(rng, 4, 8, 8, 1), integers(rng, 3), CLASSIFY)


@workflow("vision/conv_lstm")
def next_frame_by_conv_lstm(rng):
    inputs = keras.Input((4, 8, 8, 1))
    x = layers.ConvLSTM2D(
        2, 3, padding="same", return_sequences=True, activation="relu"
    )(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Conv3D(1, 3, activation="sigmoid", padding="same")(x)
    model = dp.replace_batchnorm(keras.Model(inputs, x))
    frames = uniform(rng, 5, 8, 8, 1)
    options = {"loss": "binary_crossentropy"}
    return Case(model, frames[:, :-1], frames[:, 1:], options)


@workflow("vision/attention_mil_classification")
def attention_over_a_bag_of_instances(rng):
    bag = [keras.Input((6, 6)) for _ in range(3)]
    shared, score = layers.Dense(4, activation="relu"), layers.Dense(1)
    features = [shared(layers.Flatten()(x)) for x in bag]
    weights = ops.softmax(layers.Concatenate()([score(ops.tanh(f)) for f in features]))
    weighted = [f * weights[:, i : i + 1] for i, f in enumerate(features)]
    x = layers.Concatenate()(weighted)
    model = keras.Model(bag, layers.Dense(2, activation="softmax")(x))
    return Case(model, [uniform(rng, 6, 6) for _ in bag], integers(rng, 2), CLASSIFY)


@workflow("vision/learnable_resizer")
def learnable_resizer(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.LeakyReLU(negative_slope=0.2)(
        layers.Conv2D(4, 7, padding="same")(inputs)
    )
    x = layers.Resizing(8, 8)(layers.BatchNormalization()(x))
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.Conv2D(3, 7, padding="same")(x + y)
    x = layers.Flatten()(x + layers.Resizing(8, 8)(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(dp.replace_batchnorm(model), *images(rng), CLASSIFY)


class TokenLearner(layers.Layer):
    """Learns where to look for each of few tokens."""

    def __init__(self, tokens=2, **kwargs):
        super().__init__(**kwargs)
        self.normalise = layers.LayerNormalization()
        self.attention = keras.Sequential(
            [
                layers.Conv2D(tokens, 3, activation="gelu", padding="same"),
                layers.Conv2D(tokens, 3, activation="sigmoid", padding="same"),
            ]
        )

    def call(self, inputs):
        maps = self.attention(self.normalise(inputs))
        _, height, width, channels = inputs.shape
        maps = ops.reshape(maps, (-1, height * width, maps.shape[-1]))
        x = ops.reshape(inputs, (-1, height * width, channels))
        return ops.matmul(ops.transpose(maps, (0, 2, 1)), x) / (height * width)


@workflow("vision/token_learner")
def token_learner(rng):
    inputs = keras.Input((16, 16, 3))
    x = TokenLearner()(layers.Conv2D(8, 4, strides=4)(inputs))
    x = layers.GlobalAveragePooling1D()(encoder(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, *images(rng), CLASSIFY)


@workflow("vision/randaugment")
def random_augmentation_in_the_model(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.RandAugment(value_range=(0, 1), num_ops=2, factor=0.3)(inputs)
    x = layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return Case(model, *images(rng), CLASSIFY)
