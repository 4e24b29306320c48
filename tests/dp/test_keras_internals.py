"""Every private name of Keras and TensorFlow that is used exists and behaves.

When a release moves one of them, this file fails before anything else does.
"""

import inspect

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfpriv.dp import keras_internals as internals
from tfpriv.dp import tensorflow_internals
from tfpriv.dp.clipping import converters


@pytest.fixture
def model():
    inputs = keras.Input((3,))
    inner = keras.Sequential([layers.Dense(4), layers.Dropout(0.5)], name="inner")
    return keras.Model(inputs, layers.Dense(2)(inner(inputs)))


def test_flatten_layers(model):
    found = internals.flatten_layers(model)
    assert found[0] is model
    kinds = [type(layer).__name__ for layer in found]
    assert kinds.count("Dense") == 2
    assert kinds.count("Dropout") == 1
    assert len({id(layer) for layer in found}) == len(found)


def test_past_preprocessing(model):
    """KerasHub's own `fit` would preprocess what is prepared, and read ahead."""
    backbone = keras_hub.models.ViTBackbone((4, 4, 3), (4, 4), 1, 1, 4, 4)
    task = keras_hub.models.ViTImageClassifier(backbone, num_classes=2)
    for name in ("fit", "train_on_batch"):
        inner = getattr(internals.past_preprocessing(task, None), name)
        assert inner.__func__ is getattr(keras.Model, name)
    assert internals.past_preprocessing(model, "parent") == "parent"


def test_plain_graphs(model):
    class Subclass(keras.Sequential):
        pass

    assert internals.is_plain_graph(model)
    assert internals.is_plain_graph(keras.Sequential())
    assert not internals.is_plain_graph(Subclass())
    assert not internals.is_plain_graph(layers.Dense(1))


def test_constructed_by():
    with internals.constructed_by(layers.Dropout, lambda rate: ("outer", rate)):
        with internals.constructed_by(layers.Dropout, lambda rate: ("inner", rate)):
            assert layers.Dropout(0.5) == ("inner", 0.5)
            assert layers.Dropout.from_config({"rate": 0.5}) == ("inner", 0.5)
        assert layers.Dropout(rate=0.5) == ("outer", 0.5)
    assert layers.Dropout(0.5).rate == 0.5


def test_own_variables():
    attention = layers.MultiHeadAttention(1, 2)
    attention.build((None, 3, 4), (None, 3, 4))
    assert internals.own_variables(attention) == []
    norm = layers.BatchNormalization()
    norm.build((None, 3))
    assert len(internals.own_variables(norm)) == 4
    assert all(isinstance(v, keras.Variable) for v in internals.own_variables(norm))


def test_compiled_loss_and_tracker(model):
    model.compile("sgd", "mse")
    assert isinstance(internals.compiled_loss(model), internals.CompileLoss)
    tracker = internals.loss_tracker(model)
    tracker.update_state(3.0)
    assert model.get_metrics_result()["loss"] == 3.0


def test_after_cloning_sequential(monkeypatch):
    name, seen = "_clone_sequential_model", []
    monkeypatch.setattr(internals.cloning, name, getattr(internals.cloning, name))
    internals.after_cloning_sequential(lambda *pair: seen.append(pair))
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert seen == [(model, keras.models.clone_model(model))]


def test_total_loss_is_what_keras_minimises(model):
    model.compile("sgd", keras.losses.MeanSquaredError(reduction=None))
    x, y = np.ones((5, 3)), np.zeros((5, 2))
    y_pred = internals.call_model(model, tf.constant(x), training=False)
    compiled = internals.compiled_loss(model)
    total = internals.total_loss(model, compiled, {"x": x, "y": y}, y_pred)
    np.testing.assert_allclose(total, np.sum(np.mean(y_pred**2, -1)), rtol=1e-5)


def test_models_whose_call_takes_no_training():
    class Plain(keras.Model):
        def call(self, inputs):
            return 2 * inputs

    model = Plain()
    assert internals.call_model(model, tf.constant(3.0), training=True) == 6


def test_quiet_losses_track_nothing(model):
    outputs = [model.output, layers.Dense(1)(model.output)]
    model = keras.Model(model.input, outputs)
    model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 2.0])
    x = np.ones((4, 3))
    y = [np.zeros((4, 2)), np.zeros((4, 1))]
    y_pred = model(x)
    loud = internals.compiled_loss(model)
    quiet = internals.quiet_copy(loud)
    assert quiet(y, y_pred) == loud(y, y_pred)
    assert len(loud.metrics) == 2
    assert all(m is None for m in quiet.metrics)
    with internals.instead_of(model, _compile_loss=quiet):
        assert internals.compiled_loss(model) is quiet
    assert internals.compiled_loss(model) is loud
    assert internals.quiet_copy(None) is None


def test_seed_generators(model):
    generators = internals.seed_generators(model)
    assert len(generators) == 1
    assert isinstance(generators[0], keras.random.SeedGenerator)


def test_seeds_of_an_example_replace_the_counter(model):
    [generator] = internals.seed_generators(model)
    before = generator.state.numpy()
    x = tf.ones((1, 3))

    def run(seed):
        seeds = [tf.constant(seed, tf.int64)] * 2
        with internals.seeds_of_example([generator], seeds):
            return model(x, training=True).numpy()

    outputs = {run([seed, 0]).tobytes() for seed in range(8)}
    assert len(outputs) > 1
    np.testing.assert_array_equal(run([3, 5]), run([3, 5]))
    np.testing.assert_array_equal(generator.state, before)  # its own did not move
    assert "next" not in vars(generator)
    generator.next()
    assert not np.array_equal(generator.state, before)


def test_two_draws_of_one_generator_differ(model):
    [generator] = internals.seed_generators(model)
    with internals.seeds_of_example([generator], [tf.constant([1, 2], tf.int64)] * 2):
        assert not np.array_equal(generator.next(), generator.next())


def test_draws_without_a_seed_come_from_the_last_seed():
    keras.utils.set_random_seed(7)
    before = keras.random.normal([3]).numpy()
    keras.utils.set_random_seed(7)

    def draw(seed):
        with internals.seeds_of_example([], [tf.constant(seed, tf.int64)]):
            return [keras.random.normal([3]).numpy() for _ in range(2)]

    (first, second), again, (other, _) = draw([1, 2]), draw([1, 2]), draw([1, 3])
    np.testing.assert_array_equal([first, second], again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(keras.random.normal([3]), before)  # not advanced


def test_what_adapt_left_in_layers():
    def found(layer, data=None):
        if data is not None:
            layer.adapt(data)
        return internals.may_be_adapted(layer)

    numbers, words = np.arange(6.0).reshape(3, 2), np.array(["a b", "b c"])
    assert found(layers.Normalization(), numbers)
    built = layers.Normalization()
    built.build((None, 2))
    assert not found(built)
    built.set_weights([np.ones(2), np.ones(2), np.array(0)])  # as from a file
    assert found(built)
    assert not found(layers.Normalization())
    assert not found(layers.Normalization(mean=0.5, variance=2.0))
    assert found(layers.Discretization(num_bins=2), numbers)
    assert not found(layers.Discretization(num_bins=2))
    assert not found(layers.Discretization([0.0, 1.0]))
    assert found(layers.IntegerLookup(), np.array([[1], [2]]))
    assert not found(layers.IntegerLookup())
    assert not found(layers.IntegerLookup(vocabulary=[1, 2]))
    for text in (layers.StringLookup, layers.TextVectorization):
        assert found(text(), words)
        assert not found(text())
        assert not found(text(vocabulary=["a", "b"]))
        again = text.from_config(text(vocabulary=["a", "b"]).get_config())
        assert not found(again)

    space = keras.utils.FeatureSpace(
        {"size": keras.utils.FeatureSpace.float_normalized()}
    )
    assert not found(space)
    assert found(space, {"size": np.array([1.0, 2.0])})

    class Own(layers.Layer):
        def adapt(self, data):
            pass

    assert found(Own())


def test_masks_travel():
    source, target = tf.ones((2, 3)), tf.zeros((2, 3))

    def with_mask_of_source():
        output = internals.Output.of(source)
        return output.replaced({**output.tensors, "value": target})

    assert internals.get_keras_mask(with_mask_of_source()) is None
    internals.set_keras_mask(source, tf.constant([True, False]))
    mask = internals.get_keras_mask(with_mask_of_source())
    assert mask.numpy().tolist() == [True, False]


def test_wrappers_have_their_names():
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    assert internals.inner_optimizer_kind(wrapped) == "LossScaleOptimizer"
    wrapped = keras.optimizers.MultiOptimizer(["sgd", "adam"])
    assert internals.inner_optimizer_kind(wrapped) == "MultiOptimizer"
    assert internals.inner_optimizer_kind(keras.optimizers.SGD()) is None


def test_data_adapters():
    assert internals.unpack_x_y_sample_weight((1, 2, 3)) == (1, 2, 3)
    assert internals.unpack_x_y_sample_weight((1,)) == (1, None, None)
    weights = internals.class_weight_to_sample_weights(
        np.array([0, 1, 1]), {0: 1, 1: 3}
    )
    assert list(weights) == [1, 3, 3]


def test_arguments_that_are_passed_on():
    """`PrivateModel.compile` and the backup callback rely on these signatures."""
    compile_arguments = inspect.signature(keras.Model.compile).parameters
    for name in ("optimizer", "loss", "steps_per_execution", "auto_scale_loss"):
        assert name in compile_arguments
    assert callable(keras.callbacks.BackupAndRestore._save_model)


def test_fit_reads_the_initial_epoch(model):
    """`skip_all_epochs` and `forget_resumed_epoch` set what `fit` reads."""
    source = inspect.getsource(type(model).fit)
    assert "_initial_epoch" in source


# TensorFlow.


def test_definitions_say_which_operations_are_stateful():
    stateful = {
        name: getattr(tensorflow_internals.op_definition(name), "is_stateful", None)
        for name in ("AssignVariableOp", "LookupTableInsertV2", "MatMul", "no such")
    }
    assert list(stateful.values()) == [True, True, False, None]


def test_converters_of_vectorized_map():
    known = tensorflow_internals.converters
    before = dict(known)
    with converters.exact_converters():
        assert known["Squeeze"] is not before["Squeeze"]
        assert known["BatchMatMulV2"] is not before["BatchMatMulV2"]
        assert tensorflow_internals.vectorizer._fallback_converter is converters._loop
        with converters.exact_converters():
            pass
        assert known["Squeeze"] is not before["Squeeze"]
    assert known == before
    ours = tensorflow_internals.vectorizer._fallback_converter
    assert ours is converters._ORIGINAL_LOOP


@pytest.mark.parametrize("function", [tf.nn.softmax, tf.nn.log_softmax])
def test_softmax_under_vectorized_map(rng, function):
    x = tf.constant(rng.normal(size=(3, 2, 3)).astype("float32"))
    np.testing.assert_allclose(mapped(function, x), function(x), rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.where(x > 0)[0],
        lambda x: tf.unique(x).y[0],
        lambda x: x[: tf.cast(tf.reduce_sum(x), tf.int32)][0],
        lambda x: tf.image.non_max_suppression(x[None, :4], x[:1], 1)[0],
    ],
)
def test_outputs_that_are_sized_by_values_are_not_vectorised(function):
    x = tf.ones((3, 4))
    with pytest.raises(NotImplementedError, match="as many outputs as the values"):
        mapped(function, x)


def test_outputs_that_are_sized_by_a_common_shape_are_vectorised():
    @tf.function
    def dropped(x):
        def of_one(i):
            return tf.nn.experimental.stateless_dropout(x[i], 0.5, [i, 0])

        return mapped(of_one, tf.range(3))

    shape = [3, None, 2]  # of sequences
    drawn = dropped.get_concrete_function(tf.TensorSpec(shape))(tf.ones((3, 4, 2)))
    assert set(np.unique(drawn)) == {0.0, 2.0}


def mapped(function, *arrays):
    with converters.exact_converters():
        return tf.vectorized_map(lambda row: function(*row), arrays)


@pytest.mark.parametrize("examples", [1, 2, 5])
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
def test_products_under_vectorized_map(rng, examples, transposed):
    """Every mixture of matrices with and without an example axis."""
    a, b = transposed
    x = rng.normal(size=(examples, 1, 4, 3)).astype("float32")
    y = rng.normal(size=(examples, 1, 3, 5)).astype("float32")
    x = np.swapaxes(x, -1, -2) if a else x
    y = np.swapaxes(y, -1, -2) if b else y
    options = {"transpose_a": a, "transpose_b": b}
    for left, right in ((x, y), (x, y[0]), (x, y[0, 0]), (x[0], y), (x[0, 0], y)):
        is_mapped = [s.ndim == 4 for s in (left, right)]
        fixed = [tf.constant(s) for s in (left, right)]

        def product(i, is_mapped=is_mapped, fixed=fixed):
            sides = [
                tf.gather(s, i) if m else s
                for m, s in zip(is_mapped, fixed, strict=True)
            ]
            return tf.matmul(*sides, **options)

        found = mapped(product, tf.range(examples))
        for i in range(examples):
            wanted = [
                s[i] if m else s for m, s in zip(is_mapped, (left, right), strict=True)
            ]
            wanted = [
                np.swapaxes(s, -1, -2) if t else s
                for s, t in zip(wanted, transposed, strict=True)
            ]
            np.testing.assert_allclose(
                found[i], wanted[0] @ wanted[1], rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("examples", [1, 3])
def test_squeeze_under_vectorized_map(examples):
    x = tf.zeros((examples, 1, 2, 1))
    assert mapped(tf.squeeze, x).shape == (examples, 2)
    assert mapped(lambda t: tf.squeeze(t, 0), x).shape == (examples, 2, 1)
    assert mapped(lambda t: tf.squeeze(t, [-1]), x).shape == (examples, 1, 2)
    full = tf.zeros((examples, 3, 2))
    assert mapped(tf.squeeze, full).shape == (examples, 3, 2)
