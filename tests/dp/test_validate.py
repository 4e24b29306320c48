"""Models for which an epsilon would be untrue are refused, and the fix is named."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfpriv.dp as dp
from tfpriv.dp import validate


def data(rng, *shape):
    x = rng.normal(size=(6, *shape)).astype("float32")
    return x, rng.normal(size=(6, 2)).astype("float32")


def optimizer():
    return dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)


def sequential(shape, *parts):
    return keras.Sequential([keras.Input(shape), *parts, layers.Dense(2)])


def fit(model, x, y):
    """Compiles and trains; returns the number of steps in the ledger."""
    model.compile(optimizer=optimizer(), loss="mse")
    model.fit(x, y, batch_size=3, epochs=1, verbose=0)
    return len(model.privacy.ledger)


class RunningMean(layers.Layer):
    """Keeps a statistic of what it sees."""

    def build(self, shape):
        self.average = self.add_weight(
            name="average", shape=(shape[-1],), trainable=False
        )

    def call(self, inputs, training=False):
        if training:
            mean = keras.ops.mean(inputs, axis=0)
            self.average.assign(0.9 * self.average + 0.1 * mean)
        return inputs - self.average


class Counter(layers.Layer):
    """Counts its calls, in training or not."""

    def build(self, shape):
        self.calls = self.add_weight(
            name="calls", shape=(), dtype="int32", trainable=False
        )

    def call(self, inputs):
        self.calls.assign(self.calls + 1)
        return inputs


class Bank(layers.Layer):
    """Keeps the last example in a slice of a weight."""

    def build(self, shape):
        self.bank = self.add_weight(name="bank", shape=(4, shape[-1]), trainable=False)

    def call(self, inputs, training=False):
        if training:
            self.bank.value[0:1].assign(inputs[:1])
        return inputs


class Loop(Bank):
    """The same, in the body of a loop."""

    def call(self, inputs, training=False):
        def body(i):
            self.bank.value[0:1].assign(inputs[:1])
            return [i + 1]

        if training:
            tf.while_loop(lambda i: i < 1, body, [tf.constant(0)])
        return inputs


class Stateful(layers.Layer):
    """Keeps what it sees outside of Keras' weights."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
        self.generator = tf.random.Generator.from_seed(0)
        self.queue = tf.queue.FIFOQueue(10_000, [tf.float32])

    def call(self, inputs):
        self.write(inputs)
        return inputs


class Table(Stateful):
    def write(self, inputs):
        self.seen.insert(tf.cast(inputs[:, 0], tf.int64), inputs[:, 1])


class Queue(Stateful):
    def write(self, inputs):
        self.queue.enqueue(inputs[0, 0])


class Generator(Stateful):
    def write(self, inputs):
        self.generator.skip(tf.cast(inputs[0, 0], tf.int32))


class Python(Stateful):
    def write(self, inputs):
        tf.py_function(lambda x: None, [inputs], [])


class Function(Stateful):
    @tf.function
    def write(self, inputs):
        tf.numpy_function(lambda x: x, [inputs], tf.float32)


# Layers that are known by their class.

KNOWN = {
    "BatchNormalization": lambda: layers.BatchNormalization(name="culprit"),
    "SpectralNormalization": lambda: layers.SpectralNormalization(
        layers.Dense(3), name="culprit"
    ),
    "stateful": lambda: layers.GRU(3, stateful=True, name="culprit"),
}


@pytest.mark.parametrize("known", KNOWN)
def test_layers_are_refused_by_name(rng, known):
    shape = (2, 3) if known == "stateful" else (3,)
    x, y = data(rng, *shape)
    nested = known != "stateful"
    culprit = KNOWN[known]()
    if nested:
        culprit = keras.Sequential([keras.Input(shape), culprit])
        model = sequential(shape, culprit)
    else:
        inputs = keras.Input(batch_shape=(6, *shape))
        model = keras.Model(inputs, layers.Dense(2)(culprit(inputs)))
    for attempt in (
        lambda: dp.make_private(model),
        lambda: dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0),
    ):
        with pytest.raises(ValueError, match=f"{known}.*'culprit'"):
            attempt()


def test_layers_that_appear_later_are_refused_in_compile(rng):
    x, y = data(rng, 3)
    norm = layers.BatchNormalization(trainable=False)
    model = dp.make_private(sequential((3,), norm))
    norm.trainable = True
    with pytest.raises(ValueError, match="replace_batchnorm"):
        model.compile(optimizer=optimizer(), loss="mse")
    norm.trainable = False
    assert fit(model, x, y) == 2


def test_frozen_batch_normalization_passes(rng):
    x, y = data(rng, 3)
    norm = layers.BatchNormalization(trainable=False)
    model = sequential((3,), norm)
    statistics = [w.numpy() for w in norm.weights]
    assert fit(dp.make_private(model), x, y) == 2
    for before, after in zip(statistics, norm.weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_replaced_batch_normalization_passes(rng):
    x, y = data(rng, 3)
    model = sequential((3,), layers.Dense(6), layers.BatchNormalization())
    assert fit(dp.make_private(dp.replace_batchnorm(model)), x, y) == 2


# Layers that are found out by what they do.


def refused(model, x, y, match):
    with pytest.raises(ValueError, match=match):
        dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0)
    private = dp.make_private(model)
    private.compile(optimizer=optimizer(), loss="mse")
    with pytest.raises(ValueError, match=match):
        private.fit(x, y, batch_size=3, verbose=0)
    assert len(private.privacy.ledger) == 0  # nothing was drawn, nothing is paid


def test_planted_batch_normalization_that_is_let_through(rng, monkeypatch):
    """It is not known by name any more, and is found out all the same."""
    monkeypatch.setattr(validate, "check_layers", lambda model: None)
    model = sequential((3,), layers.Dense(4), layers.BatchNormalization(name="norm"))
    refused(model, *data(rng, 3), "assigns to .*norm/moving_mean")


@pytest.mark.parametrize(
    ("layer", "name"), [(RunningMean, "average"), (Counter, "calls"), (Bank, "bank")]
)
def test_layers_that_keep_state(rng, layer, name):
    model = sequential((3,), layer(name="keeper"))
    refused(model, *data(rng, 3), f"assigns to .*keeper/{name}")


@pytest.mark.parametrize(
    ("layer", "operation"),
    [
        (Loop, "ResourceStridedSliceAssign"),
        (Table, "LookupTableInsertV2"),
        (Queue, "QueueEnqueueV2"),
        (Generator, "RngReadAndSkip"),
        (Python, "EagerPyFunc"),
        (Function, "PyFunc"),
    ],
)
def test_layers_that_keep_state_elsewhere(rng, layer, operation):
    model = sequential((3,), layer())
    refused(model, *data(rng, 3), f"runs the operation {operation}")


def test_metrics_inside_of_the_loss(rng):
    class Own(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.seen = keras.metrics.Mean(name="seen")

        def compute_loss(self, x, y, y_pred, sample_weight, training=True):
            loss = keras.ops.mean((y - y_pred) ** 2)
            self.seen.update_state(loss)
            return loss

    inputs = keras.Input((3,))
    model = Own(inputs, layers.Dense(2)(inputs))
    refused(model, *data(rng, 3), "updates state")


def test_weights_that_no_loss_reaches(rng):
    class Idle(keras.Model):
        def __init__(self):
            super().__init__()
            self.used = layers.Dense(2)
            self.unused = layers.Dense(5, name="forgotten")

        def call(self, inputs):
            self.unused(inputs)
            return self.used(inputs)

    x, y = data(rng, 3)
    model = Idle()
    refused(model, x, y, "forgotten/kernel")
    model.unused.trainable = False  # as the message says
    assert fit(model, x, y) == 2


def test_own_train_step_is_refused():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    inputs = keras.Input((3,))
    model = Own(inputs, layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match=r"clipped_gradients.*Own\.train_step"):
        dp.make_private(model)
    assert type(model) is Own


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match=r"Received: builtins\.str"):
        dp.make_private("a model")


def test_after_a_refusal_the_mended_model_trains(rng):
    x, y = data(rng, 3)
    norm = layers.BatchNormalization()
    model = sequential((3,), layers.Dense(4), norm)
    with pytest.raises(ValueError, match="BatchNormalization"):
        dp.make_private(model)
    norm.trainable = False
    model = dp.make_private(model)
    with pytest.raises(ValueError, match="needs an optimizer that adds noise"):
        model.compile(optimizer="adam", loss="mse")
    model.compile(optimizer=optimizer(), loss=over_the_batch)
    with pytest.raises(ValueError, match="loss compares the examples"):
        model.fit(x, y, batch_size=3, verbose=0)
    assert fit(model, x, y) == 2


def over_the_batch(y_true, y_pred):
    return keras.ops.square(keras.ops.sum(y_true - y_pred))


# Ordinary models raise no alarm.


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_ordinary_models_pass(rng, policy):
    """Rounding in half precision must not look like mixing."""
    width = 32
    model = keras.Sequential([keras.Input((8, 8, 3))])
    for _ in range(2):
        model.add(layers.Conv2D(width, 3, padding="same", dtype=policy))
        model.add(layers.GroupNormalization(8, dtype=policy))
        model.add(layers.Activation("gelu", dtype=policy))
        model.add(layers.SpatialDropout2D(0.2, dtype=policy))
    model.add(layers.GlobalAveragePooling2D(dtype=policy))
    model.add(layers.Dense(2, dtype="float32"))
    x, y = data(rng, 8, 8, 3)
    gradients, norms = dp.clipped_gradients(
        model, x, y, loss="mse", l2_norm_clip=1.0, microbatch_size=3
    )
    assert np.isfinite(norms).all()
    assert len(gradients) == len(model.trainable_variables)


class Reads(layers.Layer):
    """Reads a table, checks, prints and loops, and keeps nothing."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        keys = tf.lookup.KeyValueTensorInitializer([0, 1], [0.5, 2.0])
        self.table = tf.lookup.StaticHashTable(keys, 1.0)

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), trainable=False)

    @tf.function
    def call(self, inputs):
        tf.debugging.assert_all_finite(inputs, "not finite")
        tf.print(tf.shape(inputs), output_stream="file:///dev/null")
        scale = self.table.lookup(tf.cast(inputs > 0, tf.int32)) + self.scale[0]
        found = tf.TensorArray(tf.float32, 2)
        for i in tf.range(2):
            found = found.write(i, inputs * scale)
        return tf.reduce_sum(found.stack(), axis=0)


def test_layers_that_read_pass(rng):
    x, y = data(rng, 3)
    model = sequential((3,), Reads(), layers.Dropout(0.5))
    dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0, engine="vectorized")


LOSSES_WITH_LARGE_VALUES = ["mape", "msle", "poisson", "kl_divergence", "log_cosh"]


@pytest.mark.parametrize("loss", LOSSES_WITH_LARGE_VALUES)
def test_losses_with_large_values_pass(rng, loss):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, "softplus")])
    x, _ = data(rng, 3)
    y = rng.uniform(0.01, 1, (6, 2))
    dp.clipped_gradients(model, x, y, loss=loss, l2_norm_clip=1.0)
