"""Epsilon from the events that training really emitted, row by row of the table.

Each row trains a model, looks at what the ledger holds, and compares epsilon with the
analytic Gaussian or with numerical integration of the mechanism (`integration.py`).
"""

import itertools

import dp_accounting as dpa
import integration
import keras
import numpy as np
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.accounting import Ledger, LedgerError

Relation = dpa.NeighboringRelation
DELTA = 1e-5
Z = 1.1


def only_entry(model, steps):
    """The one entry of a ledger, which counts every step that was done."""
    (entry,) = model.privacy.ledger.entries
    assert entry.count == steps == int(model.optimizer.iterations)
    return entry


def assert_close_above(bound, truth, slack):
    """A bound is never below the truth (but for the grid), nor far above it."""
    assert truth * (1 - 2e-4) <= bound <= truth * (1 + slack)


def test_poisson_from_arrays():
    model = small.private()
    model.fit(*small.data(40), batch_size=10, epochs=3, verbose=0)
    entry = only_entry(model, 12)
    event = dpa.PoissonSampledDpEvent(0.25, dpa.GaussianDpEvent(Z))
    assert entry.mechanism.event == event
    assert entry.mechanism.relation is Relation.ADD_OR_REMOVE_ONE
    assert (entry.unit, entry.purpose) == ("example", "training step")
    assert entry.mechanism.population == 40
    assert entry.mechanism.notes == ("data set size treated as public",)
    truth = integration.poisson(0.25, Z, 12, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)
    assert_close_above(model.privacy.epsilon(DELTA), truth, 0.25)


def test_poisson_with_every_unit_in_every_batch_is_the_analytic_gaussian():
    model = small.private()
    model.fit(*small.data(8), batch_size=8, epochs=5, verbose=0)
    only_entry(model, 5)
    truth = integration.gaussian(Z, 5, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)
    assert_close_above(model.privacy.epsilon(DELTA), truth, 0.25)


def test_planted_accountant_with_half_the_steps(monkeypatch):
    real = Ledger.steps
    monkeypatch.setattr(
        Ledger, "steps", lambda self: [(e, n // 2) for e, n in real(self)]
    )
    with pytest.raises(AssertionError, match="<="):
        test_poisson_from_arrays()


def test_planted_epochs_counted_for_steps(monkeypatch):
    """Of the four steps of an epoch one is written down."""
    real, calls = Ledger.record, itertools.count()

    def once_an_epoch(self, *args, purpose, **options):
        if purpose != "training step" or next(calls) % 4 == 0:
            real(self, *args, purpose=purpose, **options)

    monkeypatch.setattr(Ledger, "record", once_an_epoch)
    with pytest.raises(AssertionError, match="== 12"):
        test_poisson_from_arrays()


def test_declared_population():
    sampler = dp.PoissonSampler(
        small.data(30), batch_size=5, steps_per_epoch=2, population=50
    )
    model = small.private()
    model.fit(sampler, epochs=2, verbose=0)
    entry = only_entry(model, 4)
    assert entry.mechanism.event.sampling_probability == 0.1
    assert entry.mechanism.population == 50
    assert entry.mechanism.notes == ()


def test_fixed_size():
    model = small.private()
    model.fit(dp.FixedSizeSampler(small.data(20), batch_size=4), epochs=2, verbose=0)
    entry = only_entry(model, 10)
    halved = dpa.GaussianDpEvent(Z / 2)
    event = dpa.SampledWithoutReplacementDpEvent(20, 4, halved)
    assert entry.mechanism.event == event
    assert entry.mechanism.relation is Relation.REPLACE_ONE
    # A pair of neighbours that occurs: all else zero, one vector turned round.
    pair = {1.0: 0.2, 0.0: 0.8}, {-1.0: 0.2, 0.0: 0.8}
    reached = integration.mixtures(*pair, Z, 10, DELTA)
    assert reached <= model.privacy.epsilon(DELTA)
    proved = integration.fixed_size(20, 4, Z, 10, DELTA)
    assert model.privacy.epsilon(DELTA) == pytest.approx(proved, rel=0.02)
    with pytest.raises(ValueError, match="fixed-size"):
        model.privacy.epsilon(DELTA, accountant="pld")


def test_fixed_size_of_everything_is_the_analytic_gaussian_of_twice_the_sensitivity():
    model = small.private()
    model.fit(dp.FixedSizeSampler(small.data(6), batch_size=6), epochs=3, verbose=0)
    only_entry(model, 3)
    truth = integration.gaussian(Z / 2, 3, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA), truth, 0.25)


@pytest.mark.parametrize("occurrences", [1, 3])
def test_stream(occurrences):
    dataset = tf.data.Dataset.from_tensor_slices(small.data(12)).batch(5)
    model = small.private()
    model.fit(dp.Stream(dataset, max_occurrences=occurrences), epochs=2, verbose=0)
    entry = only_entry(model, 6)
    assert entry.mechanism.event == dpa.GaussianDpEvent(Z / occurrences)
    assert entry.mechanism.relation is Relation.REPLACE_SPECIAL
    truth = integration.gaussian(Z / occurrences, 6, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)
    assert_close_above(model.privacy.epsilon(DELTA), truth, 0.25)


def test_own_batches_declared():
    model = small.private(max_occurrences=2)
    x, y = small.data(6)
    for _ in range(4):
        model.train_on_batch(x, y)
    entry = only_entry(model, 4)
    assert entry.mechanism.event == dpa.GaussianDpEvent(Z / 2)
    assert entry.mechanism.relation is Relation.REPLACE_SPECIAL
    assert entry.purpose == "user-provided batch"
    truth = integration.gaussian(Z / 2, 4, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)


def test_own_batches_undeclared():
    model = small.private()
    with pytest.warns(UserWarning, match="max_occurrences"):
        model.train_on_batch(*small.data(6))
    entry = only_entry(model, 1)
    assert entry.mechanism.event == dpa.NonPrivateDpEvent()
    assert model.privacy.epsilon(DELTA) == np.inf


def test_own_loop_is_charged_a_step_for_every_apply():
    model = small.plain()
    optimizer = small.sgd().track(dp.Privacy("picture", max_occurrences=1))
    x, y = small.data(6)

    @tf.function
    def step():
        gradients, _ = dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0)
        optimizer.apply(gradients, model.trainable_variables)

    for _ in range(3):
        step()
    (entry,) = optimizer.privacy.ledger.entries
    assert (entry.count, entry.unit) == (3, "picture")
    assert entry.mechanism.event == dpa.GaussianDpEvent(Z)


def test_own_loop_around_train_step():
    model = small.private(max_occurrences=1)
    x, y = map(tf.constant, small.data(6))
    model._prepare({"x": tf.TensorSpec([3]), "y": tf.TensorSpec([1])})
    model.train_step((x, y))
    assert only_entry(model, 1).mechanism.event == dpa.GaussianDpEvent(Z)


def test_groups():
    groups = np.repeat(np.arange(10), 4)
    sampler = dp.PoissonSampler(
        small.data(40), batch_size=2, groups=groups, max_examples_per_group=3
    )
    model = small.private(unit="person")
    model.fit(sampler, epochs=2, verbose=0)
    entry = only_entry(model, 10)
    assert entry.mechanism.event.sampling_probability == 0.2
    assert entry.mechanism.population == 10
    assert entry.unit == "person"
    truth = integration.poisson(0.2, Z, 10, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)


def test_groups_need_a_name():
    sampler = dp.PoissonSampler(
        small.data(4), batch_size=1, groups=[0, 0, 1, 1], max_examples_per_group=2
    )
    with pytest.raises(ValueError, match="say what a group is"):
        small.private().fit(sampler, verbose=0)


def test_a_unit_that_is_one_example_is_noted_as_declared():
    model = small.private(unit="picture")
    model.fit(*small.data(20), batch_size=10, verbose=0)
    notes = only_entry(model, 2).mechanism.notes
    assert "each example is one whole picture, as declared" in notes


def test_private_metrics_pay_for_gradient_and_loss_together():
    model = small.private(private_metrics=True)
    model.fit(*small.data(40), batch_size=10, verbose=0)
    inner = only_entry(model, 4).mechanism.event.event
    # Two Gaussians on one batch: distances add in squares of C / sigma. The loss is
    # bounded by 10 and has noise of 100 z.
    together = np.hypot(1 / Z, 10 / (100 * Z))
    assert inner.noise_multiplier == pytest.approx(1 / together, rel=1e-12)
    truth = integration.poisson(0.25, 1 / together, 4, DELTA)
    assert_close_above(model.privacy.epsilon(DELTA, "pld"), truth, 0.002)


def test_private_metrics_of_own_batches_are_paid_too():
    model = small.private(private_metrics=True, max_occurrences=1)
    model.train_on_batch(*small.data(6))
    event = only_entry(model, 1).mechanism.event
    assert event.noise_multiplier == pytest.approx((Z**-2 + (10 * Z) ** -2) ** -0.5)
    with pytest.raises(ValueError, match="paid for in `fit`"):
        model.train_step(tuple(map(tf.constant, small.data(6))))


def test_no_noise_is_no_privacy():
    model = small.private(small.sgd(noise_multiplier=0.0))
    model.fit(*small.data(20), batch_size=10, verbose=0)
    assert only_entry(model, 2).mechanism.event == dpa.NonPrivateDpEvent()
    assert model.privacy.epsilon(DELTA) == np.inf


def test_steps_add_up_over_fits_and_noise_multipliers():
    model = small.private()
    x, y = small.data(20)
    model.fit(x, y, batch_size=5, verbose=0)
    model.fit(x, y, batch_size=5, epochs=2, verbose=0)
    only_entry(model, 12)
    small.compiled(model, small.sgd(noise_multiplier=2.0))
    model.fit(x, y, batch_size=5, verbose=0)
    assert [entry.count for entry in model.privacy.ledger.entries] == [12, 4]
    first = integration.poisson(0.25, Z, 12, DELTA)
    assert model.privacy.epsilon(DELTA, "pld") > first


def fixed(arrays):
    return dp.FixedSizeSampler(arrays, 5)


def stream(arrays):
    return dp.Stream(tf.data.Dataset.from_tensor_slices(arrays).batch(5), 1)


def poisson(arrays):
    return dp.PoissonSampler(arrays, 5)


@pytest.mark.parametrize(
    ("first", "second"), [(poisson, fixed), (fixed, stream), (stream, poisson)]
)
def test_another_relation_is_refused_before_anything_happens(first, second, tmp_path):
    model = small.private()
    model.fit(first(small.data(20)), verbose=0)
    weights, ledger = model.get_weights(), model.privacy.ledger.copy()
    backup = dp.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(LedgerError, match="relation"):
        model.fit(second(small.data(20)), verbose=0, callbacks=[backup])
    np.testing.assert_equal(model.get_weights(), weights)
    assert model.privacy.ledger == ledger
    assert not (tmp_path / "backup").exists()
    model.fit(first(small.data(20)), verbose=0)  # and it goes on as before


def test_own_batches_after_sampled_ones_are_refused():
    model = small.private(max_occurrences=1)
    model.fit(*small.data(20), batch_size=5, verbose=0)
    weights, steps = model.get_weights(), len(model.privacy.ledger)
    with pytest.raises(LedgerError, match="relation"):
        model.train_on_batch(*small.data(5))
    np.testing.assert_equal(model.get_weights(), weights)
    assert len(model.privacy.ledger) == steps == int(model.optimizer.iterations)


def test_stop_by_a_callback_charges_the_steps_done():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    model = small.private()
    model.fit(*small.data(40), batch_size=4, verbose=0, callbacks=[Stop()])
    only_entry(model, 3)
