"""`replace_batchnorm`: GroupNormalization in place, all else as it was."""

import pathlib
import pickle

import batchnorm_families
import keras
import keras_hub
import numpy as np
import pytest
from keras import layers

import tfpriv.dp as dp
from tfpriv.dp.group_normalization import GroupNormalization


def residual_network(normalisation):
    """A small ResNet, with a nested model and a head after a Dense layer."""

    def block(x, width, stride):
        y = layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(normalisation(name=f"norm_{width}_a")(y))
        y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
        y = normalisation(name=f"norm_{width}_b", scale=False)(y)
        return layers.ReLU()(y + layers.Conv2D(width, 1, stride)(x))

    inner_input = keras.Input((4, 4, 8))
    inner = keras.Model(inner_input, block(inner_input, 12, 2), name="inner")
    x = keras.Input((8, 8, 3))
    y = inner(block(x, 8, 2))
    y = layers.Dense(7)(layers.GlobalAveragePooling2D()(y))
    y = normalisation(name="norm_head", center=False)(y)
    return keras.Model(x, layers.Dense(2)(y))


def batch_norms(model):
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def test_residual_network(rng):
    model = residual_network(layers.BatchNormalization)
    model.set_weights([rng.normal(size=w.shape) ** 2 for w in model.get_weights()])
    x, y = rng.normal(size=(6, 8, 8, 3)), rng.normal(size=(6, 2))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="replace_batchnorm"):
        dp.make_private(model)
    before = model.get_weights()

    twin = dp.replace_batchnorm(model)
    assert len(batch_norms(model)) == 5
    assert batch_norms(twin) == []
    after = {w.path: w.numpy() for w in twin.weights}
    kept = [w for w in model.weights if "moving" not in w.path]
    assert len(kept) == len(after)
    for weight in kept:
        np.testing.assert_array_equal(after[weight.path], weight)
    norm = twin.get_layer("inner").get_layer("norm_12_a")
    assert (norm.groups, norm.axis, norm.epsilon) == (6, -1, 1e-3)
    assert twin.get_layer("norm_head").groups == 1
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

    twin = dp.make_private(twin)
    optimizer = dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)
    twin.compile(optimizer=optimizer, loss="mse")
    twin.fit(x, y, batch_size=3, epochs=1, verbose=0)


def test_sequential_and_weights_of_layers_that_hold_layers(rng):
    @keras.saving.register_keras_serializable("tests.batchnorm")
    class Scaled(layers.Layer):
        """Has a weight of its own and a layer below it."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = layers.Dense(4)

        def build(self, shape):
            self.factor = self.add_weight(shape=(4,), initializer="ones")
            self.inner.build(shape)

        def call(self, inputs):
            return self.factor * self.inner(inputs)

    model = keras.Sequential([keras.Input((4, 3)), Scaled(name="scaled")])
    model.add(layers.BatchNormalization(axis=-1))
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    twin = dp.replace_batchnorm(model, groups=2)
    for old, new in zip(
        model.get_layer("scaled").get_weights(),
        twin.get_layer("scaled").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)
    assert twin.layers[-1].groups == 2


@keras.saving.register_keras_serializable("tests.batchnorm")
class Block(layers.Layer):
    """Makes BatchNormalization as an attribute, in a list, a dict, a model, `build`."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.norm = layers.BatchNormalization(momentum=0.9, epsilon=1e-4)
        self.listed = [layers.BatchNormalization(-1, 0.9, scale=False)]
        self.named = {"a": layers.BatchNormalization(center=False)}
        self.inner = keras.Sequential(
            [layers.Dense(width), layers.BatchNormalization()]
        )

    def build(self, shape):
        self.late = layers.BatchNormalization()
        for layer in (self.norm, self.listed[0], self.named["a"], self.inner):
            layer.build(shape)
        self.late.build((*shape[:-1], self.width))

    def call(self, inputs, training=None):
        x = self.named["a"](self.listed[0](self.norm(inputs, training=training)))
        return self.late(self.inner(x), training=training)


@keras.saving.register_keras_serializable("tests.batchnorm")
class Subclassed(keras.Model):
    """A model without a graph of layers."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.block, self.out = Block(units), layers.Dense(2)

    def call(self, inputs):
        return self.out(self.block(inputs))

    def get_config(self):
        return {"units": self.units, "name": self.name}


@keras.saving.register_keras_serializable("tests.batchnorm")
class Forgetful(layers.Layer):
    """Its configuration does not say how many layers it holds."""

    def __init__(self, norms=0, **kwargs):
        super().__init__(**kwargs)
        self.norms = [layers.BatchNormalization() for _ in range(norms)]

    def call(self, inputs):
        for norm in self.norms:
            inputs = norm(inputs)
        return inputs

    def get_config(self):
        return {"name": self.name}


def scatter(model, rng):
    """Gives scales, offsets, biases and statistics values that tell them apart."""
    for weight in model.weights:
        if len(weight.shape) < 2 and "float" in weight.dtype:
            weight.assign(rng.uniform(0.3, 0.7, weight.shape))
    return model


@pytest.fixture
def only_affine(monkeypatch):
    """Normalisation layers scale and shift, and do nothing else."""

    def call(self, inputs, training=None, mask=None):
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        if self.scale:
            inputs = inputs * keras.ops.reshape(self.gamma, shape)
        if self.center:
            inputs = inputs + keras.ops.reshape(self.beta, shape)
        return inputs

    monkeypatch.setattr(layers.BatchNormalization, "call", call)
    monkeypatch.setattr(layers.GroupNormalization, "call", call)
    monkeypatch.setattr(GroupNormalization, "call", call)


def assert_same(model, other, x, **tolerance):
    """Both compute the same, and something finite."""
    one, two = (keras.tree.flatten(m(x, training=False)) for m in (model, other))
    assert [t.shape for t in one] == [t.shape for t in two]
    for a, b in zip(one, two, strict=True):
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, **tolerance)
    assert any(np.ptp(a) > 0 for a in one)


def assert_survives_a_file(model, x, tmp_path):
    model.save(tmp_path / "copy.keras")
    again = keras.saving.load_model(tmp_path / "copy.keras")
    assert batch_norms(again) == []
    assert_same(model, again, x, rtol=1e-4, atol=1e-5)


def train_a_step(model, x):
    """One private step of a model with any outputs, to zeros."""
    y = keras.tree.map_structure(np.zeros_like, model.predict(x, verbose=0))
    before = [w.numpy() for w in model.trainable_variables]
    model = dp.make_private(model)
    optimizer = dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)
    losses = dict.fromkeys(y, "mse") if isinstance(y, dict) else "mse"
    # Tasks of KerasHub have metrics of their own.
    metrics = losses if isinstance(y, dict) else [losses]
    model.compile(optimizer=optimizer, loss=losses, metrics=metrics)
    model.fit(x, y, batch_size=len(x), epochs=1, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.all(np.isfinite(new))
        assert np.any(old != new.numpy()), new.path
    assert np.isfinite(model.privacy.epsilon(1e-5))


def wrapped():
    norm = layers.TimeDistributed(layers.BatchNormalization())
    return keras.Sequential([keras.Input((3, 4)), norm, layers.Dense(2)])


def functional():
    inputs = keras.Input((4,))
    block = Block(4)
    x = block(block(inputs), training=True)
    return keras.Model(inputs, layers.Dense(2)(layers.BatchNormalization()(x)))


def subclassed():
    model = Subclassed(4)
    model(np.zeros((1, 4)))
    return model


@pytest.mark.parametrize("make", [functional, subclassed, wrapped])
def test_layers_that_make_batch_normalization(make, rng, tmp_path, only_affine):
    model = scatter(make(), rng)
    copy = dp.replace_batchnorm(model, groups=2)
    assert batch_norms(copy) == []
    assert isinstance(copy, type(model))
    assert len(copy.weights) == len(
        [w for w in model.weights if "moving" not in w.path]
    )
    x = rng.normal(size=(3, *model.input_shape[1:]) if make is wrapped else (3, 4))
    assert_same(model, copy, x, rtol=1e-6)
    assert_survives_a_file(copy, x, tmp_path)
    private = dp.make_private(copy)
    private.save(tmp_path / "private.keras")
    again = keras.saving.load_model(tmp_path / "private.keras")
    assert isinstance(again, dp.PrivateModel)
    assert_same(private, again, x, rtol=1e-6)


def test_parts_of_a_copy_keep_their_normalisation(rng, tmp_path):
    """A block that is used in another model, copied or pickled, is saved as it is."""
    copy = dp.replace_batchnorm(functional())
    part = keras.Model(copy.inputs, copy.layers[1].output)
    x = rng.normal(size=(3, 4)).astype("float32")
    assert_survives_a_file(part, x, tmp_path)
    for other in (
        keras.models.clone_model(copy),
        pickle.loads(pickle.dumps(copy)),
        dp.replace_batchnorm(copy),
    ):
        assert batch_norms(other) == []
        other.set_weights(copy.get_weights())
        assert_same(copy, other, x, rtol=1e-6)


def test_frozen_layers_stay_frozen():
    model = functional()
    model.layers[1].inner.layers[0].trainable = False
    model.layers[2].trainable = False
    copy = dp.replace_batchnorm(model)
    assert copy.layers[1].trainable
    assert not copy.layers[1].inner.layers[0].trainable
    assert copy.layers[1].inner.layers[1].trainable
    assert not copy.layers[2].trainable


def test_what_cannot_be_made_again_is_refused():
    with pytest.raises(ValueError, match="not built"):
        dp.replace_batchnorm(Subclassed(3))
    model = keras.Sequential([keras.Input((3,)), Forgetful(norms=2)])
    with pytest.raises(ValueError, match="forgetful"):
        dp.replace_batchnorm(model)


def images_for(model, rng, examples=2):
    return rng.uniform(size=(examples, *model.input_shape[1:])).astype("float32")


def test_keras_hub_classifier(rng, tmp_path, monkeypatch):
    model = scatter(batchnorm_families.FAMILIES["resnet"](), rng)
    copy = dp.replace_batchnorm(model)
    assert isinstance(copy, type(model))
    assert isinstance(copy.backbone, type(model.backbone))
    x = images_for(model, rng)
    assert_survives_a_file(copy, x, tmp_path)
    train_a_step(copy, x)
    assert copy.predict(x, verbose=0).shape == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", batchnorm_families.FAMILIES)
def test_families_of_keras_hub(name, rng, tmp_path, only_affine):
    model = scatter(batchnorm_families.FAMILIES[name](), rng)
    copy = dp.replace_batchnorm(model)
    assert batch_norms(copy) == []
    assert isinstance(copy, type(model))
    assert_same(model, copy, images_for(model, rng), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", batchnorm_families.FAMILIES)
def test_families_of_keras_hub_train(name, rng, tmp_path):
    copy = dp.replace_batchnorm(batchnorm_families.FAMILIES[name]())
    x = images_for(copy, rng)
    assert_survives_a_file(copy, x, tmp_path)
    unused = batchnorm_families.UNUSED | batchnorm_families.UNUSED_IN.get(name, set())
    for layer in copy._flatten_layers():
        if layer.name in unused:
            layer.trainable = False
    train_a_step(copy, x)


@pytest.mark.slow
@pytest.mark.parametrize("name", batchnorm_families.APPLICATIONS)
def test_keras_applications(name, rng, tmp_path):
    model = scatter(batchnorm_families.APPLICATIONS[name](), rng)
    copy = dp.replace_batchnorm(model)
    assert batch_norms(copy) == []
    found = {w.path: w.numpy() for w in copy.weights}
    kept = [w for w in model.weights if "moving" not in w.path]
    assert len(kept) == len(found)
    for weight in kept:
        np.testing.assert_array_equal(found[weight.path], weight)
    assert_survives_a_file(copy, images_for(model, rng, 1), tmp_path)


def test_families_are_all_that_keras_hub_has():
    """A new release with BatchNormalization in another family fails here."""
    folder = pathlib.Path(keras_hub.__file__).parent / "src" / "models"
    having = {
        path.relative_to(folder).parts[0]
        for path in folder.rglob("*.py")
        if "BatchNormalization(" in path.read_text()
        or "layers.BatchNormalization," in path.read_text()
    }
    assert having == batchnorm_families.FOLDERS


@pytest.mark.parametrize("kind", ["sequential", "functional", "nested"])
@pytest.mark.parametrize("layer", ["Normalization", "IntegerLookup", "Discretization"])
def test_what_layers_were_adapted_to_stays(kind, layer, rng, tmp_path):
    """In the copy, and in the copy of the copy that a file makes."""
    make = getattr(keras.layers, layer)
    adapted = make(num_bins=3) if layer == "Discretization" else make()
    x = rng.integers(50, 60, (12, 3)).astype(
        "int64" if layer == "IntegerLookup" else "float32"
    )
    adapted.adapt(x)
    inputs = keras.Input((3,), dtype=x.dtype.name)
    if kind == "sequential":
        model = keras.Sequential([inputs, adapted, keras.layers.BatchNormalization()])
    else:
        inside = keras.Input((3,), dtype=x.dtype.name)
        prepare = keras.Model(inside, adapted(inside)) if kind == "nested" else adapted
        seen = prepare(inputs)
        outputs = keras.layers.BatchNormalization()(seen)
        model = keras.Model(inputs, outputs)
    twin = dp.replace_batchnorm(model)

    def behind(model):
        model.layers[-1].trainable = False
        return keras.Model(model.inputs, model.layers[-1].input).predict(x, verbose=0)

    np.testing.assert_array_equal(behind(twin), behind(model))
    assert np.ptp(behind(twin)) > 0
    twin.save(tmp_path / "twin.keras")
    again = keras.saving.load_model(tmp_path / "twin.keras")
    np.testing.assert_allclose(
        again.predict(x, verbose=0), twin.predict(x, verbose=0), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("nested", [False, True])
def test_a_private_model_keeps_its_ledger(nested):
    model = dp.make_private(keras.Sequential([keras.Input((3,)), layers.Dense(1)]))
    if nested:
        model = keras.Sequential([keras.Input((3,)), model])
    with pytest.raises(ValueError, match="before `make_private`"):
        dp.replace_batchnorm(model)
