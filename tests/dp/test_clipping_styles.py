"""Clipping styles: factors within the bound, and a bound that adapts, paid for."""

import json
import math

import dp_accounting as dpa
import integration
import keras
import noise_checks
import numpy as np
import oracle
import pytest
import small
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from keras import layers
from scipy import stats

import tfpriv.dp as dp
from tfpriv.accounting import mechanisms
from tfpriv.dp.clipping import styles, tags
from tfpriv.dp.privacy import Privacy

FIXED = ("flat", "per_layer", "automatic")
DELTA = 1e-5


def adaptive(target_quantile=0.5, learning_rate=0.2, indicator_stddev=0.0):
    return dp.AdaptiveClipping(
        target_quantile, learning_rate, indicator_stddev=indicator_stddev
    )


# Against numpy.


def dense_network():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)]
    )
    return model, np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


def attention():
    words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4)(words)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))
    shared = layers.Dense(4, "tanh")
    x = layers.GlobalAveragePooling1D()(shared(shared(x)))
    model = keras.Model(words, layers.Dense(2)(x))
    return model, np.random.default_rng(0).integers(0, 7, size=(6, 5))


def slow_factors(style, norms, layer_names, bound):
    """The factors of one example, in plain Python."""
    total, bound = math.hypot(*norms), bound * (1 - oracle.MARGIN)
    if style == "flat":
        return [min(1.0, bound / total)] * len(norms)
    if style == "automatic":
        return [bound / (total + 0.01)] * len(norms)
    share = bound / math.sqrt(len(set(layer_names)))
    own = {
        name: math.hypot(
            *[n for n, m in zip(norms, layer_names, strict=True) if m == name]
        )
        for name in layer_names
    }
    return [min(1.0, share / own[name]) for name in layer_names]


@pytest.mark.parametrize("style", FIXED)
@pytest.mark.parametrize("engine", ["auto", "vectorized"])
@pytest.mark.parametrize("make", [dense_network, attention])
def test_clipped_sums_are_those_of_the_slow_loop(make, engine, style):
    model, x = make()
    y = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    alone = oracle.gradients(model, x, y, loss=keras.losses.MeanSquaredError())
    # A weight's path names the layer that owns it.
    names = [v.path.rpartition("/")[0] for v in model.trainable_variables]
    lengths = np.array([oracle.norm(g) for g in alone])
    bound = float(np.median(lengths))
    wanted = []
    for gradient in alone:
        factors = slow_factors(
            style, [oracle.norm([g]) for g in gradient], names, bound
        )
        wanted.append([f * g for f, g in zip(factors, gradient, strict=True)])
    options = {"clipping": style, "engine": engine, "microbatch_size": 4}
    sums, norms = dp.clipped_gradients(
        model, x, y, loss="mse", l2_norm_clip=bound, **options
    )
    np.testing.assert_allclose(norms, lengths, rtol=1e-5)
    assert oracle.distance(sums, oracle.add(wanted)) <= 1e-5 * 6 * bound


# The bound.


class OfProblem:
    """As much of a objective as a style looks at: three layers, four weights."""

    def __init__(self):
        self.model = keras.Sequential(
            [
                keras.Input((2,)),
                layers.Dense(2, use_bias=False),
                layers.Dense(2),
                layers.Dense(2, use_bias=False),
            ]
        )
        self.keras_variables = self.model.trainable_variables


@pytest.fixture(scope="module")
def four_weights():
    return OfProblem()


def assert_bounded(factors, norms, bound):
    """Checks the guarantee of `styles` for each unit, in Python's own arithmetic."""
    found = np.asarray(factors(tf.constant(norms, tf.float64), bound))
    found = np.broadcast_to(found, np.shape(norms))
    for unit in range(len(norms[0])):
        scales = found[:, unit].tolist()
        assert all(0 <= s < math.inf for s in scales), scales
        products = [s * float(n[unit]) for s, n in zip(scales, norms, strict=True)]
        assert math.hypot(*products) <= bound * (1 + 1e-12), (scales, norms)


LARGEST = float(np.finfo("float64").max)
NORMS = st.one_of(
    st.sampled_from([0.0, 1e-300, 1.0, 1e300, LARGEST]),
    st.floats(0.0, LARGEST, allow_subnormal=False),
)
BOUNDS = st.floats(1e-9, 1e9)


@pytest.mark.parametrize("style", [*FIXED, adaptive()])
@settings(max_examples=150, deadline=None)
@given(units=st.lists(st.tuples(*[NORMS] * 4), min_size=1, max_size=4), bound=BOUNDS)
def test_no_norms_lead_beyond_the_bound(four_weights, style, units, bound):
    factors = styles.get(style).bind(four_weights)
    assert_bounded(factors, list(zip(*units, strict=True)), bound)


def whole_bound_for_each_layer(norms, bound):
    return tf.minimum(bound / norms, 1.0)


def without_the_last_weight(norms, bound):
    return styles._shrink(norms[:-1], bound)[tf.newaxis]


def normalised_by_less(norms, bound):
    return (bound / (0.99 * styles.total_norm(norms) + 0.01))[tf.newaxis]


def never_shrunk(norms, bound):
    del bound
    return tf.ones_like(norms)


@pytest.mark.parametrize(
    "fault",
    [
        whole_bound_for_each_layer,
        without_the_last_weight,
        normalised_by_less,
        never_shrunk,
    ],
)
def test_planted_factors_beyond_the_bound_are_found(fault):
    @settings(max_examples=150, deadline=None, database=None, phases=[Phase.generate])
    @given(units=st.lists(st.tuples(*[NORMS] * 4), min_size=1, max_size=4), b=BOUNDS)
    def search(units, b):
        assert_bounded(fault, list(zip(*units, strict=True)), b)

    with pytest.raises(AssertionError):
        search()


class Sink(keras.losses.Loss):
    """Loss whose gradient for the example's offset is the example itself."""

    def call(self, y_true, y_pred):
        return keras.ops.sum(y_true * y_pred, axis=-1)


def chosen_gradients():
    """A model of two layers in which an example's gradients are just its labels."""
    x = keras.Input((1,))
    ends = [layers.Dense(2, use_bias=False, name=name)(x) for name in ("a", "b")]
    return keras.Model(x, ends), [Sink(reduction="sum")] * 2


@pytest.fixture(scope="module")
def clipped_sum():
    model, losses = chosen_gradients()

    def clipped(rows, style, bound):
        rows = np.asarray(rows, "float32").reshape(-1, 4)
        x = np.ones((len(rows), 1), "float32")
        labels = [rows[:, :2], rows[:, 2:]]
        options = {"loss": losses, "l2_norm_clip": bound, "clipping": style}
        sums, _ = dp.clipped_gradients(model, x, labels, **options)
        return np.concatenate([np.ravel(s) for s in sums])

    return clipped


LONG = float(np.float32(1e30))
FLOATS = st.floats(-LONG, LONG, width=32, allow_subnormal=False)


@pytest.mark.parametrize("style", FIXED)
@settings(max_examples=20, deadline=None)
@given(
    common=st.lists(st.tuples(*[FLOATS] * 4), max_size=4),
    extra=st.tuples(*[st.floats(width=32)] * 4),
    bound=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_one_unit_moves_the_sum_by_at_most_the_bound(
    clipped_sum, style, common, extra, bound
):
    """Whatever the unit: nan, infinities, the largest floats."""
    before = clipped_sum(common, style, bound)
    after = clipped_sum([*common, extra], style, bound)
    moved = np.linalg.norm(after - before)
    assert moved <= bound * (1 + 1e-5 * (len(common) + 1))


@pytest.mark.parametrize("style", ["warp", None, 1.0, dp.AdaptiveClipping])
def test_unknown_styles_are_refused(style):
    with pytest.raises(ValueError, match="Received: clipping="):
        small.sgd(clipping=style)


# Who may clip what.


def gradients_of(model, style, bound=1.0):
    x, y = small.data(6)
    return dp.clipped_gradients(
        model, x, y, loss="mse", l2_norm_clip=bound, clipping=style
    )[0]


def test_adaptive_is_refused_where_no_indicator_is_released():
    with pytest.raises(ValueError, match="how many units were clipped"):
        gradients_of(small.plain(), adaptive())


def test_another_style_is_refused():
    model = small.plain()
    gradients = gradients_of(model, "per_layer")
    for style in ("flat", "automatic", adaptive()):
        optimizer = small.sgd(clipping=style)
        with pytest.raises(ValueError, match="disagree on the clipping style"):
            optimizer.apply(gradients, model.trainable_variables)
        assert len(optimizer.privacy.ledger) == 0
    own = small.sgd(clipping="per_layer")
    own.privacy.max_occurrences = 1
    own.apply(gradients, model.trainable_variables)
    assert len(own.privacy.ledger) == 1


def test_a_bound_read_from_another_optimizer_is_refused():
    model = small.plain()
    ours, theirs = small.sgd(clipping=adaptive()), small.sgd(clipping=adaptive())
    bounds = {
        "another optimizer's": theirs.current_l2_norm_clip,
        "halved": ours.current_l2_norm_clip / 2,
        "a number": 1.0,
    }
    for bound in bounds.values():
        gradients = gradients_of(model, "flat")
        proof = tags.ClippedSum(
            bound, 6, None, "adaptive", tf.constant(0.0, tf.float64)
        )
        with pytest.raises(ValueError, match="disagree on the clip norm"):
            ours.apply(tags.mark(gradients, proof), model.trainable_variables)
    proof = tags.ClippedSum(theirs.current_l2_norm_clip, 6)
    with pytest.raises(ValueError, match="disagree on the clip norm"):
        small.sgd().apply(
            tags.mark(gradients_of(model, "flat"), proof), model.trainable_variables
        )


# Indicators.


def assert_indicators_are_centred(style):
    """One unit more or less moves their sum by exactly 1/2, whatever its norm."""
    norms = np.array([0.0, 0.5, 1.0, 2.0, np.inf, np.nan, 0.1])
    bound = tf.constant(1.0, tf.float64)

    def total(present):
        return float(style.indicators(tf.constant(norms), tf.constant(present), bound))

    everybody = np.ones(len(norms), bool)
    assert total(~everybody) == 0
    for i in range(len(norms)):
        without = everybody & (np.arange(len(norms)) != i)
        moved = total(everybody) - total(without)
        assert moved == (0.5 if norms[i] <= 1 else -0.5)


@pytest.mark.parametrize(
    "name", ["indicator_stddev", "learning_rate", "target_quantile"]
)
def test_what_a_compiled_step_has_inside_is_read_only(name):
    with pytest.raises(AttributeError, match="no setter"):
        setattr(adaptive(), name, 0.3)


def test_indicators_are_centred():
    assert_indicators_are_centred(adaptive())


def test_planted_indicator_of_one_is_found():
    class Uncentred(dp.AdaptiveClipping):
        def indicators(self, norms, present, l2_norm_clip):
            unclipped = tf.logical_and(norms <= l2_norm_clip, present)
            return tf.reduce_sum(tf.cast(unclipped, tf.float64))

    with pytest.raises(AssertionError):
        assert_indicators_are_centred(Uncentred(indicator_stddev=0.0))


def model_of_norms(style, bound=1.0, noise_multiplier=0.0, **options):
    """A model where an example's gradient norm is its label."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    options = {"l2_norm_clip": bound, "noise_multiplier": noise_multiplier, **options}
    optimizer = small.sgd(1e-3, clipping=style, **options)
    return small.compiled(dp.make_private(model), optimizer, loss=Sink(reduction="sum"))


def of_norms(norms, **options):
    y = np.reshape(norms, (-1, 1)).astype("float32")
    return dp.PoissonSampler((np.ones_like(y), y), len(y), **options)


def bound_of(model):
    return float(model.optimizer.current_l2_norm_clip)


class Bounds(keras.callbacks.Callback):
    """The bound of each step, and the one after the last."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_begin(self, logs=None):
        self.seen.append(bound_of(self.model))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(bound_of(self.model))


def test_one_step_by_hand():
    """Two of five units are unclipped; nan and infinity count as clipped."""
    model = model_of_norms(adaptive(0.3, 0.7), bound=2.0)
    before = model.get_weights()[0].item()
    sampler = of_norms([1.0, 2.0, 3.0, np.nan, np.inf], steps_per_epoch=1)
    model.fit(sampler, verbose=0)
    assert bound_of(model) == pytest.approx(2.0 * math.exp(-0.7 * (2 / 5 - 0.3)))
    # The gradients were clipped to the bound before: 1 + 2 + 2, over 5, where the
    # longest two are scaled to the bound less the margin for rounding.
    moved = model.get_weights()[0].item() - before
    inner = 2.0 * (1 - oracle.MARGIN)
    assert moved == pytest.approx(-1e-3 * (1 + 2 * inner) / 5, rel=1e-3)


def test_a_group_has_one_indicator():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model = dp.make_private(model, unit="person")
    optimizer = small.sgd(1e-3, noise_multiplier=0.0, clipping=adaptive(0.5, 1.0))
    small.compiled(model, optimizer, loss=Sink(reduction="sum"))
    # Means of 0.5 and 4: one person of two is unclipped.
    y = np.array([0.5] * 9 + [1.0, 7.0], "float32").reshape(-1, 1)
    sampler = dp.PoissonSampler(
        (np.ones_like(y), y),
        2,
        groups=[0] * 9 + [1, 1],
        max_examples_per_group=9,
        steps_per_epoch=1,
    )
    model.fit(sampler, verbose=0)
    assert bound_of(model) == pytest.approx(1.0)


@pytest.mark.parametrize(("quantile", "start"), [(0.5, 100.0), (0.9, 0.01)])
def test_the_bound_converges_to_the_quantile(quantile, start):
    norms = np.random.default_rng(0).lognormal(0.0, 1.0, size=400)
    model = model_of_norms(adaptive(quantile, 0.3), bound=start)
    model.fit(of_norms(norms, steps_per_epoch=250), verbose=0)
    assert np.mean(norms <= bound_of(model)) == pytest.approx(quantile, abs=0.01)


@pytest.mark.parametrize("noised", [0.0, 1e300, -1e300, 1e9, -1e9])
def test_the_bound_stays_in_its_range(noised):
    bound = tf.constant(0.5, tf.float64)
    after = float(adaptive().next_bound(bound, noised, 10.0, 0.5))
    assert 0.5e-6 <= after <= 0.5e6


@pytest.mark.parametrize(
    "options",
    [
        {"target_quantile": -0.1},
        {"target_quantile": math.nan},
        {"learning_rate": 0.0},
        {"indicator_stddev": -1.0},
        {"indicator_stddev": math.inf},
    ],
)
def test_invalid_numbers_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        dp.AdaptiveClipping(**{"indicator_stddev": 1.0, **options})


def test_a_start_near_the_end_of_floats_is_refused():
    with pytest.raises(ValueError, match="l2_norm_clip"):
        small.sgd(l2_norm_clip=1e36, clipping=adaptive())


# Noise: on the gradients with the bound of the step, on the count its own.

STDDEV, STEPS = 3.0, 600
ALARM = 1e-6 / 10  # of each check of `assert_fresh_noise`, Bonferroni over them


@pytest.fixture
def empty_steps():
    """Trains on empty batches: returns noise on weights and on counts, in sigmas."""

    def run():
        style = adaptive(learning_rate=0.02, indicator_stddev=STDDEV)
        optimizer = small.sgd(1.0, 0.5, noise_multiplier=2.0, clipping=style)
        model = small.private(optimizer, features=2)
        updates, bounds = noise_checks.Updates(), Bounds()
        sampler = dp.PoissonSampler(
            small.data(8, 2), 1, steps_per_epoch=STEPS, population=10**9
        )
        model.fit(sampler, verbose=0, callbacks=[updates, bounds])
        bounds = np.array(bounds.seen)
        weights = np.array([[*np.ravel(k), *b] for k, b in updates.steps])
        # Nobody is there: the fraction is 1/2, the target, but for the noise.
        counts = -np.diff(np.log(bounds)) / 0.02 / STDDEV
        return weights / (2.0 * bounds[:-1, None]), counts

    return run


def assert_fresh_noise(weights, counts):
    """Standard normal counts, independent of each other and of the weights' noise.

    False alarm 1e-6. Weights carry float32 rounding of their running sum.
    """
    for noise in (weights.ravel(), counts):
        n = len(noise)
        tails = stats.chi2.cdf(np.sum(noise**2), n), stats.chi2.sf(np.sum(noise**2), n)
        assert min(tails) > ALARM / 2, f"sigma is off by {np.std(noise)}"
    assert abs(np.mean(counts)) * np.sqrt(STEPS) < stats.norm.isf(ALARM / 2)
    others = [*weights.T, np.roll(counts, 1)]
    for other in others:
        product = np.dot(counts, other) / np.sqrt(STEPS)
        assert abs(product) < stats.norm.isf(ALARM / 2), "correlated"


def test_noise_is_fresh_and_scaled_to_the_bound_of_its_step(empty_steps):
    weights, counts = empty_steps()
    assert counts.shape == (STEPS,)
    assert_fresh_noise(weights, counts)


def test_planted_noise_of_the_gradients_is_found(empty_steps, monkeypatch):
    redeem, keys = Privacy.redeem, []

    def remembered(self, *args):
        keys.append(redeem(self, *args))
        return keys[-1]

    monkeypatch.setattr(Privacy, "redeem", remembered)
    monkeypatch.setattr(Privacy, "side_key", lambda self, purpose: keys[-1])
    with pytest.raises(AssertionError, match="correlated"):
        assert_fresh_noise(*empty_steps())


def test_planted_bound_that_moves_before_the_noise_is_found(monkeypatch):
    """With everybody unclipped the bound shrinks by a tenth in every step."""

    def updates():
        style = adaptive(learning_rate=0.2)
        optimizer = small.sgd(1.0, 0.5, noise_multiplier=2.0, clipping=style)
        model = dp.make_private(noise_checks.wide())
        small.compiled(model, optimizer, loss=noise_checks.zero)
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        seen, bounds = noise_checks.Updates(), Bounds()
        sampler = dp.PoissonSampler(small.data(4, 2), 4, steps_per_epoch=3)
        model.fit(sampler, verbose=0, callbacks=[seen, bounds])
        pairs = zip(seen.steps, bounds.seen[:-1], strict=True)
        assert bounds.seen[-1] == pytest.approx(0.5 * math.exp(-0.3))
        return [[u / b for u in step] for step, b in pairs]

    noise_checks.assert_noise(updates(), 2.0 / 4)
    monkeypatch.setattr(
        dp.PrivateOptimizer, "_stddev", lambda self, bound: 2.0 * bound * math.exp(-0.1)
    )
    with pytest.raises(AssertionError, match=r"sigma is off by 0\.90"):
        noise_checks.assert_noise(updates(), 2.0 / 4)


# What it costs.

Z = 1.1
JOINT = (Z**-2 + (2 * STDDEV) ** -2) ** -0.5  # written out once more


def private(**options):
    style = adaptive(indicator_stddev=STDDEV)
    return small.private(small.sgd(noise_multiplier=Z, clipping=style), **options)


def event_of(model):
    (entry,) = model.privacy.ledger.entries
    assert "noised count of clipped units" in " ".join(entry.mechanism.notes)
    return entry.mechanism.event


def assert_close_above(bound, truth, slack):
    assert truth * (1 - 2e-4) <= bound <= truth * (1 + slack)


def test_poisson_steps_cost_gradients_and_count_together():
    model = private()
    model.fit(*small.data(40), batch_size=10, epochs=3, verbose=0)
    (entry,) = model.privacy.ledger.entries
    assert entry.count == 12
    assert entry.mechanism == mechanisms.adaptive_clipping(
        lambda z: mechanisms.poisson(
            0.25, z, population=40, notes=("data set size treated as public",)
        ),
        Z,
        STDDEV,
    )
    assert event_of(model).event.noise_multiplier == pytest.approx(JOINT)
    truth = integration.poisson(0.25, JOINT, 12, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)
    assert integration.poisson(0.25, Z, 12, DELTA) < truth  # the count is not free


def test_full_batches_cost_the_analytic_gaussian():
    model = private()
    model.fit(*small.data(8), batch_size=8, epochs=5, verbose=0)
    truth = integration.gaussian(JOINT, 5, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)


def test_with_a_private_loss_all_three_are_one_gaussian():
    model = private(private_metrics=True)
    model.fit(*small.data(8), batch_size=8, verbose=0)
    three = (Z**-2 + (10 * Z) ** -2 + (2 * STDDEV) ** -2) ** -0.5
    assert event_of(model).event.noise_multiplier == pytest.approx(three)


def test_fixed_size_batches_cost_twice_the_sensitivity_of_both():
    model = private()
    model.fit(dp.FixedSizeSampler(small.data(20), batch_size=4), verbose=0)
    event = event_of(model)
    assert event == dpa.SampledWithoutReplacementDpEvent(20, 4, event.event)
    assert event.event.noise_multiplier == pytest.approx(JOINT / 2)


@pytest.mark.parametrize("occurrences", [1, 3])
def test_own_batches(occurrences):
    model = private(max_occurrences=occurrences)
    x, y = small.data(6)
    model.train_on_batch(x, y)
    model.train_step((x, y))
    assert len(model.privacy.ledger) == 2
    assert event_of(model).noise_multiplier == pytest.approx(JOINT / occurrences)


def test_no_noise_on_the_count_is_no_privacy():
    model = small.private(small.sgd(noise_multiplier=Z, clipping=adaptive()))
    model.fit(*small.data(8), batch_size=8, verbose=0)
    assert model.privacy.epsilon(DELTA) == math.inf


def test_a_budget_pays_for_the_count_too():
    style = adaptive(indicator_stddev=STDDEV)
    plan = {"population": 40, "batch_size": 10, "steps": 8, "clipping": style}
    optimizer = dp.DPSGD.for_budget(3.0, DELTA, **plan)
    model = small.private(optimizer)
    model.fit(*small.data(40), batch_size=10, epochs=2, verbose=0)
    assert len(model.privacy.ledger) == 8
    assert 0.999 * 3.0 <= model.privacy.epsilon(DELTA) <= 3.0
    event = event_of(model).event
    z2 = 2 * STDDEV
    joint = (optimizer.noise_multiplier**-2 + z2**-2) ** -0.5
    assert event.noise_multiplier == pytest.approx(joint)
    plan["clipping"] = adaptive(indicator_stddev=0.1)
    with pytest.raises(ValueError, match="No noise keeps"):
        dp.DPSGD.for_budget(3.0, DELTA, **plan)


# The bound travels with the optimizer.


@pytest.mark.parametrize("style", FIXED)
def test_fixed_styles_are_serialised(style):
    optimizer = dp.DPAdam(l2_norm_clip=2.0, noise_multiplier=1.0, clipping=style)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.clipping.name == again.get_config()["clipping"] == style
    assert again.current_l2_norm_clip == 2.0


def test_a_saved_model_keeps_the_bound(tmp_path):
    model = private()
    model.fit(*small.data(8), batch_size=8, epochs=3, verbose=0)
    assert bound_of(model) != 1.0
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert bound_of(again) == bound_of(model)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    again.fit(*small.data(8), batch_size=8, verbose=0)
    assert bound_of(again) != bound_of(model)


def test_an_interrupted_run_goes_on_with_its_bound(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    first, bounds = private(), Bounds()
    backup = dp.BackupAndRestore(tmp_path / "backup")
    options = {"batch_size": 8, "epochs": 4, "verbose": 0}
    with pytest.raises(InterruptedError):
        first.fit(*small.data(8), callbacks=[backup, bounds, Stop()], **options)
    second, resumed = private(), Bounds()
    backup = dp.BackupAndRestore(tmp_path / "backup")
    second.fit(*small.data(8), callbacks=[backup, resumed], **options)
    assert resumed.seen[0] == bounds.seen[-1] != 1.0
    assert len(second.privacy.ledger) == 4


TWO_DEVICES = """
import json
import numpy as np
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import keras
import small
import tfpriv.dp as dp

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = small.data(7)

class Bounds(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seen = [float(self.model.optimizer.current_l2_norm_clip)]
    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.current_l2_norm_clip))

def trained(strategy, sampler, noise, **options):
    style = dp.AdaptiveClipping(0.5, **options)
    with strategy.scope():
        model = small.private(small.sgd(0.5, noise_multiplier=noise, clipping=style))
    model.set_weights([np.ones((3, 1)), np.ones(1)])
    bounds = Bounds()
    model.fit(sampler, verbose=0, callbacks=[bounds])
    return bounds.seen, model

everybody = dp.PoissonSampler((x, y), 7, steps_per_epoch=6)
exact = {"learning_rate": 0.7, "indicator_stddev": 0.0}
found = {}
found["one"] = trained(tf.distribute.get_strategy(), everybody, 0.0, **exact)[0]
found["two"] = trained(mirrored, everybody, 0.0, **exact)[0]
nobody = dp.PoissonSampler((x, y), 1, steps_per_epoch=150, population=10**9)
noisy = {"learning_rate": 0.02, "indicator_stddev": 3.0}
seen, model = trained(mirrored, nobody, 1.0, **noisy)
found["counts"] = (-np.diff(np.log(seen)) / 0.02 / 3.0).tolist()
found["replicas"] = [float(v) for v in model.optimizer._bound.value.values]
found["last"] = seen[-1]
print(json.dumps(found))
"""


def test_two_devices_share_one_bound():
    """One noise on the count, not one a device: false alarm 1e-6."""
    found = json.loads(small.run_script(TWO_DEVICES).splitlines()[-1])
    assert len(set(found["one"])) > 1
    np.testing.assert_allclose(found["two"], found["one"], rtol=1e-12)
    assert set(found["replicas"]) == {found["last"]}
    spread = np.sum(np.square(found["counts"]))
    assert min(stats.chi2.cdf(spread, 150), stats.chi2.sf(spread, 150)) > 0.5e-6
