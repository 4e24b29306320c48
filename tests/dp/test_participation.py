"""Declared participations: what is charged, what is refused, and planted faults."""

import dp_accounting as dpa
import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import small
import tensorflow as tf

from tfpriv import dp
from tfpriv.accounting import Ledger, LedgerError, mechanisms
from tfpriv.dp.participation import Participations

DELTA = 1e-5


def gaussians(ledger):
    """Squared inverse noise multipliers, added up."""
    return sum(e.count * e.mechanism.event.noise_multiplier**-2 for e in ledger.entries)


def stream_of(batches=3, **options):
    x, y = small.data(4 * batches)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(12).batch(4)
    return dp.Stream(dataset, 1, **options)


def private(noise_multiplier=1.0, **options):
    return small.private(small.sgd(noise_multiplier=noise_multiplier), **options)


def trained(stream, epochs, noise_multiplier=1.0):
    model = private(noise_multiplier)
    model.fit(stream, epochs=epochs, verbose=0)
    return model


# What is charged.


def test_ten_passes_cost_ten_gaussians():
    """The figures of 60,000 units in batches of 256: declared, and undeclared."""
    ledger, undeclared = Ledger(), Ledger()
    step = mechanisms.stream(0.8)
    ledger.record(step, unit="example", purpose="training step", count=10)
    undeclared.record(step, unit="example", purpose="training step", count=2350)
    assert ledger.epsilon(DELTA, "pld") <= 24.05
    assert undeclared.epsilon(DELTA, "pld") > 2100


@pytest.mark.parametrize(
    ("options", "epochs", "events"),
    [
        ({}, 4, 12),
        ({"max_participations_per_pass": 1}, 4, 4),
        ({"max_participations_per_pass": 2}, 4, 8),
        ({"max_participations_per_pass": 9}, 4, 12),
        ({"max_participations": 5}, 4, 5),
        ({"max_participations": 50}, 4, 12),
    ],
)
def test_fit_records_what_was_declared(options, epochs, events):
    model = trained(stream_of(**options), epochs)
    assert len(model.privacy.ledger) == events
    assert gaussians(model.privacy.ledger) == events
    wanted = Ledger()
    wanted.record(mechanisms.stream(1.0), unit="example", purpose="x", count=events)
    assert model.privacy.epsilon(DELTA) == wanted.epsilon(DELTA)


def test_epsilon_of_the_logs_is_that_of_the_ledger():
    model = private(2.0)
    seen = []
    history = model.fit(
        stream_of(max_participations_per_pass=1),
        epochs=3,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda e, logs: seen.append(
                    model.privacy.ledger.epsilon(DELTA)
                )
            )
        ],
    )
    assert history.history["epsilon"] == seen
    assert seen == sorted(seen)
    assert len(set(seen)) == 3


def test_each_call_of_fit_is_charged():
    stream = stream_of(max_participations=2)
    model = trained(stream, 1)
    model.fit(stream, verbose=0)
    assert len(model.privacy.ledger) == 4


def test_statement_names_what_was_declared():
    model = trained(stream_of(max_participations_per_pass=1), 2)
    text = " ".join(model.privacy.statement().split())
    assert "in at most 1 of each pass's batches (declared), which are charged" in text
    assert "2 x Gaussian noise" in text


def test_a_budget_is_calibrated_for_the_stream_and_kept():
    stream = stream_of(max_participations_per_pass=1)
    optimizer = dp.DPSGD.for_budget(
        4.0, DELTA, sampler=stream, epochs=5, accountant="pld", learning_rate=0.1
    )
    planned = Ledger()
    planned.record(
        mechanisms.stream(optimizer.noise_multiplier),
        unit="example",
        purpose="x",
        count=5,
    )
    assert 3.9 < planned.epsilon(DELTA, "pld") <= 4.0
    model = small.private(optimizer)
    history = model.fit(stream, epochs=5, verbose=0)
    assert len(history.epoch) == 5
    assert model.privacy.epsilon() <= 4.0
    with pytest.raises(LedgerError, match="budget is spent"):
        model.fit(stream, epochs=1, verbose=0)


def test_a_budget_stops_in_front_of_the_pass_that_would_exceed_it():
    stream = stream_of(max_participations_per_pass=1)
    optimizer = dp.DPSGD.for_budget(
        4.0, DELTA, sampler=stream, epochs=2, learning_rate=0.1
    )
    model = small.private(optimizer)
    with pytest.warns(UserWarning, match="allows 2 of the 5 steps"):
        history = model.fit(stream, epochs=5, verbose=0)
    assert len(history.epoch) == 2
    assert len(model.privacy.ledger) == 2


# What is refused, or stops with everything counted.


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda d: d.repeat(2),
            {"max_participations_per_pass": 1},
            "repeats its examples",
        ),
        (
            lambda d: d.unbatch().group_by_window(
                lambda x, y: tf.constant(0, tf.int64), lambda _, w: w.batch(2), 2
            ),
            {"max_participations": 1},
            "lengths of their examples",
        ),
        (lambda d: d, {"max_participations": 0}, "at least 1"),
        (
            lambda d: d,
            {"max_participations": 1, "max_participations_per_pass": 1},
            "Expected one of",
        ),
    ],
)
def test_declarations_that_cannot_hold_are_refused(change, options, message):
    dataset = change(stream_of().dataset)
    with pytest.raises(ValueError, match=message):
        dp.Stream(dataset, 1, steps_per_epoch=3, **options)


@pytest.mark.parametrize(
    ("steps_per_epoch", "epochs", "message", "events"),
    [(2, 2, "more batches than were declared", 1), (4, 1, "fewer batches", 1)],
)
def test_passes_of_another_length_stop_training(
    steps_per_epoch, epochs, message, events
):
    stream = stream_of(max_participations_per_pass=1, steps_per_epoch=steps_per_epoch)
    model = private(1.0)
    with pytest.raises(ValueError, match=message):
        model.fit(stream, epochs=epochs, verbose=0)
    assert len(model.privacy.ledger) == events


def test_more_passes_than_participations_stop_training():
    model = private(1.0)
    with pytest.raises(ValueError, match=r"begins pass 3.*max_participations=2"):
        model.fit(stream_of(max_participations=2), epochs=3, verbose=0)
    assert len(model.privacy.ledger) == 2


def test_an_empty_data_set_is_named():
    x, y = small.data(4)
    empty = (
        tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda x, y: False).batch(4)
    )
    model = private(1.0)
    with pytest.raises(ValueError, match="empty data set"):
        model.fit(dp.Stream(empty, 1, steps_per_epoch=2), verbose=0)


# User-provided batches.


def test_train_on_batch_charges_the_participations_alone():
    model = private(1.5, max_occurrences=1, max_participations=2)
    for _ in range(5):
        model.train_on_batch(*small.data(4))
    assert len(model.privacy.ledger) == 2


def test_participations_need_occurrences():
    with pytest.raises(ValueError, match="the second needs the first"):
        dp.make_private(small.plain(), max_participations=2)


def test_a_saved_model_keeps_the_declaration(tmp_path):
    model = private(max_occurrences=1, max_participations=2)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    small.compiled(again)
    for _ in range(3):
        again.train_on_batch(*small.data(4))
    assert len(again.privacy.ledger) == 2


NOISE = st.lists(st.floats(0.3, 30.0), min_size=1, max_size=12)


@hypothesis.given(NOISE, st.integers(1, 5))
def test_what_is_charged_is_what_the_least_noisy_steps_cost(noise, limit):
    """Whichever `limit` steps a unit is in: against the worst of all choices."""
    bound, charged = Participations(limit), 0.0
    for n, z in enumerate(noise, 1):
        step = mechanisms.stream(z)
        charge = bound.charge(step)
        if charge is not None:
            charged += charge.event.noise_multiplier**-2
        bound.add(step)
        worst = sum(sorted((z**-2 for z in noise[:n]), reverse=True)[:limit])
        assert worst * (1 - 1e-12) <= charged <= worst * (1 + 1e-6) + 1e-9


def test_planted_fault_noisiest_steps_charged_is_caught(monkeypatch):
    """Were the first `limit` steps charged, whatever comes after, this would fail."""
    monkeypatch.setattr(
        Participations,
        "charge",
        lambda self, m: m if len(self._charged) < self.limit else None,
    )
    with pytest.raises(AssertionError):
        test_what_is_charged_is_what_the_least_noisy_steps_cost.hypothesis.inner_test(
            [10.0, 0.5], 1
        )


def test_steps_without_privacy_are_charged_each():
    bound = Participations(1)
    bound.add(mechanisms.stream(1.0))
    assert bound.charge(mechanisms.stream(0.0)).event == dpa.NonPrivateDpEvent()


# The audit: units that keep to the declaration, and units that do not.

UNITS, PASSES, BATCHES, NOISE = 400, 4, 5, 2.0


def mu_seen(x):
    """How far the units moved the weights, in standard deviations of the noise.

    Each unit has a weight of its own, and a gradient longer than the bound.
    """
    examples = x, np.full((len(x), 1), -1e3, "float32")
    dataset = tf.data.Dataset.from_tensor_slices(examples).batch(len(x) // BATCHES)
    model = dp.make_private(
        keras.Sequential(
            [
                keras.Input((UNITS,)),
                keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
            ]
        )
    )
    small.compiled(model, small.sgd(1.0, noise_multiplier=NOISE))
    stream = dp.Stream(dataset, 1, max_participations_per_pass=1)
    model.fit(stream, epochs=PASSES, verbose=0)
    moved = -model.get_weights()[0][:, 0] * (len(x) // BATCHES)
    claimed = np.sqrt(gaussians(model.privacy.ledger))
    return moved.mean() / (NOISE * np.sqrt(PASSES * BATCHES)), claimed


def test_units_do_not_move_the_weights_by_more_than_is_claimed():
    """And were each in every batch, they would. False alarm 1e-6: 4.75 deviations."""
    once = np.eye(UNITS, dtype="float32")
    error = 4.75 / np.sqrt(UNITS)
    seen, claimed = mu_seen(once)
    assert claimed == np.sqrt(PASSES) / NOISE
    assert abs(seen - PASSES / (NOISE * np.sqrt(PASSES * BATCHES))) < error + 0.01
    seen, claimed = mu_seen(np.tile(once, (BATCHES, 1)))
    assert seen > claimed + error
