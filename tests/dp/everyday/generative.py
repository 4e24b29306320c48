"""keras.io/examples/generative."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from everyday import Case, integers, normal, uniform, workflow
from everyday.vision import OwnTrainStep


def encoder_of_vae():
    inputs = keras.Input((12, 12, 1))
    x = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(inputs)
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    return inputs, layers.Dense(2)(x), layers.Dense(2)(x)


def decoder_of_vae(z):
    x = layers.Reshape((6, 6, 2))(layers.Dense(72, activation="relu")(z))
    x = layers.Conv2DTranspose(4, 3, strides=2, activation="relu", padding="same")(x)
    return layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)


class Sampling(layers.Layer):
    """Draws a latent vector, and adds the divergence from a standard normal.

    It draws at inference too.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_var = inputs
        terms = 1 + log_var - ops.square(mean) - ops.exp(log_var)
        self.add_loss(-0.5 * ops.mean(ops.sum(terms, axis=1)))
        epsilon = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_var) * epsilon


@workflow("generative/vae")
def variational_autoencoder(rng):
    inputs, mean, log_var = encoder_of_vae()
    model = keras.Model(inputs, decoder_of_vae(Sampling()([mean, log_var])))
    x = uniform(rng, 12, 12, 1)
    return Case(model, x, x, {"loss": "binary_crossentropy"})


@workflow("generative/vae", refused="`train_step` of its own")
def variational_autoencoder_with_a_train_step(rng):
    inputs, mean, _ = encoder_of_vae()
    model = OwnTrainStep(keras.Model(inputs, decoder_of_vae(mean)))
    return Case(model, uniform(rng, 12, 12, 1))


@workflow("generative/lstm_character_level_text_generation", exact=True)
def characters_by_lstm(rng):
    model = keras.Sequential(
        [keras.Input((8, 10)), layers.LSTM(8), layers.Dense(10, activation="softmax")]
    )
    one_hot = np.eye(10, dtype="float32")
    x, y = one_hot[integers(rng, 10, 8)], one_hot[integers(rng, 10)]
    return Case(model, x, y, {"loss": "categorical_crossentropy"})


class PixelConvolution(layers.Layer):
    """A convolution that sees no pixel after its own."""

    def __init__(self, kind, **kwargs):
        super().__init__()
        self.kind = kind
        self.conv = layers.Conv2D(**kwargs)

    def build(self, shape):
        self.conv.build(shape)
        size = self.conv.kernel.shape[0]
        mask = np.zeros(self.conv.kernel.shape, "float32")
        mask[: size // 2] = 1
        mask[size // 2, : size // 2 + (self.kind == "B")] = 1
        self.mask = mask

    def call(self, inputs):
        kernel = self.conv.kernel * self.mask
        x = ops.conv(inputs, kernel, padding="same")
        return ops.relu(x + self.conv.bias)


@workflow("generative/pixelcnn", exact=True)
def pixelcnn(rng):
    inputs = keras.Input((8, 8, 1))
    x = PixelConvolution("A", filters=4, kernel_size=5, padding="same")(inputs)
    y = layers.Conv2D(2, 1, activation="relu")(x)
    y = PixelConvolution("B", filters=2, kernel_size=3, padding="same")(y)
    x = x + layers.Conv2D(4, 1, activation="relu")(y)
    model = keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))
    x = (uniform(rng, 8, 8, 1) > 0.33).astype("float32")
    return Case(model, x, x, {"loss": "binary_crossentropy"})


class MaskedKernel(layers.Layer):
    """The page's own way: the kernel is assigned to in every call."""

    def __init__(self, **kwargs):
        super().__init__()
        self.conv = layers.Conv2D(**kwargs)

    def build(self, shape):
        self.conv.build(shape)
        self.mask = np.tri(*self.conv.kernel.shape[:2])[..., None, None]

    def call(self, inputs):
        self.conv.kernel.assign(self.conv.kernel * self.mask)
        return self.conv(inputs)


@workflow("generative/pixelcnn", refused="updates state")
def pixelcnn_that_assigns_its_kernel(rng):
    inputs = keras.Input((8, 8, 1))
    x = MaskedKernel(filters=4, kernel_size=3, padding="same")(inputs)
    model = keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))
    x = uniform(rng, 8, 8, 1)
    return Case(model, x, x, {"loss": "binary_crossentropy"})


class Noised(layers.Layer):
    """Mixes an image with noise of a drawn strength; returns all three."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, images):
        size = ops.shape(images)[0]
        noise = keras.random.normal(ops.shape(images), seed=self.seed_generator)
        time = keras.random.uniform((size, 1, 1, 1), seed=self.seed_generator)
        mixed = ops.cos(1.5 * time) * images + ops.sin(1.5 * time) * noise
        return mixed, noise, ops.square(ops.sin(1.5 * time))


class Denoising(layers.Layer):
    """Adds the error of the noise that a network predicts."""

    def call(self, noise, predicted):
        self.add_loss(ops.mean(ops.abs(noise - predicted)))
        return predicted


@workflow("generative/ddim")
def denoising_diffusion_with_an_added_loss(rng):
    inputs = keras.Input((8, 8, 3))
    mixed, noise, variance = Noised()(inputs)
    angle = variance * (2 * np.pi * np.array([1.0, 4.0], "float32"))
    embedded = ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)
    embedded = layers.UpSampling2D(8)(embedded)
    x = layers.Concatenate()([layers.Conv2D(4, 1)(mixed), embedded])
    y = layers.Conv2D(8, 3, padding="same", activation="swish")(x)
    x = x + layers.Conv2D(8, 3, padding="same")(y)
    predicted = layers.Conv2D(3, 1, kernel_initializer="zeros")(x)
    model = keras.Model(inputs, Denoising()(noise, predicted))
    return Case(model, uniform(rng, 8, 8, 3))


@workflow("generative/ddim", refused="`train_step` of its own")
def denoising_diffusion_with_a_train_step(rng):
    model = keras.Sequential([layers.Conv2D(3, 3, padding="same")])
    return Case(OwnTrainStep(model), uniform(rng, 8, 8, 3), None, {"loss": "mse"})


@workflow("generative/dcgan_overriding_train_step", refused="`train_step` of its own")
def generative_adversarial_network(rng):
    model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    return Case(OwnTrainStep(model), uniform(rng, 8, 8, 3))


@workflow("generative/wgan_gp", refused="`train_step` of its own")
def wasserstein_gan(rng):
    model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    return Case(OwnTrainStep(model), uniform(rng, 8, 8, 3))


class Coupling(layers.Layer):
    """Scales and shifts one half of the features by functions of the other."""

    def __init__(self, mask, **kwargs):
        super().__init__(**kwargs)
        self.mask = np.array(mask, "float32")
        l2 = {"kernel_regularizer": keras.regularizers.l2(0.01)}
        self.scale = keras.Sequential(
            [layers.Dense(8, "relu", **l2), layers.Dense(2, "tanh", **l2)]
        )
        self.shift = keras.Sequential(
            [layers.Dense(8, "relu", **l2), layers.Dense(2, **l2)]
        )

    def call(self, inputs):
        x, determinant = inputs
        kept, moved = x * self.mask, 1 - self.mask
        s, t = self.scale(kept) * moved, self.shift(kept) * moved
        return kept + moved * (x - t) * ops.exp(-s), determinant - ops.sum(s, axis=1)


@workflow("generative/real_nvp")
def real_valued_flow(rng):
    inputs = keras.Input((2,))
    x, determinant = inputs, ops.zeros_like(inputs[:, 0])
    for mask in ([0, 1], [1, 0]):
        x, determinant = Coupling(mask)([x, determinant])
    log_prior = -0.5 * ops.sum(ops.square(x), axis=1) - np.log(2 * np.pi)
    model = keras.Model(inputs, ops.expand_dims(log_prior + determinant, -1))

    def negative_log_likelihood(y_true, y_pred):
        del y_true
        return -y_pred[:, 0]

    x = normal(rng, 2)
    return Case(model, x, np.zeros((len(x), 1)), {"loss": negative_log_likelihood})


@workflow("generative/real_nvp", refused="`train_step` of its own")
def real_valued_flow_with_a_train_step(rng):
    return Case(OwnTrainStep(keras.Sequential([layers.Dense(2)])), normal(rng, 2))


class VectorQuantizer(layers.Layer):
    """Nearest entry of a code book; gradients pass straight through."""

    def __init__(self, codes=6, width=4, **kwargs):
        super().__init__(**kwargs)
        self.book = self.add_weight(shape=(width, codes), name="codes")
        self.width, self.codes = width, codes

    def call(self, x):
        flat = ops.reshape(x, (-1, self.width))
        similarity = ops.matmul(flat, self.book)
        distances = (
            ops.sum(ops.square(flat), axis=1, keepdims=True)
            + ops.sum(ops.square(self.book), axis=0)
            - 2 * similarity
        )
        chosen = ops.one_hot(ops.argmin(distances, axis=1), self.codes)
        quantized = ops.reshape(
            ops.matmul(chosen, ops.transpose(self.book)), ops.shape(x)
        )
        commitment = ops.mean(ops.square(ops.stop_gradient(quantized) - x))
        book = ops.mean(ops.square(quantized - ops.stop_gradient(x)))
        self.add_loss(0.25 * commitment + book)
        return x + ops.stop_gradient(quantized - x)


@workflow("generative/vq_vae")
def vector_quantized_autoencoder(rng):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(inputs)
    x = VectorQuantizer()(layers.Conv2D(4, 1)(x))
    x = layers.Conv2DTranspose(4, 3, activation="relu", strides=2, padding="same")(x)
    model = keras.Model(inputs, layers.Conv2DTranspose(1, 3, padding="same")(x))
    x = uniform(rng, 8, 8, 1)
    return Case(model, x, x, {"loss": "mse"})


class GumbelSample(layers.Layer):
    """Draws a soft choice.

    Args:
        uniform: Function from a shape, a minimum and a maximum to random numbers.
    """

    def __init__(self, uniform, **kwargs):
        super().__init__(**kwargs)
        self.uniform = uniform

    def call(self, logits):
        noise = self.uniform(ops.shape(logits), 1e-6, 1.0)
        return ops.softmax((logits - ops.log(-ops.log(noise))) / 0.5)


def discrete_autoencoder(rng, uniform):
    inputs = keras.Input((8,))
    x = GumbelSample(uniform)(layers.Dense(6)(inputs))
    x, model = normal(rng, 8), keras.Model(inputs, layers.Dense(8)(x))
    return Case(model, x, x, {"loss": "mse"})


@workflow("generative/vq_vae")
def draws_by_keras_random_without_a_seed(rng):
    return discrete_autoencoder(rng, keras.random.uniform)


@workflow("generative/vq_vae", refused="generator that all examples share")
def draws_by_operations_of_tensorflow(rng):
    return discrete_autoencoder(rng, tf.random.uniform)
