"""What an example draws is its own: keyed from the operating system, for it alone."""

import os
import warnings

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from engines import clipped
from everyday.generative import Sampling
from keras import layers
from tensorflow.core.framework import node_def_pb2, op_def_pb2
from tensorflow.python.client import pywrap_tf_session

import tfpriv.dp as dp
from tfpriv.dp import keras_internals, validate
from tfpriv.dp.clipping import objective as objectives

ENGINES = ["ghost", "vectorized"]
ROWS = 4
UNCLIPPED = 1e9


def pin_key(patch):
    """Every key of the operating system is the same."""
    patch.setattr(os, "urandom", lambda size: bytes(range(1, size + 1)))


def seeds_of(model, count):
    """What the examples of a step draw from."""
    return objectives.example_seeds(
        objectives.draw_words(objectives.Objective(model, None)), count
    )


# Operations that draw beside the other examples are refused.


def operations():
    """The definition of every operation that TensorFlow has."""
    listed = op_def_pb2.OpList()
    buffer = pywrap_tf_session.TF_GetAllOpList()
    listed.ParseFromString(pywrap_tf_session.TF_GetBuffer(buffer))
    return {definition.name: definition for definition in listed.op}


def test_every_operation_with_a_seed_is_taken_for_a_draw():
    seeded = {
        name
        for name, definition in operations().items()
        if any("seed" in a.name and a.name != "Tseed" for a in definition.attr)
    }
    assert len(seeded) > 25
    harmless = {
        name
        for name in seeded
        for node in [node_def_pb2.NodeDef(op=name)]
        if not (validate._draws(node) or validate._keeps_state(node))
    }
    assert harmless == {"ComputeAccidentalHits"}


def test_no_other_stateful_operation_is_let_through():
    let_through = {
        name
        for name, definition in operations().items()
        for node in [node_def_pb2.NodeDef(op=name)]
        if definition.is_stateful
        and not (validate._draws(node) or validate._keeps_state(node))
    }
    assert let_through <= validate._HARMLESS


def test_recurrent_layers_of_cudnn_draw_if_they_drop_out():
    names = [name for name in operations() if name.startswith("CudnnRNN")]
    assert "CudnnRNNV3" in names
    for name in names:
        node = node_def_pb2.NodeDef(op=name)
        node.attr["dropout"].f = 0.0
        assert not validate._draws(node)
        assert not validate._keeps_state(node)
        node.attr["dropout"].f = 0.5
        assert validate._draws(node)


def test_modules_of_xla_draw_if_they_say_so():
    node = node_def_pb2.NodeDef(op="XlaCallModule")
    for module, draws in [
        (b"ML\xefR ... vhlo\0rng_v1\0", True),
        (b"stablehlo.rng %a, %b, %s", True),
        (b"ML\xefR ... rng_bit_generator_v1\0add_v1", False),
        (b"stablehlo.rng_bit_generator %s", False),
    ]:
        node.attr["module"].s = module
        assert validate._draws(node) is draws


GENERATOR = tf.random.Generator.from_seed(7)
SHARED = keras.random.SeedGenerator(7)  # of no layer


def image(x):
    return tf.reshape(x, [2, 2, 1])


def sampled_softmax(x, **options):
    sampled = tf.nn.sampled_softmax_loss(
        tf.ones([9, 4]), tf.ones([9]), tf.constant([[1]], tf.int64), x, 2, 9, **options
    )
    return sampled * x


def boxes(x, **options):
    box = tf.image.sample_distorted_bounding_box(
        [2, 2, 1], tf.zeros([0, 0, 4]), use_image_if_no_bounding_boxes=True, **options
    )
    return x + tf.cast(box[0][0], tf.float32)


SEEDED = {  # what takes a seed, of the operation
    "normal": lambda x, **s: x + tf.random.normal(tf.shape(x), **s),
    "uniform": lambda x, **s: x + tf.random.uniform(tf.shape(x), **s),
    "truncated": lambda x, **s: x + tf.random.truncated_normal(tf.shape(x), **s),
    "gamma": lambda x, **s: x + tf.random.gamma([], 1.0, **s),
    "poisson": lambda x, **s: x + tf.random.poisson([], 1.0, **s),
    "integers": lambda x, **s: (
        x + tf.cast(tf.random.uniform([], 0, 9, tf.int32, **s), tf.float32)
    ),
    "categorical": lambda x, **s: (
        x + tf.cast(tf.random.categorical(x, 1, **s), tf.float32)
    ),
    "shuffle": lambda x, **s: x + tf.random.shuffle(tf.range(4.0), **s),
    "dropout": lambda x, **s: tf.nn.dropout(x, 0.5, **s),
    "flip": lambda x, **s: x + tf.image.random_flip_left_right(image(x), **s)[0, 0, 0],
    "crop": lambda x, **s: x + tf.image.random_crop(image(x), [1, 1, 1], **s)[0, 0, 0],
    "sampled_softmax": sampled_softmax,
    "boxes": boxes,
}
OTHERS = {
    "generator": lambda x: x + GENERATOR.normal([4]),
    "not_deterministic": lambda x: (
        x + tf.cast(tf.raw_ops.NonDeterministicInts(shape=[4]), tf.float32)
    ),
    "fractional_max_pool": lambda x: (
        x + tf.nn.fractional_max_pool(image(x)[None], [1, 1.4, 1.4, 1])[0][0, 0, 0]
    ),
    "fractional_avg_pool": lambda x: (
        x + tf.nn.fractional_avg_pool(image(x)[None], [1, 1.4, 1.4, 1])[0][0, 0, 0]
    ),
    "python": lambda x: tf.numpy_function(lambda a: a, [x], tf.float32, stateful=False),
    "generator_of_no_layer": lambda x: x + keras.random.normal([4], seed=SHARED),
}


def in_a_map(draw):
    return lambda x: tf.map_fn(lambda row: draw(row[tf.newaxis])[0], x)


def in_a_loop(draw):
    return lambda x: tf.while_loop(
        lambda i, _: i < 1,
        lambda i, x: (i + 1, tf.ensure_shape(draw(x), [1, 4])),
        (0, x),
    )[1]


def in_a_condition(draw):
    return lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: draw(x), lambda: x)


def in_a_function(draw):
    return tf.function(tf.function(draw))


PLACES = [lambda draw: draw, in_a_map, in_a_loop, in_a_condition, in_a_function]


def refuses(function):
    """Whether the check refuses a graph that calls a function."""
    traced = tf.function(function).get_concrete_function(tf.TensorSpec([1, 4]))
    try:
        validate.check_no_state_updates(keras.Sequential(), traced.graph)
    except ValueError as error:
        return "keras.random" in str(error)
    return False


@pytest.mark.parametrize("place", PLACES)
def test_draws_of_tensorflow_are_refused(place):
    for seed in (None, 7):
        tf.random.set_seed(seed)
        found = {name for name, draw in SEEDED.items() if refuses(place(draw))}
        assert found == set(SEEDED)
    found = {
        name
        for name, draw in SEEDED.items()
        if refuses(place(lambda x, draw=draw: draw(x, seed=3)))
    }
    assert found == set(SEEDED)
    assert {name for name, draw in OTHERS.items() if refuses(place(draw))} == set(
        OTHERS
    )


@pytest.mark.parametrize("place", PLACES)
def test_functions_of_a_seed_pass(place):
    for stateless in (
        lambda x: x + tf.random.stateless_normal([4], [1, 2]),
        lambda x: tf.nn.experimental.stateless_dropout(x, 0.5, [1, 2]),
        lambda x: x + keras.random.normal([4], seed=3),
        lambda x: x + keras.ops.sum(x),
    ):
        assert not refuses(place(stateless))


class Noisy(layers.Layer):
    """A layer that calls a function in training."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs, training=False):
        return self.function(inputs) if training else inputs


def tf_noise(x):
    return x + 3 * tf.random.normal(tf.shape(x))


def test_draws_are_refused_before_anything_is_in_the_ledger(rng):
    def noisy_loss(y, y_pred):
        return keras.ops.mean((y - tf_noise(y_pred)) ** 2, axis=-1)

    for noisy, loss in ((tf_noise, "mse"), (lambda x: x, noisy_loss)):
        parts = [keras.Input((3,)), layers.Dense(2), Noisy(noisy)]
        model = dp.make_private(keras.Sequential(parts))
        optimizer = dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)
        model.compile(optimizer, loss=loss)
        x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
        keras.utils.set_random_seed(7)
        with pytest.raises(ValueError, match=r"keras\.random\.normal.*RandomStandardN"):
            model.fit(x, y, batch_size=3, verbose=0)
        assert len(model.privacy.ledger) == 0


# Draws of Keras are of one example.


class WithGenerator(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        shape = keras.ops.shape(inputs)
        return inputs * keras.random.normal(shape, seed=self.seed_generator)


def without_seed(inputs):
    return inputs * keras.random.normal(keras.ops.shape(inputs))


class Twice(layers.Layer):
    """The difference of two draws is not zero, and their product no square."""

    def call(self, inputs):
        return without_seed(inputs) - without_seed(inputs)


FEATURES = 32


def branched():
    """A model with one branch for each way to draw."""
    inputs = keras.Input((FEATURES,))
    spatial = layers.SpatialDropout1D(0.5)(inputs[:, None, :])[:, 0, :]
    branches = {
        "dropout": layers.Dropout(0.5)(inputs),
        "gaussian_noise": layers.GaussianNoise(1.0)(inputs),
        "spatial_dropout": spatial,
        "generator": WithGenerator()(inputs),
        "without_seed": layers.Lambda(without_seed)(inputs),
        "twice": Twice()(inputs),
    }
    heads = [
        layers.Dense(1, use_bias=False, name=f"head_{name}")(branch)
        for name, branch in branches.items()
    ]
    return keras.Model(inputs, layers.Add()(heads))


def drawn_sum(y, y_pred):
    """Its gradients are those of the outputs; the loss draws too."""
    factor = 1 + keras.random.uniform(keras.ops.shape(y_pred))
    return keras.ops.sum(y_pred * factor, axis=-1)


@pytest.fixture(scope="module", params=ENGINES)
def rows(request):
    """A function `(x)` -> gradients `(rows, branches, features)` of one step."""
    model = branched()

    def of_each(x):
        """All rows are in the batch, the weights of all but one are zero."""
        return np.stack(
            [
                np.squeeze(
                    clipped(
                        model,
                        x,
                        np.zeros((len(x), 1), "float32"),
                        engine=request.param,
                        l2_norm_clip=UNCLIPPED,
                        loss=drawn_sum,
                        sample_weight=weight,
                    )[0],
                    -1,
                )
                for weight in np.eye(len(x), dtype="float32")
            ]
        )

    return of_each


def test_one_example_more_leaves_the_draws_of_the_others(rows, rng, monkeypatch):
    pin_key(monkeypatch)
    x = rng.normal(size=(ROWS + 1, FEATURES)).astype("float32")
    together, without = rows(x), rows(x[:ROWS])
    np.testing.assert_allclose(together[:ROWS], without, rtol=1e-5, atol=1e-6)


def test_draws_differ_between_rows_steps_and_runs(rows):
    """Also after the first line of every tutorial."""
    same = np.ones((ROWS, FEATURES), "float32")
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        found += [rows(same)]  # each row in a step of its own
    drawn = np.concatenate(found)
    for branch in range(drawn.shape[1]):
        distinct = np.unique(drawn[:, branch].round(4), axis=0)
        assert len(distinct) == 2 * ROWS
        assert np.abs(np.corrcoef(distinct)[~np.eye(2 * ROWS, dtype=bool)]).max() < 0.9


def test_draws_of_one_step_are_independent(rng, monkeypatch):
    """Known masks would tie the examples of a batch together."""
    pin_key(monkeypatch)
    seeds = seeds_of(branched(), 128)
    assert len(seeds) == 4 + 1  # layers with a generator, and draws without a seed
    drawn = [
        np.stack([tf.random.stateless_normal([16], s) for s in tf.cast(rows, tf.int32)])
        for rows in seeds
    ]
    flat = np.stack([np.reshape(d, -1) for d in drawn])
    rolled = np.stack([np.reshape(np.roll(d, 1, axis=0), -1) for d in drawn])
    bound = 6 / np.sqrt(flat.shape[1])
    assert np.abs(np.corrcoef(flat)[~np.eye(len(flat), dtype=bool)]).max() < bound
    assert np.abs(flat * rolled).mean() < 1  # E |ab| is 2 / pi
    assert np.abs((flat * rolled).mean(axis=1)).max() < bound


def test_planted_draws_that_examples_share_are_found(rng, monkeypatch):
    """Were they not refused, one example more would move all the others."""
    monkeypatch.setattr(validate, "_draws", lambda node: False)
    monkeypatch.setattr(validate, "_keeps_state", lambda node: False)
    parts = [keras.Input((FEATURES,)), Noisy(tf_noise), layers.Dense(1)]
    model = keras.Sequential(parts)
    x = rng.normal(size=(32, FEATURES)).astype("float32")

    def total(x):
        tf.random.set_seed(7)
        options = {"engine": "vectorized", "l2_norm_clip": 0.1, "microbatch_size": 1}
        return clipped(model, x, np.zeros((len(x), 1), "float32"), **options)[0]

    assert oracle.distance(total(x), total(x[1:])) > 2 * 0.1


def noisy_penalty(weight):
    return keras.ops.sum(weight * keras.random.normal(keras.ops.shape(weight)))


@pytest.mark.filterwarnings("ignore:The fast engine is not exact")
def test_draws_without_a_seed_leave_the_generator_of_keras(rng):
    """It follows `set_random_seed`."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Lambda(without_seed),
            layers.Dense(1, kernel_regularizer=noisy_penalty),
        ]
    )
    generator = keras_internals.seed_module.global_seed_generator()
    before = generator.state.numpy()
    x, y = rng.normal(size=(ROWS, 3)), rng.normal(size=(ROWS, 1))
    dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0)
    assert keras_internals.seed_module.global_seed_generator() is generator
    np.testing.assert_array_equal(generator.state.numpy(), before)


# Layers that draw train, and their gradients are those of a loop.


def autoencoder():
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, "tanh")(inputs)
    code = Sampling()([layers.Dense(2)(hidden), layers.Dense(2)(hidden)])
    return keras.Model(inputs, layers.Dense(6, "sigmoid")(code))


def loop_with_draws(model, x, y):
    """Gradients of each example alone, who draws as it does in a batch."""
    seeds = seeds_of(model, len(x))
    found = []
    for i in range(len(x)):
        generators = keras_internals.seed_generators(model)
        of_row = [of_generator[i] for of_generator in seeds]
        with keras_internals.seeds_of_example(generators, of_row):
            found += oracle.gradients(model, x[i : i + 1], y[i : i + 1])
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_a_variational_autoencoder_is_that_of_the_loop(engine, rng, monkeypatch):
    pin_key(monkeypatch)
    model = autoencoder()
    model.compile(loss="binary_crossentropy")
    x = rng.uniform(size=(ROWS, 6)).astype("float32")
    expected = loop_with_draws(model, x, x)
    lengths = [oracle.norm(g) for g in expected]
    bound = float(np.median(lengths))
    sums, norms = clipped(model, x, x, engine=engine, loss=None, l2_norm_clip=bound)
    np.testing.assert_allclose(norms, lengths, rtol=1e-5)
    wanted = oracle.add([oracle.clip(g, bound) for g in expected])
    assert oracle.distance(sums, wanted) <= 1e-5 * ROWS * bound


def test_a_variational_autoencoder_trains(rng):
    model = dp.make_private(autoencoder())
    optimizer = dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)
    model.compile(optimizer, loss="binary_crossentropy")
    x = rng.uniform(size=(8, 6)).astype("float32")
    model.fit(x, x, batch_size=4, verbose=0)
    assert len(model.privacy.ledger) == 2


AUGMENTATIONS = {"RandAugment": {"num_ops": 1}, "AugMix": {"num_chains": 1}}


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_by_a_path_drawn_at_random(name, rng):
    layer = getattr(layers, name)(**AUGMENTATIONS[name])
    parts = [keras.Input((4, 4, 3)), layer, layers.Flatten(), layers.Dense(2)]
    model = dp.make_private(keras.Sequential(parts))
    optimizer = dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)
    model.compile(optimizer, loss="mse")
    x = rng.uniform(0, 255, (8, 4, 4, 3)).astype("float32")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model.fit(x, rng.normal(size=(8, 2)), batch_size=4, verbose=0)
    said = [str(w.message) for w in warned]
    if name == "RandAugment":  # AugMix chooses in Python what is traced
        assert any("TensorFlow cannot vectorise" in text for text in said)
    # No rule is blamed for what was drawn.
    assert not any("not exact" in text for text in said)
    assert len(model.privacy.ledger) == 2


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_layers_that_need_other_examples_are_refused(name, rng):
    def around(layer):
        return keras.Sequential([keras.Input((4, 4, 3)), layer, layers.Flatten()])

    def mixes():
        return getattr(layers, name)()

    for layer in (mixes(), layers.Pipeline([mixes()]), around(mixes())):
        with pytest.raises(ValueError, match=f"{name} mixes each example with another"):
            dp.make_private(around(layer))


# Layers that TensorFlow cannot map over examples are mapped one by one.


def positive_mean(x):
    """How many entries are positive differs between examples."""
    return tf.reduce_mean(tf.boolean_mask(x, x > 0)) * x


def largest_axis(x):
    """TensorFlow's argmax takes seven axes; with that of the batch there are eight."""
    deep = x[:, None, None, None, None, None, :]
    chosen = tf.cast(tf.argmax(deep, axis=-1), x.dtype)
    return x * (1.0 + tf.reshape(chosen, [-1, 1]))


@pytest.mark.parametrize("function", [positive_mean, largest_axis])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_cannot_be_mapped_at_once_is_mapped_one_by_one(function, engine, rng):
    parts = [keras.Input((5,)), layers.Lambda(function), layers.Dense(2)]
    model = keras.Sequential(parts)
    x = np.abs(rng.normal(size=(ROWS, 5))).astype("float32")
    x[0, :2] *= -1
    x[2, :1] *= -1
    y = rng.normal(size=(ROWS, 2)).astype("float32")
    with pytest.warns(UserWarning, match="TensorFlow cannot vectorise"):
        oracle.assert_exact(
            model, x, y, loss=keras.losses.MeanSquaredError(), engine=engine
        )
