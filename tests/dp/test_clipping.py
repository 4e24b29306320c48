"""The guarantees of a clipped sum: bounds, edge values, microbatches, faults."""

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import tfpriv.dp as dp
from tfpriv.dp.clipping import ghost, microbatches, styles, vectorized

MSE = keras.losses.MeanSquaredError


class Sink(keras.losses.Loss):
    """Loss whose gradient for the example's offset is the example itself."""

    def call(self, y_true, y_pred):
        return keras.ops.sum(y_true * y_pred, axis=-1)


@pytest.fixture(scope="module")
def chosen():
    """A model whose gradient is chosen: for labels y, each example's is just y."""
    offset = layers.Dense(3, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), offset])
    loss = Sink(reduction="sum")

    def clipped(wanted, bound=1.0, **kwargs):
        wanted = np.asarray(wanted, "float32").reshape(-1, 3)
        sums, norms = dp.clipped_gradients(
            model,
            np.ones((len(wanted), 1), "float32"),
            wanted,
            loss=loss,
            l2_norm_clip=bound,
            **kwargs,
        )
        return sums[0].numpy()[0], norms.numpy()

    return clipped


def network(rng):
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)]
    )
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    return model, x.astype("float32"), y.astype("float32")


# The bound.


LARGE = float(np.float32(1e30))
FLOATS = st.floats(-LARGE, LARGE, width=32, allow_subnormal=False)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=0, max_size=6),
    bound=st.floats(1e-6, 1e6),
)
def test_each_example_is_bounded_and_otherwise_unchanged(chosen, rows, bound):
    sums, norms = chosen(rows, bound)
    rows = np.asarray(rows, "float32").reshape(-1, 3).astype("float64")
    lengths = np.array([oracle.norm([row]) for row in rows])
    wanted = sum((oracle.clip([row], bound)[0] for row in rows), np.zeros(3))
    kept = np.minimum(lengths, bound).sum()
    np.testing.assert_allclose(norms, lengths, rtol=1e-5, atol=1e-37)
    assert np.linalg.norm(sums - wanted) <= 1e-5 * kept + 1e-36
    assert np.linalg.norm(sums) <= (1 + 1e-5) * bound * len(rows)


@settings(max_examples=20, deadline=None)
@given(
    common=st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=4),
    extra=st.tuples(*[st.floats(width=32)] * 3),
)
def test_one_example_more_moves_the_sum_by_at_most_the_bound(chosen, common, extra):
    """Whatever the example: nan, infinities, the largest floats."""
    before, _ = chosen(common)
    after, _ = chosen([*common, extra])
    assert np.linalg.norm(after - before) <= 1.0 + 1e-5 * (len(common) + 1)


@pytest.mark.parametrize("bound", [0, -1.0, float("nan"), float("inf"), -0.0])
def test_invalid_bounds_are_refused(chosen, bound):
    with pytest.raises(ValueError, match="l2_norm_clip"):
        chosen([[1, 2, 3]], bound)


def test_unknown_engine_is_refused(chosen):
    with pytest.raises(ValueError, match="engine='warp'"):
        chosen([[1, 2, 3]], engine="warp")


# Edge values.


def test_zero_gradient(chosen):
    sums, norms = chosen([[0, 0, 0], [3, 0, 4]], 10.0)
    assert norms.tolist() == [0, 5]
    assert sums.tolist() == [3, 0, 4]


def test_empty_batch_gives_zeros(chosen):
    sums, norms = chosen(np.zeros((0, 3)))
    assert sums.tolist() == [0, 0, 0]
    assert norms.shape == (0,)


NON_FINITE = {
    "nan": [float("nan"), 0, 0],
    "infinity": [float("inf"), 1, 0],
    "minus infinity": [0, float("-inf"), 0],
    "both": [float("inf"), float("nan"), 1],
    "norm beyond float32": [3.4e38, 3.4e38, 3.4e38],
}


@pytest.mark.parametrize("bad", NON_FINITE.values(), ids=NON_FINITE)
def test_one_bad_example_contributes_zero_and_changes_nothing_else(chosen, bad, rng):
    good = rng.normal(size=(5, 3)).astype("float32")
    expected, norms = chosen(good)
    for place in (0, 2, 5):
        batch = np.insert(good, place, bad, axis=0)
        sums, shown = chosen(batch)
        np.testing.assert_array_max_ulp(sums, expected, maxulp=4)
        assert np.isinf(shown[place])
        np.testing.assert_array_equal(np.delete(shown, place), norms)


def test_bad_example_through_a_network(rng):
    """A nan in the input makes every gradient of that example nan."""
    model, x, y = network(rng)
    expected, _ = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=0.5)
    x, y = np.append(x, [[np.nan] * 3], 0), np.append(y, [[0, 0]], 0)
    sums, norms = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=0.5)
    assert np.isinf(norms[-1])
    assert oracle.distance(sums, expected) <= 1e-6


def test_batch_of_nothing_but_nan(chosen):
    sums, norms = chosen(np.full((4, 3), np.nan))
    assert sums.tolist() == [0, 0, 0]
    assert np.isinf(norms).all()


def test_squares_beyond_the_range_of_floats(chosen):
    """1e30 squared is no float32; neither is 1e-30 squared."""
    sums, norms = chosen([[1e30, 0, 0], [0, -1e25, 0]])
    np.testing.assert_allclose(norms, [1e30, 1e25], rtol=1e-6)
    inner = 1 - oracle.MARGIN
    np.testing.assert_allclose(sums, [inner, -inner, 0], rtol=1e-5)
    sums, norms = chosen([[3e-30, 4e-30, 0]], 1e-30)
    np.testing.assert_allclose(norms, [5e-30], rtol=1e-6)
    np.testing.assert_allclose(sums, [0.6e-30 * inner, 0.8e-30 * inner, 0], rtol=1e-5)


# Microbatches.


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_any_microbatch_size_gives_the_same(rng, size):
    model, x, y = network(rng)
    whole, norms = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=0.5)
    sums, again = dp.clipped_gradients(
        model, x, y, loss="mse", l2_norm_clip=0.5, microbatch_size=size
    )
    np.testing.assert_allclose(again, norms, rtol=1e-5)
    assert oracle.distance(sums, whole) <= 1e-5 * np.minimum(norms, 0.5).sum()


def test_absent_units_contribute_exactly_zero(rng):
    """Padding to fixed batches: rows that are not present."""
    model, x, y = network(rng)
    present = np.array([True, False, True, True, False, False, True])
    plan = planned(model, x, y)
    batch = {"x": tf.constant(x), "y": tf.constant(y), "present": tf.constant(present)}
    sums, norms, losses = microbatches.sum_over_chunks(
        plan, batch, 0.5, microbatch_size=3
    )
    kept, _ = dp.clipped_gradients(
        model, x[present], y[present], loss="mse", l2_norm_clip=0.5
    )
    assert oracle.distance(sums, kept) <= 1e-6
    assert norms.numpy()[~present].tolist() == [0, 0, 0]
    assert losses.shape == (4,)


def test_groups_are_averaged_over_their_present_members_and_clipped_once(rng):
    model, x, y = network(rng)
    plan = planned(model, x, y, group_size=2)
    present = np.array([[True, True], [True, False], [False, False]])
    batch = {
        "x": tf.constant(x[:6].reshape(3, 2, 3)),
        "y": tf.constant(y[:6].reshape(3, 2, 2)),
        "present": tf.constant(present),
    }
    alone = oracle.gradients(model, x[:3], y[:3], loss=MSE())
    first = [(a + b) / 2 for a, b in zip(alone[0], alone[1], strict=True)]
    bound = 0.7 * min(oracle.norm(first), oracle.norm(alone[2]))
    wanted = oracle.add([oracle.clip(first, bound), oracle.clip(alone[2], bound)])
    for size in (2, 4, 100):
        sums, norms, _ = microbatches.sum_over_chunks(
            plan, batch, bound, microbatch_size=size
        )
        assert oracle.distance(sums, wanted) <= 1e-5 * 2 * bound
        lengths = [oracle.norm(first), oracle.norm(alone[2]), 0]
        np.testing.assert_allclose(norms, lengths, rtol=1e-5)


def planned(model, x, y, **options):
    from tfpriv.dp import clipping, keras_internals

    objective = clipping.Objective(model, keras_internals.wrap_loss("mse", model))
    spec = clipping.spec_of(clipping.as_batch(x, y))
    style = styles.get("flat")
    return clipping.make_plan(objective, spec, style, "vectorized", **options)


# Dropout.


class Scale(layers.Layer):
    """One weight per input."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.weight


@pytest.mark.parametrize("engine", ["ghost", "vectorized"])
@pytest.mark.parametrize("microbatch_size", [None, 5])
def test_each_example_gets_a_dropout_mask_of_its_own(microbatch_size, engine):
    """The chance that two of these masks are equal by accident is below 1e-50."""
    width = 400
    model = keras.Sequential([keras.Input((width,)), Scale(), layers.Dropout(0.5)])
    model.add(Scale(trainable=False))
    problem_of = {"loss": Sink(reduction="sum"), "l2_norm_clip": 1e6}

    def summed(count):
        sums, _ = dp.clipped_gradients(
            model,
            np.ones((count, width), "float32"),
            np.ones((count, width), "float32"),
            microbatch_size=microbatch_size,
            engine=engine,
            **problem_of,
        )
        return sums[0].numpy() / 2  # how many examples kept each unit

    alone = [summed(1) for _ in range(3)]
    for kept in alone:
        assert set(np.unique(kept)) == {0, 1}
        assert abs(kept.mean() - 0.5) < 8 * 0.5 / np.sqrt(width)
    assert not np.array_equal(alone[0], alone[1])  # across steps
    together = summed(40)
    # One shared mask would give 0 and 40 alone; own masks a binomial about 20.
    assert abs(together.mean() - 20) < 8 * np.sqrt(10 / width)
    assert 10 * 0.5 < together.var() < 10 * 1.6


# Planted faults: each must fail the comparison that the tests above make.


def bound_of(clip):
    """The bound that a flat `clip` closes over."""
    long = tf.constant([1e200], tf.float64)
    return tf.cast((long * clip([long])[0])[0], tf.float32)


def total(norms):
    return tf.cast(tf.norm(norms, axis=0), tf.float32)


def clip_the_sum(objective, chunk, clip):
    grads, losses, y_pred = vectorized.per_example_gradients(objective, chunk)
    sums = [tf.reduce_sum(g, 0) for g in grads]
    norms = total(vectorized.gradient_norms(grads))
    clipped, _ = tf.clip_by_global_norm(sums, bound_of(clip))
    return clipped, norms, losses, y_pred


def clip_by_the_batch(objective, chunk, clip):
    grads, losses, y_pred = vectorized.per_example_gradients(objective, chunk)
    norms = total(vectorized.gradient_norms(grads))
    scale = tf.minimum(bound_of(clip) / tf.reduce_mean(norms), 1.0)
    return [scale * tf.reduce_sum(g, 0) for g in grads], norms, losses, y_pred


def mean_instead_of_sum(objective, chunk, clip):
    sums, norms, losses, y_pred = vectorized.clipped_sum(objective, chunk, clip)
    size = tf.cast(tf.shape(norms)[0], tf.float32)
    return [s / size for s in sums], norms, losses, y_pred


def clip_each_layer(objective, chunk, clip):
    grads, losses, y_pred = vectorized.per_example_gradients(objective, chunk)
    norms = vectorized.gradient_norms(grads)
    sums = []
    for g, own in zip(grads, tf.unstack(norms), strict=True):
        scale = clip([own])[0]
        sums.append(vectorized.weighted_sum(g, scale, tf.ones_like(own, bool)))
    return sums, total(norms), losses, y_pred


def forget_a_variable(objective, chunk, clip):
    grads, losses, y_pred = vectorized.per_example_gradients(objective, chunk)
    norms = vectorized.gradient_norms(grads)
    scale = clip(norms[1:])[0]
    used = tf.ones_like(norms[0], bool)
    sums = [vectorized.weighted_sum(g, scale, used) for g in grads]
    return sums, total(norms), losses, y_pred


def count_an_example_twice(objective, chunk, clip):
    sums, norms, losses, y_pred = vectorized.clipped_sum(objective, chunk, clip)
    first = {
        k: tf.nest.map_structure(lambda t: t[:1], v) for k, v in chunk.data.items()
    }
    again, *_ = vectorized.clipped_sum(
        objective, type(chunk)(first, chunk.unit_present[:1]), clip
    )
    sums = [a + b for a, b in zip(sums, again, strict=True)]
    return sums, norms, losses, y_pred


@pytest.mark.parametrize(
    "fault",
    [
        clip_the_sum,
        clip_by_the_batch,
        mean_instead_of_sum,
        clip_each_layer,
        forget_a_variable,
        count_an_example_twice,
    ],
)
def test_planted_faults_are_caught(rng, monkeypatch, fault):
    model, x, y = network(rng)
    monkeypatch.setattr(ghost, "clipped_sum", fault)
    with pytest.raises(AssertionError):
        oracle.assert_exact(model, x, y, loss=MSE())


def test_counted_padding_is_caught(rng, monkeypatch):
    """The same as above, for rows that are not present."""
    from tfpriv.dp.clipping import objective as objectives

    def everybody(objective, chunk, clip):
        there = tf.ones_like(chunk.unit_present)
        return vectorized.clipped_sum(
            objective, objectives.Chunk(chunk.data, there), clip
        )

    monkeypatch.setattr(vectorized, "clipped_sum", everybody)
    with pytest.raises((AssertionError, RecursionError)):
        test_absent_units_contribute_exactly_zero(rng)


def test_shared_dropout_masks_are_caught(monkeypatch):
    from tfpriv.dp.clipping import objective as objectives

    own = objectives.example_seeds

    def shared(words, count, start):
        return [tf.repeat(s[:1], count, axis=0) for s in own(words, count, start)]

    monkeypatch.setattr(microbatches, "example_seeds", shared)
    with pytest.raises(AssertionError):
        test_each_example_gets_a_dropout_mask_of_its_own(None, "vectorized")
