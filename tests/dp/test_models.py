"""Every way to write a Keras model: its clipped sums are those of the loop."""

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from keras import layers

import tfpriv.dp as dp

EXAMPLES = 4
MSE = keras.losses.MeanSquaredError


@pytest.fixture(params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def floatx(request):
    """The stricter precision first."""
    with oracle.precision(request.param):
        yield request.param


def normal(rng, *shape):
    return rng.normal(size=(EXAMPLES, *shape)).astype(keras.config.floatx())


def compiled(model, **kwargs):
    """Compiled by Keras itself: the oracle then uses Keras' own total loss."""
    model.compile(optimizer="sgd", **kwargs)
    return model


class Subclassed(keras.Model):
    """Unbuilt until its first call; its layers have no shapes before that."""

    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(4, activation="tanh")
        self.out = layers.Dense(2)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


@keras.saving.register_keras_serializable("tests")
class Activity(layers.Layer):
    """Adds a loss per example, as sparse coding does."""

    def call(self, inputs):
        self.add_loss(keras.ops.sum(keras.ops.abs(inputs)))
        return inputs


class Faint(keras.losses.Loss):
    """A loss with gradients of 1e-6."""

    def call(self, y_true, y_pred):
        return 1e-6 * keras.ops.sum(y_pred, axis=-1)


def test_subclassed_model_is_built_by_the_first_call(rng, floatx):
    model = Subclassed()
    assert not model.built
    oracle_of = Subclassed()
    x, y = normal(rng, 3), normal(rng, 2)
    oracle_of(x)
    dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0)
    assert model.built
    oracle.assert_exact(model, x, y, loss=MSE())


def test_several_inputs_and_outputs(rng, floatx):
    a, b = keras.Input((3,)), keras.Input((4, 2))
    both = layers.Concatenate()([layers.Dense(3, "tanh")(a), layers.Flatten()(b)])
    model = compiled(
        keras.Model([a, b], [layers.Dense(2)(both), layers.Dense(3)(both)]),
        loss=["mse", "mae"],
        loss_weights=[1.0, 0.25],
    )
    x = [normal(rng, 3), normal(rng, 4, 2)]
    oracle.assert_exact(model, x, [normal(rng, 2), normal(rng, 3)])


def test_dicts_of_inputs_outputs_losses_and_weights(rng, floatx):
    image, age = keras.Input((4, 4, 1), name="image"), keras.Input((1,), name="age")
    seen = layers.Flatten()(layers.Conv2D(2, 2, activation="tanh")(image))
    both = layers.Concatenate()([seen, age])
    outputs = {
        "kind": layers.Dense(3, "softmax", name="kind")(both),
        "height": layers.Dense(1, name="height")(both),
    }
    model = compiled(
        keras.Model({"image": image, "age": age}, outputs),
        loss={"kind": "sparse_categorical_crossentropy", "height": "mse"},
        loss_weights={"kind": 0.5, "height": 2.0},
    )
    x = {"image": normal(rng, 4, 4, 1), "age": normal(rng, 1)}
    y = {"kind": rng.integers(0, 3, (EXAMPLES, 1)), "height": normal(rng, 1)}
    weight = {"kind": rng.uniform(0.5, 2, EXAMPLES), "height": np.ones(EXAMPLES)}
    oracle.assert_exact(model, x, y)
    oracle.assert_exact(model, x, y, sample_weight=weight)


def test_sample_weights(rng, floatx):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, "tanh")])
    x, y, weight = normal(rng, 3), normal(rng, 2), rng.uniform(0.1, 3, EXAMPLES)
    oracle.assert_exact(model, x, y, loss=MSE(), sample_weight=weight)


def test_masks_leave_padding_out_of_the_loss(rng, floatx):
    ids = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(7, 3, mask_zero=True)(ids)
    model = keras.Model(ids, layers.Dense(4, "softmax")(embedded))
    x = rng.integers(1, 7, (EXAMPLES, 5))
    x[:, 3:] = 0
    y = rng.integers(0, 4, (EXAMPLES, 5))
    loss = keras.losses.SparseCategoricalCrossentropy()
    found = oracle.assert_exact(model, x, y, loss=loss)
    y[:, 3:] = (y[:, 3:] + 1) % 4  # labels of padding change nothing
    again = oracle.gradients(model, x, y, loss=loss)
    for one, other in zip(found, again, strict=True):
        assert oracle.distance(one, other) == 0


def test_frozen_layers_are_left_out(rng, floatx):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, "tanh", trainable=False),
            layers.BatchNormalization(trainable=False),
            layers.Dense(2),
        ]
    )
    assert len(model.trainable_variables) == 2
    oracle.assert_exact(model, normal(rng, 3), normal(rng, 2), loss=MSE())


def test_losses_added_by_layers_and_weight_regularisers(rng, floatx):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.1)),
            Activity(),
            layers.ActivityRegularization(l2=0.2),
            layers.Dense(2, bias_regularizer="l1"),
        ]
    )
    x, y = normal(rng, 3), normal(rng, 2)
    compiled(model, loss="mse")
    with_penalties = oracle.assert_exact(model, x, y)
    bare = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh")])
    bare.add(layers.Dense(2))
    bare.set_weights(model.get_weights())
    without = oracle.gradients(bare, x, y, loss=MSE())
    assert oracle.distance(with_penalties[0], without[0]) > 1e-3


def test_own_compute_loss_without_labels(rng, floatx):
    class Autoencoder(keras.Model):
        def compute_loss(self, x, y, y_pred, sample_weight, training=True):
            del y, sample_weight, training
            return keras.ops.mean(keras.ops.square(x - y_pred)) + sum(self.losses)

    x = keras.Input((4,))
    hidden = layers.Dense(2, "tanh", kernel_regularizer="l2")(x)
    model = compiled(Autoencoder(x, layers.Dense(4)(hidden)))
    oracle.assert_exact(model, normal(rng, 4))


def test_model_trained_by_added_losses_alone(rng, floatx):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), Activity()])
    oracle.assert_exact(compiled(model), normal(rng, 3))


def test_output_without_a_loss(rng, floatx):
    x = keras.Input((3,))
    hidden = layers.Dense(3, "tanh")(x)
    model = keras.Model(x, [layers.Dense(2)(hidden), hidden])
    compiled(model, loss=["mse", None])
    oracle.assert_exact(model, normal(rng, 3), [normal(rng, 2), normal(rng, 3)])


def test_no_leading_none(rng):
    """A fixed batch size in the model's input is no obstacle to a batch of one."""
    model = keras.Sequential(
        [keras.Input((2, 3)), layers.Reshape((3, 2)), layers.Flatten(), layers.Dense(1)]
    )
    oracle.assert_exact(model, normal(rng, 2, 3), normal(rng, 1), loss=MSE())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(rng, policy):
    """Products are rounded to half precision, whose order is TensorFlow's own."""
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, activation="relu", dtype=policy),
            layers.Flatten(dtype=policy),
            layers.Dense(4, "tanh", dtype=policy),
            layers.Dense(2, dtype="float32"),
        ]
    )
    half = 2**-10 if policy == "mixed_float16" else 2**-7
    x, y = normal(rng, 6, 6, 2), normal(rng, 2)
    oracle.assert_exact(model, x, y, loss=MSE(), tolerance=8 * half)
    gradients, _ = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0)
    assert all(g.dtype == tf.float32 for g in gradients)


def test_loss_scale_is_undone_before_clipping(rng):
    """Gradients that float16 cannot hold survive, and are clipped unscaled."""
    x, y = 1e-3 * normal(rng, 3), normal(rng, 1)

    def change(scale, bound, engine="auto"):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(1, None, False, "zeros", dtype="mixed_float16"),
            ]
        )
        optimizer = dp.DPSGD(
            1.0, l2_norm_clip=bound, noise_multiplier=0, loss_scale_factor=scale
        )
        model = dp.make_private(model, max_occurrences=1, engine=engine)
        model.compile(optimizer, loss=Faint())
        model.train_on_batch(x, y)
        return np.linalg.norm(model.get_weights()[0])

    assert change(None, 1e-9, "vectorized") == 0  # underflow, without the scale
    exact = np.linalg.norm(np.mean(1e-6 * x, axis=0))
    np.testing.assert_allclose(change(2.0**16, 1.0), exact, rtol=2e-2)
    # Clipped to 1e-12, each; a mean of four such vectors is not longer.
    assert 0 < change(2.0**16, 1e-12) <= 1e-12 * (1 + 1e-5)


def test_weights_in_half_precision_are_summed_in_float32(rng):
    """In bfloat16, 256 + 1 is 256: an example could move the sum by far more."""
    model = keras.Sequential(
        [keras.Input((2,), dtype="bfloat16"), layers.Dense(1, dtype="bfloat16")]
    )
    x = rng.normal(size=(500, 2)).astype("float32")
    x, y = tf.cast(x, tf.bfloat16), tf.cast(100 + x[:, :1], tf.bfloat16)
    gradients, norms = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0)
    assert all(g.dtype == tf.float32 for g in gradients)
    assert norms.dtype == tf.float32
    assert oracle.norm([g.numpy() for g in gradients]) <= 500
    bias = gradients[1].numpy()
    assert bias != tf.cast(tf.cast(bias, tf.bfloat16), tf.float32)


def test_inside_a_function_of_the_users_own(rng, floatx):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, "tanh")])
    x, y = normal(rng, 3), normal(rng, 2)

    @tf.function
    def step(x, y):
        return dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=0.3)

    eager, lengths = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=0.3)
    for size in (EXAMPLES, 1):  # one trace for each size
        sums, norms = step(x[:size], y[:size])
        np.testing.assert_allclose(norms, lengths[:size], rtol=1e-6)
    sums, _ = step(x, y)
    assert oracle.distance(sums, eager) <= 1e-6 * 0.3 * EXAMPLES


def test_nothing_is_kept_alive_by_what_was_prepared():
    import gc
    import weakref

    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    dp.clipped_gradients(
        model, np.ones((2, 3)), np.ones((2, 2)), loss="mse", l2_norm_clip=1.0
    )
    alive = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert alive() is None


def test_a_new_compile_is_a_new_loss(rng):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    x, y = normal(rng, 3), normal(rng, 2)
    compiled(model, loss="mse")
    oracle.assert_exact(model, x, y)
    compiled(model, loss="mae")
    oracle.assert_exact(model, x, y)


def test_unfreezing_is_noticed(rng):
    first = layers.Dense(2, trainable=False)
    model = keras.Sequential([keras.Input((3,)), first, layers.Dense(2)])
    x, y = normal(rng, 3), normal(rng, 2)
    oracle.assert_exact(model, x, y, loss=MSE())
    first.trainable = True
    assert len(oracle.assert_exact(model, x, y, loss=MSE())[0]) == 4


def test_saving_is_not_disturbed_by_what_was_prepared(rng, tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    x, y = normal(rng, 3), normal(rng, 2)
    dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(x), model(x))
    model.export(tmp_path / "exported", verbose=False)


# The same, by the train step of a private model.


def assert_step_is_the_mean(model, x, y, sample_weight=None, **compile_options):
    """Without noise, a step of DP-SGD moves weights by the mean clipped gradient."""
    rate = 0.5
    compiled(model, **compile_options)
    alone = oracle.gradients(model, x, y, sample_weight=sample_weight)
    bound = float(np.median([oracle.norm(g) for g in alone]))
    wanted = oracle.add([oracle.clip(g, bound) for g in alone])
    before = [v.numpy() for v in model.trainable_variables]
    dp.make_private(model, max_occurrences=1, microbatch_size=3)
    optimizer = dp.DPSGD(rate, l2_norm_clip=bound, noise_multiplier=0)
    model.compile(optimizer=optimizer, **compile_options)
    logs = model.train_on_batch(x, y, sample_weight=sample_weight, return_dict=True)
    moved = [
        (b - v.numpy()) * EXAMPLES / rate
        for b, v in zip(before, model.trainable_variables, strict=True)
    ]
    assert oracle.distance(moved, wanted) <= 1e-9 * EXAMPLES * bound
    return logs


@pytest.fixture
def double():
    with oracle.precision("float64"):
        yield


@pytest.mark.usefixtures("double")
def test_training_a_subclassed_model(rng):
    model = Subclassed()
    model(normal(rng, 3))
    logs = assert_step_is_the_mean(
        model, normal(rng, 3), normal(rng, 2), loss="mse", metrics=["mae"]
    )
    assert {"loss", "mae"} <= set(logs)


@pytest.mark.usefixtures("double")
def test_training_with_dicts_weights_and_metrics(rng):
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    both = layers.Concatenate()([a, b])
    outputs = {
        "kind": layers.Dense(3, "softmax", name="kind")(both),
        "height": layers.Dense(1, name="height")(both),
    }
    logs = assert_step_is_the_mean(
        keras.Model({"a": a, "b": b}, outputs),
        {"a": normal(rng, 3), "b": normal(rng, 2)},
        {"kind": rng.integers(0, 3, (EXAMPLES, 1)), "height": normal(rng, 1)},
        {"kind": rng.uniform(0.5, 2, EXAMPLES), "height": np.ones(EXAMPLES)},
        loss={"kind": "sparse_categorical_crossentropy", "height": "mse"},
        loss_weights={"kind": 0.5, "height": 2.0},
        metrics={"kind": ["accuracy"]},
    )
    assert {"loss", "kind_accuracy"} <= set(logs)


@pytest.mark.usefixtures("double")
def test_training_with_class_weights(rng):
    """A class weight is the sample weight of the examples of that class."""
    x, y = normal(rng, 3), np.array([0, 1, 1, 2])
    weights = {0: 0.5, 1: 2.0, 2: 1.0}
    changes = []
    start = None
    for option in (
        {"class_weight": weights},
        {"sample_weight": np.array([weights[c] for c in y])},
        {},
    ):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(3, "softmax")])
        start = start or model.get_weights()
        model.set_weights(start)
        dp.make_private(model, max_occurrences=1)
        model.compile(
            optimizer=dp.DPSGD(1.0, l2_norm_clip=100.0, noise_multiplier=0),
            loss="sparse_categorical_crossentropy",
        )
        model.train_on_batch(x, y, **option)
        changes.append([w - s for w, s in zip(model.get_weights(), start, strict=True)])
    assert oracle.distance(changes[0], changes[1]) < 1e-12
    assert oracle.distance(changes[0], changes[2]) > 1e-3


@pytest.mark.usefixtures("double")
def test_training_with_masks(rng):
    ids = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(7, 3, mask_zero=True)(ids)
    model = keras.Model(ids, layers.Dense(4, "softmax")(embedded))
    x = rng.integers(1, 7, (EXAMPLES, 5))
    x[:, 3:] = 0
    y = rng.integers(0, 4, (EXAMPLES, 5))
    assert_step_is_the_mean(model, x, y, loss="sparse_categorical_crossentropy")
