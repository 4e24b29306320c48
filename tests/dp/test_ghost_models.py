"""The fast engine is exact on layers that are combined, shared, adapted or masked."""

import keras
import keras_hub
import numpy as np
import oracle
import pytest
import tensorflow as tf
from engines import (
    EXAMPLES,
    EXPECTED,
    SEEDS,
    assert_exact,
    assert_same,
    clipped,
    draws,
    normal,
    scatter,
)
from hypothesis import given, note
from hypothesis import strategies as st
from keras import layers

pytestmark = [pytest.mark.filterwarnings(line) for line in EXPECTED]


def ends(inputs, outputs):
    """A model that makes two numbers of its outputs."""
    if len(outputs.shape) > 2:
        outputs = keras.ops.reshape(outputs, (-1, int(np.prod(outputs.shape[1:]))))
    return keras.Model(inputs, layers.Dense(2)(outputs))


def of(rng, shape, function):
    """A model of one input of floats, and examples."""
    inputs = keras.Input(shape)
    return ends(inputs, function(inputs)), normal(rng, EXAMPLES, *shape)


def of_words(rng, length, function):
    """The same for integers below nine."""
    inputs = keras.Input((length,), dtype="int32")
    return ends(inputs, function(inputs)), rng.integers(0, 9, (EXAMPLES, length))


def holes(rng, *shape):
    """A mask with any holes; each example has at least one entry."""
    mask = rng.integers(0, 2, (EXAMPLES, *shape)).astype(bool)
    mask[..., 0] = True
    return mask


# Attention and what is made of it.


def masked_cross_attention(rng):
    query, value = keras.Input((5, 6)), keras.Input((3, 4))
    mask = keras.Input((5, 3), dtype="bool")
    layer = layers.MultiHeadAttention(2, 3, value_dim=4, output_shape=5)
    model = ends([query, value, mask], layer(query, value, attention_mask=mask))
    x = normal(rng, EXAMPLES, 5, 6), normal(rng, EXAMPLES, 3, 4), holes(rng, 5, 3)
    return model, list(x)


def attention_over_several_axes(rng):
    layer = layers.MultiHeadAttention(2, 3, attention_axes=(1, 2), use_bias=False)
    return of(rng, (3, 2, 4), lambda x: layer(x, x))


def grouped_query_attention(rng):
    layer = layers.GroupQueryAttention(3, 4, 2)
    return of(rng, (5, 6), lambda x: layer(x, x, use_causal_mask=True))


def cached_attention(rng):
    layer = keras_hub.layers.CachedMultiHeadAttention(2, 3)
    return of(rng, (4, 6), lambda x: layer(x, x))


def attention_with_a_scale(rng):
    layer = layers.Attention(use_scale=True, score_mode="concat")
    return of(rng, (4, 6), lambda x: layers.Dense(3)(layer([x, x])))


def embedded(ids, mask_zero=True):
    layer = keras_hub.layers.TokenAndPositionEmbedding(9, 6, 8, mask_zero=mask_zero)
    return layer(ids)


def encoder(rng):
    layer = keras_hub.layers.TransformerEncoder(8, 2, normalize_first=True)
    return of_words(rng, 4, lambda ids: layer(embedded(ids)))


def decoder(rng):
    layer = keras_hub.layers.TransformerDecoder(8, 2)
    return of_words(rng, 4, lambda ids: layer(embedded(ids)))


def fourier_encoder(rng):
    layer = keras_hub.layers.FNetEncoder(8)
    return of_words(rng, 4, lambda ids: layer(embedded(ids, mask_zero=False)))


# Embeddings.


def untied(rng):
    table = keras_hub.layers.ReversibleEmbedding(9, 4, tie_weights=False)
    return of_words(rng, 5, lambda ids: table(table(ids), reverse=True))


def tied_by(table, rng):
    def there_and_back(ids):
        return table(layers.Dense(4)(table(ids)), reverse=True)

    return of_words(rng, 5, there_and_back)


def tied(rng):
    return tied_by(keras_hub.layers.ReversibleEmbedding(9, 4), rng)


def tied_with_soft_cap(rng):
    return tied_by(layers.ReversibleEmbedding(9, 4, logit_soft_cap=3.0), rng)


class Positions(layers.Layer):
    """Multiplies by position embeddings from one position on."""

    def __init__(self, **kwargs):
        super().__init__()
        self.positions = keras_hub.layers.PositionEmbedding(9)
        self.options = kwargs

    def build(self, shape):
        self.positions.build(shape)

    def call(self, inputs):
        return inputs * self.positions(inputs, **self.options)


def later_positions(rng):
    return of(rng, (3, 4, 5), Positions(start_index=2))


def positions_in_order(rng):
    return of(rng, (4, 5), Positions(positions=np.array([3, 0, 0, 5])))


# Layers called more than once.


def dense_twice(rng):
    layer = layers.Dense(3, "tanh")
    return of(rng, (4, 3), lambda x: layer(layer(x)) * layer(x))


def convolution_twice(rng):
    layer = layers.Conv2D(2, 3)
    return of(rng, (7, 7, 2), lambda x: layer(keras.ops.tanh(layer(x))))


def embedding_twice(rng):
    layer = layers.Embedding(9, 3)
    return of_words(rng, 4, lambda ids: layer(ids) * layer(keras.ops.flip(ids, 1)))


def recurrence_twice(rng):
    layer = layers.GRU(3, return_sequences=True)
    return of(rng, (3, 3), lambda x: layer(layer(x)))


def normalization_twice(rng):
    layer = layers.LayerNormalization()
    return of(rng, (4, 3), lambda x: layer(keras.ops.tanh(layer(x)) + x))


def nested_model_twice(rng):
    inside = keras.Sequential([layers.Dense(4, "tanh"), layers.Dense(3)])
    return of(rng, (3,), lambda x: inside(inside(x)) + inside(x))


def two_layers_of_one_kernel(rng):
    first, second = layers.Dense(3, "tanh"), layers.Dense(3)

    def both(x):
        y = first(x)
        second.build((None, 3))
        own = second._trainable_variables
        own[[v is second._kernel for v in own].index(True)] = first._kernel
        vars(second)["_kernel"] = first._kernel
        return second(y)

    return of(rng, (3,), both)


# Wrappers.


def convolutions_in_time(rng):
    return of(rng, (3, 4, 4, 2), layers.TimeDistributed(layers.Conv2D(2, 2)))


def words_in_time(rng):
    layer = layers.TimeDistributed(layers.Embedding(9, 3))
    inputs = keras.Input((3, 4), dtype="int32")
    return ends(inputs, layer(inputs)), rng.integers(0, 9, (EXAMPLES, 3, 4))


def activation_with_weights(rng):
    slope = layers.PReLU(shared_axes=[1])
    return of(rng, (4, 3), lambda x: layers.Dense(3, activation=slope)(slope(x)))


# Weights that are frozen or adapted.


def frozen_in_part(rng):
    first, second = layers.Dense(3, "tanh"), layers.Conv1D(2, 2)
    norm = layers.LayerNormalization()

    def chain(x):
        y = norm(second(first(x)))
        first.trainable = False
        second._kernel.trainable = False
        norm.gamma.trainable = False
        return y

    return of(rng, (4, 3), chain)


def adapted(layer, shape):
    def build(rng):
        made = layer()
        words = isinstance(made, layers.Embedding)
        model, x = of_words(rng, *shape, made) if words else of(rng, shape, made)
        made.enable_lora(2)
        return model, x

    return build


ADAPTED = {
    "dense": adapted(lambda: layers.Dense(4, "tanh"), (4, 5)),
    "einsum": adapted(
        lambda: layers.EinsumDense("abc,dec->abde", (4, 2, 3), bias_axes="e"), (4, 5)
    ),
    "einsum_of_capitals": adapted(
        lambda: layers.EinsumDense("...Z,ZA->...A", (3,)), (4, 5)
    ),
    "einsum_over_two": adapted(
        lambda: layers.EinsumDense("abde,fde->abf", (4, 4)), (4, 2, 3)
    ),
    "convolution": adapted(
        lambda: layers.Conv2D(3, (3, 2), padding="same", strides=2), (6, 6, 2)
    ),
    "dilated": adapted(
        lambda: layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (6, 2)
    ),
    "grouped": adapted(lambda: layers.Conv2D(4, 2, groups=2), (5, 5, 4)),
    "embedding": adapted(lambda: layers.Embedding(9, 4), (5,)),
}


def adapted_and_tied(rng):
    table = keras_hub.layers.ReversibleEmbedding(9, 4)
    model, x = tied_by(table, rng)
    table.enable_lora(2)
    return model, x


# Layers of one's own, without a rule.


class Weighted(layers.Layer):
    """Own weights before and behind a known layer; several outputs, one of them twice.

    Args:
        inner: A layer.
    """

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.inner.build(shape)

    def call(self, inputs, offset=None):
        before = inputs * self.scale
        if offset is not None:
            before = before + offset
        behind = self.inner(before)
        return behind, {"again": behind, "more": keras.ops.tanh(behind) * before}


class OneOutput(Weighted):
    def call(self, inputs):
        return self.inner(inputs * self.scale)


def own_layer(rng):
    layer = Weighted(layers.Dense(5))

    def all_of(x):
        first, rest = layer(x)
        return first * rest["again"] + rest["more"]

    return of(rng, (4, 5), all_of)


def own_layer_that_ends_in_a_known_one(rng):
    return of(rng, (4, 5), OneOutput(layers.Dense(3)))


class Masked(Weighted):
    """What is below it takes the mask that comes along with the inputs."""

    def call(self, inputs):
        return self.inner(inputs) * self.scale


def own_layer_around_a_masked_one(rng):
    def words(ids):
        return Masked(layers.SimpleRNN(3))(layers.Embedding(9, 3, mask_zero=True)(ids))

    return of_words(rng, 4, words)


class Offset(keras.Model):
    """Hands its layer a tensor that has no axis of examples."""

    def __init__(self):
        super().__init__()
        self.own, self.end = Weighted(layers.Dense(5)), layers.Dense(2)

    def call(self, inputs):
        steps = tf.cast(tf.range(tf.shape(inputs)[1]), inputs.dtype)
        return self.end(self.own(inputs, offset=0.1 * steps[:, tf.newaxis])[0])


def own_layer_with_an_argument_for_all(rng):
    model, x = Offset(), normal(rng, EXAMPLES, 4, 5)
    model(x)
    return model, x


class OwnModel(keras.Model):
    """A model with weights of its own."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(3, "tanh")

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), name="scale")
        self.first.build(shape)
        self.built = True

    def call(self, inputs):
        return self.first(inputs) * self.scale


def own_model(rng):
    model = OwnModel()
    model(normal(rng, EXAMPLES, 5))
    return model, normal(rng, EXAMPLES, 5)


class DenseCell(layers.Layer):
    """A recurrent cell made of two Dense layers."""

    def __init__(self):
        super().__init__()
        self.state_size = self.output_size = 3
        self.inputs, self.states = layers.Dense(3), layers.Dense(3, use_bias=False)

    def build(self, shape):
        self.inputs.build(shape)
        self.states.build((shape[0], 3))

    def call(self, inputs, states):
        h = keras.ops.tanh(self.inputs(inputs) + self.states(states[0]))
        return h, [h]


def own_cell(rng):
    return of(rng, (4, 2), layers.RNN(DenseCell()))


def stacked_cells(rng):
    cells = [layers.GRUCell(3), layers.LSTMCell(2), layers.SimpleRNNCell(2)]
    return of(rng, (3, 2), layers.RNN(cells))


def convolutional_recurrence(rng):
    return of(rng, (3, 4, 4, 2), layers.ConvLSTM2D(2, 2))


def mask_by_position(rng):
    """The mask as third positional argument."""
    inputs, mask = keras.Input((4, 2)), keras.Input((4,), dtype="bool")
    model = ends([inputs, mask], layers.GRU(3)(inputs, None, mask))
    return model, [normal(rng, EXAMPLES, 4, 2), holes(rng, 4)]


QUICK = [
    masked_cross_attention,
    grouped_query_attention,
    attention_with_a_scale,
    encoder,
    tied,
    untied,
    later_positions,
    positions_in_order,
    dense_twice,
    convolution_twice,
    embedding_twice,
    nested_model_twice,
    two_layers_of_one_kernel,
    words_in_time,
    activation_with_weights,
    frozen_in_part,
    adapted_and_tied,
    own_layer,
    own_layer_that_ends_in_a_known_one,
    own_layer_with_an_argument_for_all,
    own_layer_around_a_masked_one,
    own_model,
    own_cell,
    mask_by_position,
]
SLOW = [
    attention_over_several_axes,
    cached_attention,
    decoder,
    fourier_encoder,
    tied_with_soft_cap,
    recurrence_twice,
    normalization_twice,
    convolutions_in_time,
    stacked_cells,
    convolutional_recurrence,
]


def compare(build, rng, floatx):
    with oracle.precision(floatx):
        model, x = build(rng)
        y = normal(rng, *model(x).shape)
        # Low-rank weights, and so their gradients, are float32 in any layer.
        rounded = any(v.dtype != floatx for v in model.trainable_variables)
        assert_exact(model, x, rng, y, tolerance=1e-5 if rounded else None)


@pytest.mark.parametrize("build", QUICK)
def test_models(build, rng):
    compare(build, rng, ["float32", "float64"][rng.integers(2)])


@pytest.mark.slow
@pytest.mark.parametrize("build", [*QUICK, *SLOW])
@pytest.mark.parametrize("floatx", ["float32", "float64"])
def test_models_in_both_precisions(build, floatx, rng):
    compare(build, rng, floatx)


@pytest.mark.parametrize("build", ADAPTED.values(), ids=ADAPTED)
def test_adapted_layers(build, rng):
    compare(build, rng, ["float32", "float64"][rng.integers(2)])


# Recurrent layers.


@st.composite
def recurrent(draw):
    kind = draw(st.sampled_from([layers.GRU, layers.LSTM, layers.SimpleRNN]))
    config = {
        "units": draw(st.integers(1, 3)),
        "use_bias": draw(st.booleans()),
        "return_sequences": draw(st.booleans()),
        "go_backwards": draw(st.booleans()),
    }
    if kind is layers.GRU:
        config["reset_after"] = draw(st.booleans())
    if kind is not layers.SimpleRNN:
        config["implementation"] = draw(st.sampled_from([1, 2]))
    two_ways = draw(st.booleans()) and not config["go_backwards"]
    return kind, config, two_ways


@pytest.mark.parametrize(
    "models", [1, pytest.param(30, marks=pytest.mark.slow)], ids=["one", "many"]
)
def test_recurrent_layers(models):
    """Masks have holes anywhere, at the beginning and for whole examples too."""

    @draws(models)
    @given(
        drawn=recurrent(),
        steps=st.integers(1, 4),
        masked=st.booleans(),
        floatx=st.sampled_from(["float32", "float64"]),
        seed=SEEDS,
    )
    def check(drawn, steps, masked, floatx, seed):
        kind, config, two_ways = drawn
        note(f"{kind.__name__} {config}")
        rng = np.random.default_rng(seed)
        with oracle.precision(floatx):
            inputs, mask = keras.Input((steps, 2)), keras.Input((steps,), dtype="bool")
            layer = layers.Bidirectional(kind(**config)) if two_ways else kind(**config)
            outputs = layer(inputs, mask=mask if masked else None)
            model = ends([inputs, mask], outputs)
            there = rng.integers(0, 2, (EXAMPLES, steps)).astype(bool)
            assert_exact(model, [normal(rng, EXAMPLES, steps, 2), there], rng)

    check()


class Doubled(layers.LSTM):
    """A recurrent layer with a loop of the user's own."""

    def inner_loop(self, *args, **kwargs):
        last, outputs, states = super().inner_loop(*args, **kwargs)
        return 2 * last, outputs, states


class Signed(layers.GRUCell):
    """A cell of the user's own around one of Keras'."""

    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training)
        return keras.ops.abs(output), states


RECURRENT = {
    "custom inner loop": lambda: Doubled(3),
    "custom cell": lambda: layers.RNN(Signed(3)),
    "custom activation": lambda: layers.LSTM(3, activation=lambda x: keras.ops.sin(x)),
    "softmax": lambda: layers.SimpleRNN(3, activation="softmax"),
}


@pytest.mark.parametrize("make", RECURRENT.values(), ids=RECURRENT)
def test_recurrent_layers_of_the_user(make, rng):
    compare(lambda rng: of(rng, (3, 2), make()), rng, "float32")


# Losses and outputs.


def certain(rng, head):
    """Probabilities, some of them nearly certain."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, head(layers.Dense(3)(4 * inputs)))


HEADS = {
    "softmax": layers.Softmax,
    "sigmoid": lambda: layers.Activation("sigmoid"),
    "softmax op": lambda: keras.ops.softmax,
    "sigmoid op": lambda: keras.ops.sigmoid,
    "tf softmax": lambda: layers.Lambda(tf.nn.softmax),
}
LABELS = {
    "sparse_categorical_crossentropy": lambda rng: rng.integers(0, 3, EXAMPLES),
    "categorical_crossentropy": lambda rng: np.eye(3)[rng.integers(0, 3, EXAMPLES)],
    "binary_crossentropy": lambda rng: rng.integers(0, 2, (EXAMPLES, 3)),
}
QUICK_PAIRS = [
    ("softmax", "sparse_categorical_crossentropy"),
    ("sigmoid", "binary_crossentropy"),
    ("tf softmax", "categorical_crossentropy"),
    ("tf softmax", "binary_crossentropy"),  # does not fit together
]


def pairs():
    for head in HEADS:
        for loss in LABELS:
            marks = () if (head, loss) in QUICK_PAIRS else pytest.mark.slow
            yield pytest.param(head, loss, marks=marks)


@pytest.mark.parametrize(("head", "loss"), pairs())
def test_probabilities_that_came_from_logits(head, loss, rng):
    """Keras goes back to the logits, without which such gradients vanish."""
    model = scatter(certain(rng, HEADS[head]()), rng)
    x, y = normal(rng, EXAMPLES, 4), LABELS[loss](rng)
    assert_same(model, x, y, loss=loss, tolerance=1e-5)


def test_certain_and_wrong_has_a_gradient(rng):
    """p = 1e-13 for the label: from the probability alone the gradient would be 0."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, "sigmoid")])
    model.layers[0].set_weights([np.array([[-30.0]]), np.array([0.0])])
    ones = np.ones((1, 1), "float32")
    _, norms = clipped(model, ones, ones, engine="ghost", loss="binary_crossentropy")
    np.testing.assert_allclose(norms, [np.sqrt(2)], rtol=1e-5)


def test_masked_outputs(rng):
    """Masked steps do not count, and an example's loss is divided by its own steps."""

    def words(ids):
        steps = layers.Embedding(9, 4, mask_zero=True)(ids)
        return layers.Dense(3, "softmax")(layers.LSTM(3, return_sequences=True)(steps))

    ids = keras.Input((5,), dtype="int32")
    model = scatter(keras.Model(ids, words(ids)), rng)
    x, y = rng.integers(0, 9, (EXAMPLES, 5)), rng.integers(0, 3, (EXAMPLES, 5))
    x[0, 1:] = 0
    loss = "sparse_categorical_crossentropy"
    assert_same(model, x, y, loss=loss, tolerance=1e-5)


def test_several_inputs_and_outputs_with_weights(rng):
    first, second = keras.Input((4,)), keras.Input((3,))
    both = layers.Concatenate()([first, second])
    outputs = {"a": layers.Dense(2)(both), "b": layers.Dense(1, "sigmoid")(both)}
    model = scatter(keras.Model({"first": first, "second": second}, outputs), rng)
    model.compile(
        loss={"a": "mse", "b": "binary_crossentropy"}, loss_weights={"a": 0.3, "b": 2.0}
    )
    x = {"first": normal(rng, EXAMPLES, 4), "second": normal(rng, EXAMPLES, 3)}
    y = {"a": normal(rng, EXAMPLES, 2), "b": rng.integers(0, 2, (EXAMPLES, 1))}
    weight = {name: rng.uniform(0.1, 3, EXAMPLES).astype("float32") for name in y}
    assert_same(model, x, y, loss=None, sample_weight=weight, tolerance=1e-5)


LOSSES = {
    "function": lambda y, p: keras.ops.mean(keras.ops.abs(y - p) ** 1.5, axis=-1),
    "weighted": keras.losses.Huber(reduction="sum"),
    "cosine": keras.losses.CosineSimilarity(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses(loss, rng):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    x, y = normal(rng, EXAMPLES, 4), normal(rng, EXAMPLES, 3)
    assert_same(scatter(model, rng), x, y, loss=loss, tolerance=1e-5)


@pytest.mark.slow
def test_ctc(rng):
    """TensorFlow cannot vectorise this loss."""
    model = keras.Sequential([keras.Input((6, 4)), layers.Dense(5)])
    x, y = normal(rng, EXAMPLES, 6, 4), rng.integers(1, 4, (EXAMPLES, 2))
    assert_same(scatter(model, rng), x, y, loss=keras.losses.CTC(), tolerance=1e-5)
