"""Every loss of Keras, with every reduction, by `clipped_gradients` and by `fit`.

One model has one head for each loss, so that all losses go through one trace; each
head is held to the precision of its own gradient.
"""

import keras
import numpy as np
import oracle
import pytest
from keras import layers, losses

import tfpriv.dp as dp

EXAMPLES, CLASSES = 5, 3
REDUCTIONS = ["sum", "sum_over_batch_size", "mean_with_sample_weight", None]
COMPARING = {losses.Circle}  # compares the examples of a batch: refused below
SEPARATE = {losses.CTC}  # tested by itself

# What a head ends in, and what its labels look like.
REAL, POSITIVE, SIGMOID, SOFTMAX = "linear", "softplus", "sigmoid", "softmax"
HEADS = {
    losses.BinaryCrossentropy: (SIGMOID, {"label_smoothing": 0.1}),
    losses.BinaryFocalCrossentropy: (SIGMOID, {"apply_class_balancing": True}),
    losses.CategoricalCrossentropy: (SOFTMAX, {}),
    losses.CategoricalFocalCrossentropy: (SOFTMAX, {}),
    losses.CategoricalGeneralizedCrossEntropy: (SOFTMAX, {}),
    losses.CategoricalHinge: (REAL, {}),
    losses.CosineSimilarity: (REAL, {}),
    losses.Dice: (SIGMOID, {"axis": -1}),
    losses.Hinge: (REAL, {}),
    losses.Huber: (REAL, {"delta": 0.5}),
    losses.KLDivergence: (SOFTMAX, {}),
    losses.LogCosh: (REAL, {}),
    losses.MeanAbsoluteError: (REAL, {}),
    losses.MeanAbsolutePercentageError: (REAL, {}),
    losses.MeanSquaredError: (REAL, {}),
    losses.MeanSquaredLogarithmicError: (POSITIVE, {}),
    losses.Poisson: (POSITIVE, {}),
    losses.SparseCategoricalCrossentropy: (SOFTMAX, {}),
    losses.SquaredHinge: (REAL, {}),
    losses.Tversky: (SIGMOID, {"axis": -1}),
}


def test_every_loss_of_keras_is_here():
    found = {
        c
        for c in vars(losses).values()
        if isinstance(c, type) and issubclass(c, losses.Loss) and c is not losses.Loss
    }
    assert found == set(HEADS) | COMPARING | SEPARATE


def labels(rng, loss, activation):
    if loss is losses.SparseCategoricalCrossentropy:
        return rng.integers(0, CLASSES, (EXAMPLES, 1))
    if loss is losses.CategoricalGeneralizedCrossEntropy:
        return rng.integers(0, CLASSES, EXAMPLES)
    if activation == SOFTMAX or loss is losses.CategoricalHinge:
        return np.eye(CLASSES)[rng.integers(0, CLASSES, EXAMPLES)]
    if activation == SIGMOID:
        return rng.integers(0, 2, (EXAMPLES, CLASSES)).astype("float64")
    if activation == POSITIVE:
        return rng.uniform(0.5, 3, (EXAMPLES, CLASSES))
    return rng.normal(size=(EXAMPLES, CLASSES))


def heads(rng, reduction_of):
    """A model with a head for each loss, data for it, and the losses by name."""
    x = keras.Input((4,))
    outputs, y, made = {}, {}, {}
    for loss, (activation, options) in HEADS.items():
        name = loss.__name__
        outputs[name] = layers.Dense(CLASSES, activation, name=name)(x)
        y[name] = labels(rng, loss, activation)
        made[name] = loss(reduction=reduction_of(name), **options)
    model = keras.Model(x, outputs)
    return model, rng.normal(size=(EXAMPLES, 4)), y, made


def assert_heads_agree(model, found, expected, tolerance):
    by_head = {}
    paths = [v.path.split("/")[0] for v in model.trainable_variables]
    for path, a, b in zip(paths, found, expected, strict=True):
        by_head.setdefault(path, []).append((np.asarray(a), b))
    for name, pairs in by_head.items():
        a, b = zip(*pairs, strict=True)
        assert oracle.distance(a, b) <= tolerance * oracle.norm(b), name


def drawn_reductions(rng):
    drawn = {c.__name__: REDUCTIONS[rng.integers(4)] for c in HEADS}
    print("reductions of this run:", drawn)
    return drawn


def test_losses(rng):
    check_losses(rng, "float32", drawn_reductions(rng))


@pytest.mark.slow
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_all_losses_with_each_reduction(rng, floatx, reduction):
    check_losses(rng, floatx, {c.__name__: reduction for c in HEADS})


def check_losses(rng, floatx, reductions):
    model, x, y, made = heads(rng, reductions.get)
    weight = {name: rng.uniform(0.5, 2, EXAMPLES) for name in y}
    model.compile(optimizer="sgd", loss=made)
    expected = oracle.gradients(model, x, y, sample_weight=weight)
    found, norms = dp.clipped_gradients(
        model, x, y, l2_norm_clip=1e9, sample_weight=weight
    )
    tolerance = oracle.TOLERANCE[floatx]
    lengths = [oracle.norm(g) for g in expected]
    np.testing.assert_allclose(norms, lengths, rtol=tolerance)
    # Heads may cancel over examples, by a few digits.
    assert_heads_agree(model, found, oracle.add(expected), 20 * tolerance)
    bound = float(np.median(lengths))
    found, _ = dp.clipped_gradients(
        model, x, y, l2_norm_clip=bound, sample_weight=weight
    )
    wanted = oracle.add([oracle.clip(g, bound) for g in expected])
    assert oracle.distance(found, wanted) <= tolerance * EXAMPLES * bound


def test_losses_in_training(rng):
    """Each head draws its reduction; without noise a step is the mean gradient."""
    model, x, y, made = heads(rng, drawn_reductions(rng).get)
    model.compile(optimizer="sgd", loss=made)
    expected = oracle.add(oracle.gradients(model, x, y))
    before = [v.numpy() for v in model.trainable_variables]
    rate = 1e-2
    model = dp.make_private(model, max_occurrences=1, microbatch_size=2)
    optimizer = dp.DPSGD(rate, l2_norm_clip=1e9, noise_multiplier=0)
    model.compile(optimizer=optimizer, loss=made)
    model.train_on_batch(x, y)  # three microbatches, the last one ragged
    moved = [
        (b - v.numpy()) * EXAMPLES / rate
        for b, v in zip(before, model.trainable_variables, strict=True)
    ]
    assert_heads_agree(model, moved, expected, 1e-3)  # weights round the step


@pytest.mark.filterwarnings("ignore:TensorFlow cannot vectorise")
def test_ctc(rng):
    model = keras.Sequential([keras.Input((6, 2)), layers.Dense(4, "softmax")])
    x = rng.normal(size=(EXAMPLES, 6, 2)).astype("float32")
    y = rng.integers(1, 4, (EXAMPLES, 2))
    oracle.assert_exact(model, x, y, loss=losses.CTC(), tolerance=1e-4)


@pytest.mark.parametrize("loss", ["mse", "mean_absolute_error", "bce"])
def test_losses_by_name(rng, loss):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, "sigmoid")])
    x, y = rng.normal(size=(4, 3)), rng.integers(0, 2, (4, 1))
    made = {"mse": losses.MeanSquaredError, "bce": losses.BinaryCrossentropy}
    made = made.get(loss, losses.MeanAbsoluteError)()
    ours, _ = dp.clipped_gradients(model, x, y, loss=loss, l2_norm_clip=0.1)
    same, _ = dp.clipped_gradients(model, x, y, loss=made, l2_norm_clip=0.1)
    assert oracle.distance(ours, same) == 0


def test_loss_as_a_function(rng):
    def distance(y_true, y_pred):
        return keras.ops.sum(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)

    class Wrapped(losses.Loss):
        def call(self, y_true, y_pred):
            return distance(y_true, y_pred)

    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    ours, _ = dp.clipped_gradients(model, x, y, loss=distance, l2_norm_clip=0.1)
    expected = oracle.gradients(model, x, y, loss=Wrapped())
    wanted = oracle.add([oracle.clip(g, 0.1) for g in expected])
    assert oracle.distance(ours, wanted) <= 1e-5 * 4 * 0.1


def over_the_batch(y_true, y_pred):
    return keras.ops.square(keras.ops.sum(y_true - y_pred))


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        (losses.Circle(), REAL),
        (losses.Dice(), SIGMOID),
        (losses.Tversky(), SIGMOID),
        (over_the_batch, REAL),
    ],
    ids=["Circle", "Dice", "Tversky", "own"],
)
def test_losses_that_compare_examples_are_refused(rng, loss, activation):
    # Of random weights, one in 400 has Circle overlooked: these are fixed.
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(CLASSES, activation)])
    x = rng.normal(size=(4, 3))
    y = rng.integers(0, 2, (4, CLASSES)).astype("float32")
    if isinstance(loss, losses.Circle):
        y = rng.integers(0, 2, (4,))
    with pytest.raises(ValueError, match=r"loss compares the examples.*axis=\(1,\)"):
        dp.clipped_gradients(model, x, y, loss=loss, l2_norm_clip=1.0)


@pytest.mark.parametrize("loss", [losses.Dice, losses.Tversky])
def test_losses_of_masks_take_the_axes_of_one_example(rng, loss):
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), layers.Conv2D(1, 3, activation="sigmoid")]
    )
    x = rng.normal(size=(4, 4, 4, 3)).astype("float32")
    y = rng.integers(0, 2, (4, 2, 2, 1)).astype("float32")
    y[:, 0, 0] = 1.0
    with pytest.raises(ValueError, match=r"loss compares.*axis=\(1, 2, 3\)"):
        dp.clipped_gradients(model, x, y, loss=loss(), l2_norm_clip=1.0)
    oracle.assert_exact(model, x, y, loss=loss(axis=(1, 2, 3)))


def test_losses_that_draw_are_not_taken_for_comparing(rng):
    def noisy(y_true, y_pred):
        noise = 1 + keras.random.uniform(keras.ops.shape(y_pred))
        return keras.ops.sum(noise * (y_true - y_pred) ** 2, axis=-1)

    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    dp.clipped_gradients(model, x, y, loss=noisy, l2_norm_clip=1.0)
