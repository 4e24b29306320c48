"""DP optimizers are Keras' own, on a noisy mean of clipped gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfpriv.dp as dp
from tfpriv.dp.privacy import Privacy

WRAPPERS = {"LossScaleOptimizer", "MultiOptimizer"}
EXAMPLES = 6
HUGE = 1e6


def keras_classes():
    """Every optimizer class of Keras by name, without base class and wrappers."""
    return {
        name: c
        for name, c in vars(keras.optimizers).items()
        if isinstance(c, type)
        and issubclass(c, keras.optimizers.Optimizer)
        and c is not keras.optimizers.Optimizer
        and name not in WRAPPERS
    }


CLASSES = sorted(keras_classes())


def private_class(name):
    return getattr(dp, f"DP{name}")


def make(name, *args, l2_norm_clip=HUGE, noise_multiplier=0.0, **options):
    """A DP optimizer with a ledger to which a unit's place in a batch is declared."""
    optimizer = private_class(name)(
        *args, l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier, **options
    )
    return optimizer.track(Privacy(max_occurrences=1))


def test_every_optimizer_of_keras_has_a_twin():
    assert len(CLASSES) == 14
    for name, plain in keras_classes().items():
        twin = private_class(name)
        assert issubclass(twin, plain)
        assert issubclass(twin, dp.PrivateOptimizer)
        assert twin.__name__ in dp.__all__
        assert f"`keras.optimizers.{name}`" in twin.__doc__


@pytest.fixture(scope="module")
def model():
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(3)]
    )


@pytest.fixture
def problem(rng, model):
    """A model with fresh weights, a plain twin of it, and three batches."""
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    batches = [
        (rng.normal(size=(EXAMPLES, 4)), rng.normal(size=(EXAMPLES, 3)))
        for _ in range(3)
    ]
    return model, twin, batches


def private_step(model, optimizer, x, y):
    gradients, _ = dp.clipped_gradients(
        model, x, y, loss="mse", l2_norm_clip=optimizer.l2_norm_clip
    )
    optimizer.apply(gradients, model.trainable_variables)


def plain_step(model, optimizer, x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - tf.cast(y, "float32")) ** 2)
    scale = optimizer.loss_scale_factor or 1.0
    variables = [v.value for v in model.trainable_variables]
    gradients = [g * scale for g in tape.gradient(loss, variables)]
    optimizer.apply(gradients, model.trainable_variables)


def assert_same_training(problem, private, plain):
    model, twin, batches = problem
    start = model.get_weights()
    for x, y in batches:
        private_step(model, private, x, y)
        plain_step(twin, plain, x, y)
    for optimizer, trained in ((private, model), (plain, twin)):
        optimizer.finalize_variable_values(trained.trainable_variables)
    for a, b, before in zip(
        model.get_weights(), twin.get_weights(), start, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        assert not np.array_equal(a, before)
    assert len(private.privacy.ledger) == len(batches)


@pytest.mark.parametrize("name", CLASSES)
def test_without_noise_and_clipping_training_is_that_of_keras(problem, name):
    options = {"learning_rate": 0.05}
    assert_same_training(
        problem, make(name, **options), keras_classes()[name](**options)
    )


POST_PROCESSING = {
    "momentum": {"momentum": 0.9, "nesterov": True},
    "weight decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 1e-2},
    "clipvalue": {"clipvalue": 1e-3},
    "global_clipnorm": {"global_clipnorm": 1e-2},
    "moving average": {
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 2,
    },
    "loss scale": {"loss_scale_factor": 1024.0},
    "schedule": {
        "learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    },
}


@pytest.mark.parametrize("options", POST_PROCESSING.values(), ids=POST_PROCESSING)
def test_options_act_on_what_was_released(problem, options):
    """Each of them sees the noisy mean alone, as in Keras it sees the mean."""
    options = {"learning_rate": 0.05, **options}
    assert_same_training(
        problem, make("SGD", **options), keras.optimizers.SGD(**options)
    )


def test_clipnorm_acts_after_the_noise(problem):
    model, _, [(x, y), *_] = problem
    optimizer = make("SGD", 1.0, l2_norm_clip=1.0, noise_multiplier=50, clipnorm=1e-2)
    before = model.get_weights()
    private_step(model, optimizer, x, y)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.linalg.norm(old - new) == pytest.approx(1e-2, rel=1e-3)


# Configuration.


@pytest.mark.parametrize("name", CLASSES)
def test_serialisation(name):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    optimizer = private_class(name)(
        schedule, l2_norm_clip=0.5, noise_multiplier=1.25, budget=(3, 1e-5)
    )
    config = keras.optimizers.serialize(optimizer)
    assert config["registered_name"] == f"tfpriv>DP{name}"
    again = keras.optimizers.deserialize(config)
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert again.l2_norm_clip == 0.5
    assert again.noise_multiplier == 1.25
    assert again.budget.serialized() == (3.0, 1e-5)
    assert isinstance(again._learning_rate, type(schedule))
    assert set(keras_classes()[name]().get_config()) <= set(again.get_config())


def test_bound_and_noise_are_read_only():
    optimizer = make("SGD")
    for name in ("l2_norm_clip", "noise_multiplier", "clipping", "budget"):
        with pytest.raises(AttributeError):
            setattr(optimizer, name, 0.25)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_invalid_bound(value):
    with pytest.raises(ValueError, match=f"l2_norm_clip={value}"):
        dp.DPSGD(l2_norm_clip=value, noise_multiplier=1)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_invalid_noise(value):
    with pytest.raises(ValueError, match=f"noise_multiplier={value}"):
        dp.DPSGD(l2_norm_clip=1, noise_multiplier=value)


def test_bound_and_noise_must_be_said():
    for options in ({}, {"l2_norm_clip": 1.0}, {"noise_multiplier": 1.0}):
        with pytest.raises(TypeError, match=r"DPAdam\.for_budget\("):
            dp.DPAdam(1e-3, **options)


def test_accumulated_gradients_are_refused():
    with pytest.raises(ValueError, match="gradient_accumulation_steps=2"):
        make("SGD", gradient_accumulation_steps=2)


# Gradients that were not clipped per example.


def clipped(problem, bound=HUGE):
    model, _, [(x, y), *_] = problem
    gradients, _ = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=bound)
    return gradients, model.trainable_variables


SPOILED = {
    "plain": lambda g: [tf.ones_like(t) for t in g],
    "rescaled": lambda g: [2.0 * t for t in g],
    "averaged": lambda g: [t / EXAMPLES for t in g],
    "one of them": lambda g: [*g[:-1], tf.identity(g[-1])],
    "arrays": lambda g: [t.numpy() for t in g],
    "missing": lambda g: [None, *g[1:]],
    "nothing": lambda g: [],
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_gradients_without_proof_are_refused(problem, spoil):
    gradients, variables = clipped(problem)
    optimizer = make("SGD")
    with pytest.raises(ValueError, match="clipped per example"):
        optimizer.apply(spoil(gradients), variables)
    assert len(optimizer.privacy.ledger) == 0


def test_gradients_of_two_batches_are_refused(problem):
    first, variables = clipped(problem)
    second, _ = clipped(problem)
    with pytest.raises(ValueError, match="several `clipped_gradients` calls"):
        make("SGD").apply([*first[:2], *second[2:]], variables)


def test_one_gradient_for_two_variables_is_refused(problem):
    gradients, variables = clipped(problem)
    with pytest.raises(ValueError, match="same gradient twice"):
        make("SGD").apply([gradients[0], gradients[0]], variables[:2])


def test_another_bound_is_refused(problem):
    gradients, variables = clipped(problem, 2.0)
    optimizer = make("SGD", l2_norm_clip=1.0)
    with pytest.raises(ValueError, match=r"Expected: l2_norm_clip=1\.0.*to 2\.0"):
        optimizer.apply(gradients, variables)


def test_a_part_of_the_variables_may_be_trained(problem):
    gradients, variables = clipped(problem)
    before = [v.numpy() for v in variables]
    make("SGD").apply(gradients[:2], variables[:2])
    moved = [not np.array_equal(v, b) for v, b in zip(variables, before, strict=True)]
    assert moved == [True, True, False, False]


# The ways in which people call an optimizer.


def test_apply_gradients(problem):
    model, twin, [(x, y), *_] = problem
    gradients, variables = clipped(problem)
    make("SGD", 0.1).apply_gradients(zip(gradients, variables, strict=True))
    plain_step(twin, keras.optimizers.SGD(0.1), x, y)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_function_of_the_users_own(problem):
    model, twin, batches = problem
    private, plain = make("Adam", 0.05), keras.optimizers.Adam(0.05)
    private.build(model.trainable_variables)
    step = tf.function(lambda x, y: private_step(model, private, x, y))
    for x, y in batches:
        step(x, y)
        plain_step(twin, plain, x, y)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert len(private.privacy.ledger) == 3
    assert int(private.iterations) == 3


def test_noise_is_new_in_each_call_of_a_traced_function(problem):
    model, _, [(x, y), *_] = problem
    optimizer = make("SGD", 1.0, l2_norm_clip=1e-6, noise_multiplier=1e6)
    optimizer.build(model.trainable_variables)
    step = tf.function(lambda: private_step(model, optimizer, x, y))
    seen = [model.get_weights()[0]]
    for _ in range(3):
        step()
        seen.append(model.get_weights()[0])
    first, second, third = np.diff(seen, axis=0)
    assert not np.allclose(first, second)
    assert not np.allclose(second, third)


# Keras' wrappers.


@pytest.mark.parametrize("wrapper", sorted(WRAPPERS))
def test_wrappers_are_refused_by_name(wrapper):
    inner = dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)
    if wrapper == "LossScaleOptimizer":
        wrapped = keras.optimizers.LossScaleOptimizer(inner)
    else:
        wrapped = keras.optimizers.MultiOptimizer([inner, "sgd"])
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    dp.make_private(model)
    with pytest.raises(ValueError, match=wrapper):
        model.compile(optimizer=wrapped, loss="mse")
    model.compile(optimizer=inner, loss="mse")


@pytest.mark.parametrize("optimizer", ["adam", keras.optimizers.SGD(0.1)])
def test_plain_optimizers_are_refused(optimizer):
    model = dp.make_private(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
    with pytest.raises(ValueError, match="needs an optimizer that adds noise"):
        model.compile(optimizer=optimizer, loss="mse")


def test_plain_model_with_a_private_optimizer_is_refused():
    """In Keras' own train step nothing clips: the gradients carry no proof."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    optimizer = dp.DPAdam(1e-3, l2_norm_clip=1.0, noise_multiplier=1.0)
    model.compile(optimizer=optimizer, loss="mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match="make_private"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
