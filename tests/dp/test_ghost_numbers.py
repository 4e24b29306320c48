"""The fast engine in half precision, on groups, and where numbers are extreme."""

import keras
import keras_hub
import numpy as np
import oracle
import pytest
import tensorflow as tf
from engines import EXAMPLES, EXPECTED, assert_same, clipped, normal, scatter
from keras import layers

from tfpriv.dp import clipping, keras_internals
from tfpriv.dp.clipping import microbatches, styles
from tfpriv.dp.clipping.rounding import MARGIN

pytestmark = [pytest.mark.filterwarnings(line) for line in EXPECTED]


def mixture(rng, dropout=0.0):
    """Every form of gradient at once: tied table, kernels, sums, and no rule."""
    ids, picture = keras.Input((5,), dtype="int32"), keras.Input((6, 6, 2))
    table = keras_hub.layers.ReversibleEmbedding(9, 4)
    words = layers.Dropout(dropout)(layers.LayerNormalization()(table(ids)))
    seen = layers.Conv2D(3, 3, activation="tanh")(picture)
    seen = layers.PReLU(shared_axes=[1, 2])(layers.DepthwiseConv2D(2)(seen))
    seen = layers.Dense(4)(layers.GlobalAveragePooling2D()(seen))
    both = layers.Dense(4, "tanh")(words + seen[:, None])
    return scatter(keras.Model([ids, picture], table(both, reverse=True)), rng)


def mixed_data(rng, examples):
    """`(x, y)` for `mixture`."""
    ids = rng.integers(0, 9, (examples, 5))
    return [ids, normal(rng, examples, 6, 6, 2)], normal(rng, examples, 5, 9)


def in_units(model, batch, engine, loss="mse", loss_scale=1.0):
    """Function `(bound, microbatch_size) -> (sums, norms)` over a batch.

    Args:
        batch: Dict of `x`, `y` and `present`, as samplers hand out.
    """
    compile_loss = keras_internals.wrap_loss(loss, model)
    objective = clipping.Objective(model, compile_loss, loss_scale=loss_scale)
    examples = {"x": batch["x"], "y": batch["y"]}
    if batch["present"].ndim == 2:
        examples = tf.nest.map_structure(lambda t: t[0], examples)
    spec = clipping.spec_of(clipping.as_batch(**examples))
    size = batch["present"].shape[1] if batch["present"].ndim == 2 else None
    style = styles.get("flat")
    plan = clipping.make_plan(objective, spec, style, engine, group_size=size)

    @tf.function(autograph=False)
    def run(batch, bound, microbatch_size):
        outer = bound / (1 - MARGIN)  # gradients are scaled to a little less
        return microbatches.sum_over_chunks(
            plan, batch, outer, microbatch_size=microbatch_size
        )

    def clipped_sum(bound, microbatch_size=100):
        inputs = tf.nest.map_structure(tf.constant, batch)
        sums, norms, _ = run(inputs, tf.constant(bound, tf.float64), microbatch_size)
        return [np.asarray(s, "float64") for s in sums], norms.numpy()

    return clipped_sum


# Styles, precision.


@pytest.mark.parametrize(
    ("style", "floatx"),
    [
        ("per_layer", "float64"),
        pytest.param("automatic", "float32", marks=pytest.mark.slow),
        pytest.param("flat", "float64", marks=pytest.mark.slow),
    ],
    indirect=["floatx"],
)
def test_styles_and_a_layer_without_a_rule(style, rng, floatx):
    x, y = mixed_data(rng, 5)
    tolerance = oracle.TOLERANCE[floatx]
    assert_same(mixture(rng), x, y, clipping=style, tolerance=tolerance)


def dense(rng):
    return (4,), [layers.Dense(8, "tanh"), layers.Dense(3)]


def convolutions(rng):
    parts = [layers.Conv2D(4, 3, activation="relu"), layers.GroupNormalization(2)]
    return (8, 8, 3), [*parts, layers.DepthwiseConv2D(2), layers.Conv2D(4, 2, 2)]


def recurrent(rng):
    return (3, 4), [layers.GRU(4)]


def without_a_rule(rng):
    return (3, 4), [layers.PReLU(), layers.Dense(3)]


def own_precision(rng):
    """A layer in another precision than the others."""
    return (4,), [layers.Dense(8, "tanh", dtype="float32"), layers.Dense(3)]


# Twice the distance between a number and the next: the vectorized engine rounds each
# gradient of a weight to half precision, the ghost engine nothing behind activations.
ROUNDED = {"mixed_float16": 2 * 2.0**-10, "mixed_bfloat16": 2 * 2.0**-7}


def half_precision_cases():
    for build in (dense, convolutions, recurrent, without_a_rule, own_precision):
        for policy in ROUNDED:
            quick = build is not recurrent and policy == "mixed_float16"
            yield pytest.param(build, policy, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("build", "policy"), half_precision_cases())
def test_half_precision(build, policy, rng):
    shape, parts = in_policy(policy, lambda: build(rng))
    parts += [layers.Flatten(), layers.Dense(2, dtype="float32")]
    model = scatter(keras.Sequential([keras.Input(shape), *parts]), rng)
    x, y = normal(rng, EXAMPLES, *shape), normal(rng, EXAMPLES, 2)
    assert_same(model, x, y, tolerance=ROUNDED[policy])


def in_policy(policy, make):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("build", [dense, without_a_rule])
def test_a_loss_scale_saves_small_gradients(build, rng):
    """Of 1e-8 at the outputs float16 knows nothing; times 2^24, all."""
    shape, parts = in_policy("mixed_float16", lambda: build(rng))
    model = scatter(keras.Sequential([keras.Input(shape), *parts]), rng)
    x = normal(rng, EXAMPLES, *shape)
    y = normal(rng, EXAMPLES, *model.output_shape[1:])
    batch = {"x": x, "y": y, "present": np.ones(EXAMPLES, bool)}
    options = {"loss": linear(1e-8), "loss_scale": 2.0**24}
    wanted, norms = in_units(model, batch, "vectorized", **options)(1.0)
    sums, found = in_units(model, batch, "ghost", **options)(1.0)
    assert np.all(norms > 0)
    np.testing.assert_allclose(found, norms, rtol=ROUNDED["mixed_float16"])
    assert oracle.distance(sums, wanted) <= ROUNDED["mixed_float16"] * norms.sum()


def linear(scale):
    """A loss whose gradient is known: the labels, scaled."""

    def loss(y_true, y_pred):
        y_true, y_pred = (keras.ops.cast(t, "float32") for t in (y_true, y_pred))
        return scale * keras.ops.mean(y_true * y_pred)

    return loss


# Units.


def test_groups_with_absent_members_in_microbatches_of_any_size(rng):
    """Whatever lies in the place of an absent member has no effect at all."""
    model = mixture(rng)
    x, y = mixed_data(rng, 12)
    present = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]], bool)
    batch = {"x": x, "y": y}
    batch = tf.nest.map_structure(lambda a: a.reshape(4, 3, *a.shape[1:]), batch)
    batch["present"] = present
    batch["x"][1][~present] = np.nan
    batch["y"][~present] = np.inf
    reference = in_units(model, batch, "vectorized")
    _, norms = reference(1.0)
    bound = float(np.median(norms[norms > 0]))
    wanted, norms = reference(bound)
    ghost = in_units(model, batch, "ghost")
    for size in (1, 6, 100):
        sums, found = ghost(bound, size)
        assert norms[2] == found[2] == 0
        np.testing.assert_allclose(found, norms, rtol=1e-5)
        assert oracle.distance(sums, wanted) <= 1e-5 * np.minimum(norms, bound).sum()


def test_single_examples_in_microbatches_of_any_size(rng):
    model, (x, y) = mixture(rng), mixed_data(rng, 7)
    batch = {"x": x, "y": y, "present": np.array([1, 1, 0, 1, 1, 0, 1], bool)}
    ghost = in_units(model, batch, "ghost")
    _, norms = ghost(1.0)
    assert norms[2] == norms[5] == 0
    bound = float(np.median(norms))
    wanted, norms = ghost(bound)
    for size in (1, 3):
        sums, found = ghost(bound, size)
        np.testing.assert_allclose(found, norms, rtol=1e-6)
        assert oracle.distance(sums, wanted) <= 1e-6 * np.minimum(norms, bound).sum()
    nobody = in_units(model, {**batch, "present": np.zeros(7, bool)}, "ghost")
    sums, norms = nobody(bound)
    assert not any(s.any() for s in sums)
    assert not norms.any()


# Numbers.


def test_a_bad_example_contributes_exactly_zero_and_changes_no_other(rng):
    model, (x, y) = mixture(rng), mixed_data(rng, 5)
    expected, _ = clipped(model, x, y, engine="ghost")
    broken = [np.insert(a, 2, a[0], axis=0) for a in (*x, y)]
    # To the last bit as beside a good example: other batches may be rounded otherwise.
    _, norms = clipped(model, broken[:2], broken[2], engine="ghost")
    largest = np.finfo("float32").max  # the norm of its gradient is beyond
    for bad in (np.nan, np.inf, largest):
        broken[2][2] = bad
        sums, shown = clipped(model, broken[:2], broken[2], engine="ghost")
        assert np.isinf(shown[2])
        np.testing.assert_array_equal(np.delete(shown, 2), np.delete(norms, 2))
        assert oracle.distance(sums, expected) <= 1e-6
        ids, picture, label = (a[2:3] for a in broken)
        alone, _ = clipped(model, [ids, picture], label, engine="ghost")
        assert not any(s.any() for s in alone)


@pytest.mark.parametrize("power", [-25, 17])
def test_huge_and_tiny_gradients(power, rng):
    """The gradient is right where its square is no float32."""
    model, (x, y) = mixture(rng), mixed_data(rng, 4)
    options = {"loss": linear(10.0**power), "l2_norm_clip": 1e-3 * 10.0**power}
    wanted, norms = clipped(model, x, y, engine="vectorized", **options)
    sums, found = clipped(model, x, y, engine="ghost", **options)
    assert np.all(norms > options["l2_norm_clip"])
    np.testing.assert_allclose(found, norms, rtol=1e-5)
    assert oracle.distance(sums, wanted) <= 1e-5 * 4 * options["l2_norm_clip"]


# Dropout.


def test_every_example_and_step_has_a_mask_of_its_own(rng):
    """Two of these masks are equal by accident with a chance below 1e-50."""
    width = 400
    model = keras.Sequential(
        [
            keras.Input((width,)),
            layers.Dropout(0.5),
            layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
        ]
    )

    def kept(examples):
        """How many of the examples kept each input."""
        ones = np.ones((examples, width), "float32")
        sums, _ = clipped(
            model,
            ones,
            ones[:, :1],
            engine="ghost",
            loss=lambda y, p: keras.ops.sum(p),
            l2_norm_clip=1e6,
        )
        return sums[0][:, 0] / 2

    first, second, many = kept(1), kept(1), kept(40)
    assert set(np.unique(first)) == {0, 1}
    assert not np.array_equal(first, second)
    # One mask for all would give 0 and 40; own ones a binomial of mean 20, variance 10.
    assert abs(many.mean() - 20) < 8 * np.sqrt(10 / width)
    assert 5 < many.var() < 16


def test_dropout_averages_to_the_same_in_both_engines(rng):
    """Means over 600 masks of each of 43 numbers, compared at 8 standard errors.

    The error is estimated from 30 sums of 20 each: Student's t with 58 degrees of
    freedom exceeds 8 with probability 6e-11, any of the 43 does with 3e-9.
    """
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dropout(0.3),
            layers.Dense(5, "tanh"),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    scatter(model, rng)
    one, target = normal(rng, 1, 4), normal(rng, 1, 3)
    x, y = np.repeat(one, 20, axis=0), np.repeat(target, 20, axis=0)

    def sums_of(engine):
        runs = [clipped(model, x, y, engine=engine)[0] for _ in range(30)]
        return np.array([np.concatenate([g.ravel() for g in run]) for run in runs])

    ghost, vectorized = sums_of("ghost"), sums_of("vectorized")
    error = np.sqrt((ghost.var(0, ddof=1) + vectorized.var(0, ddof=1)) / 30)
    off = np.abs(ghost.mean(0) - vectorized.mean(0))
    assert np.all(off <= 8 * error + 1e-6)
