"""The ledger of a model: tickets, and whether the ledger matches its weights.

Each test of the second half is a way in which a user could come, without bad intent, to
an epsilon that is too small.
"""

import copy
import gc
import pickle

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.accounting import Ledger, LedgerError, mechanisms
from tfpriv.dp import provenance
from tfpriv.dp.privacy import NO_TICKET
from tfpriv.support.weights import digest_of

STEP = mechanisms.poisson(0.1, 1.1)


def trained(**options):
    model = small.private(**options)
    model.fit(*small.data(8), batch_size=4, verbose=0)
    return model


# Tickets.


def test_a_ticket_is_an_event_and_is_good_once():
    privacy = dp.Privacy()
    ticket = privacy.pay(STEP, 1.1)
    assert len(privacy.ledger) == 1
    key = privacy.redeem(ticket, 1.1)
    assert key.shape == (32,)
    with pytest.raises(ValueError, match="without an event"):
        privacy.redeem(ticket, 1.1)
    assert len(privacy.ledger) == 1


@pytest.mark.parametrize(("offset", "noise"), [(1, 1.1), (0, 1.0)])
def test_unknown_tickets_and_other_noise_are_refused(offset, noise):
    privacy = dp.Privacy()
    ticket = privacy.pay(STEP, 1.1)
    with pytest.raises(ValueError, match="without an event"):
        privacy.redeem(ticket + offset, noise)


def test_without_a_ticket_the_event_comes_first():
    privacy = dp.Privacy("picture", max_occurrences=1)
    keys = {bytes(privacy.redeem(NO_TICKET, 1.1)) for _ in range(5)}
    assert len(keys) == 5 == len(privacy.ledger)


def test_a_key_is_never_given_where_the_event_cannot_be_written(monkeypatch):
    privacy = dp.Privacy("picture", max_occurrences=1)

    def full(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Ledger, "record", full)
    with pytest.raises(OSError, match="disk full"):
        privacy.redeem(NO_TICKET, 1.1)


def test_delta_is_below_one_over_n():
    privacy = dp.Privacy()
    assert privacy.delta == 1e-5
    privacy.record(mechanisms.poisson(0.1, 1.1, population=10**6), "training")
    assert privacy.delta == 1e-7


def test_arguments():
    with pytest.raises(ValueError, match="max_occurrences"):
        dp.make_private(small.plain(), max_occurrences=0)


# Whether the ledger matches the weights.


def test_weights_changed_elsewhere_have_no_epsilon_until_that_is_recorded():
    model = trained()
    model.set_weights([w + 1 for w in model.get_weights()])
    with pytest.raises(LedgerError, match="does not match these weights"):
        model.privacy.epsilon()
    with pytest.raises(LedgerError, match="does not match these weights"):
        model.privacy.statement()
    with pytest.raises(LedgerError, match="does not match these weights"):
        model.fit(*small.data(8), verbose=0)
    assert len(model.privacy.ledger) == 2
    model.privacy.record(mechanisms.non_private("tuned by hand"), purpose="tuning")
    assert model.privacy.epsilon() == np.inf


def after_single_batches():
    model = small.private(max_occurrences=1)
    for _ in range(2):
        model.train_on_batch(*small.data(4))
    return model


def changed(model):
    """Moves one weight in its last place."""
    weight = model.trainable_variables[0]
    value = weight.numpy().copy()
    value.flat[-1] = np.nextafter(value.flat[-1], np.float32(np.inf))
    weight.assign(value)
    return model


@pytest.mark.parametrize("save", ["statement", "ledger_to_save", "get_config"])
def test_weights_changed_after_they_were_saved_are_noticed(save):
    model = after_single_batches()
    assert model.privacy.epsilon(1e-5) > 0
    if save == "get_config":
        model.get_config()
    else:
        getattr(model.privacy, save)()
    assert model.privacy.ledger.weights_digest == digest_of(model.weights)
    changed(model)
    for use in (model.privacy.epsilon, model.privacy.statement):
        with pytest.raises(LedgerError, match="does not match these weights"):
            use()
    with pytest.raises(LedgerError, match="does not match these weights"):
        model.train_on_batch(*small.data(4))


def test_post_processing_is_declared_by_binding():
    model = trained()
    epsilon = model.privacy.epsilon()
    model.set_weights([np.round(w, 1) for w in model.get_weights()])
    model.privacy.bind_weights()
    assert model.privacy.epsilon() == epsilon


def plain_training(model):
    """A loop of the user's own, without any privacy."""
    optimizer = keras.optimizers.SGD(0.1)
    x, y = small.data(8)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)


def test_a_plain_loop_between_two_private_fits_is_noticed():
    model = trained()
    plain_training(model)
    with pytest.raises(LedgerError, match="does not match"):
        model.fit(*small.data(8), verbose=0)


def test_public_weights_may_be_loaded_before_training():
    model = small.private()
    model.set_weights([w + 1 for w in model.get_weights()])
    assert model.privacy.epsilon() == 0
    model.fit(*small.data(8), batch_size=4, verbose=0)
    assert len(model.privacy.ledger) == 2
    model = dp.make_private(small.plain())
    model.layers[0].set_weights([w + 1 for w in model.layers[0].get_weights()])
    small.compiled(model).fit(*small.data(8), batch_size=4, verbose=0)
    assert len(model.privacy.ledger) == 2


def own_step(model):
    """A step of a loop of the user's own."""
    gradients, _ = dp.clipped_gradients(
        model, *small.data(4), loss="mse", l2_norm_clip=1.0
    )
    model.optimizer.apply(gradients, model.trainable_variables)


def test_steps_of_a_custom_loop_are_counted():
    model = small.private(max_occurrences=1)
    own_step(model)
    epsilon = model.privacy.epsilon(1e-5)
    step = tf.function(lambda: own_step(model))
    for _ in range(3):
        step()
    assert model.privacy.epsilon(1e-5) > epsilon
    model.train_on_batch(*small.data(4))
    step()
    assert model.privacy.epsilon(1e-5) > epsilon
    assert len(model.privacy.ledger) == 6
    assert model.privacy.ledger_to_save().weights_digest == digest_of(model.weights)


def test_a_custom_loop_starts_from_weights_that_the_ledger_matches():
    model = after_single_batches()
    model.privacy.statement()
    plain_training(model)
    with pytest.raises(LedgerError, match="does not match"):
        own_step(model)
    model.privacy.bind_weights()
    own_step(model)
    assert model.privacy.epsilon() > 0


def test_a_record_matches_the_weights_of_its_time():
    model = trained()
    threshold = mechanisms.poisson(0.1, 9.0)
    model.privacy.record(threshold, purpose="a threshold")
    plain_training(model)
    with pytest.raises(LedgerError, match="does not match"):
        model.privacy.epsilon()


def test_a_record_before_the_model_is_built():
    normalise = keras.layers.Normalization()
    normalise.adapt(small.data()[0])
    model = dp.make_private(keras.Sequential([normalise, keras.layers.Dense(1)]))
    model.privacy.record(mechanisms.poisson(0.1, 9.0), purpose="normalisation")
    assert model.privacy.epsilon() > 0
    small.compiled(model).fit(*small.data(8), batch_size=4, verbose=0)
    assert len(model.privacy.ledger) == 3
    plain_training(model)
    with pytest.raises(LedgerError, match="does not match"):
        model.privacy.epsilon()
    # Statistics are frozen weights; what they cost goes with them nevertheless.
    other = keras.Sequential([keras.Input((3,)), normalise, keras.layers.Dense(2)])
    assert dp.make_private(other).privacy.epsilon() > 0


@pytest.mark.parametrize("shared", [True, False])
def test_the_ledger_holds_what_is_inherited(shared):
    model = trained()
    if shared:
        other = keras.Sequential([keras.Input((3,)), *model.layers])
    else:
        other = small.plain()
        other.set_weights(model.get_weights())
    small.compiled(dp.make_private(other, max_occurrences=1))
    expected = model.privacy.ledger.epsilon(1e-5)
    assert other.privacy.ledger.epsilon(1e-5) == expected


def test_an_own_loop_inherits_before_its_first_step():
    model = trained()
    layers = [keras.Input((3,)), *model.layers]
    other = small.compiled(dp.make_private(keras.Sequential(layers), max_occurrences=1))
    with pytest.raises(LedgerError, match="neighbouring relations"):
        own_step(other)
    assert other.privacy.epsilon() == model.privacy.epsilon()


def test_a_layer_trained_by_single_batches_and_frozen_brings_the_ledger():
    model = small.private(max_occurrences=1)
    model.train_on_batch(*small.data(4))
    model.layers[0].trainable = False
    layers = [keras.Input((3,)), model.layers[0], keras.layers.Dense(2)]
    other = dp.make_private(keras.Sequential(layers))
    assert other.privacy.epsilon() == model.privacy.epsilon()


def test_make_private_again_keeps_the_ledger():
    model = trained()
    epsilon = model.privacy.epsilon()
    assert dp.make_private(model, max_occurrences=1) is model
    assert model.privacy.epsilon() == epsilon
    model.fit(*small.data(8), batch_size=4, verbose=0)
    assert len(model.privacy.ledger) == 4
    with pytest.raises(ValueError, match="another unit"):
        dp.make_private(model, unit="person")
    dp.make_private(model, seed=1)
    assert not model.privacy.ledger.releasable


def test_compiling_again_keeps_the_ledger():
    model = trained()
    epsilon = model.privacy.epsilon()
    small.compiled(model)
    assert model.privacy.epsilon() == epsilon


def test_freezing_and_compiling_again_goes_on():
    model = dp.make_private(
        keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)]
        )
    )
    small.compiled(model).fit(*small.data(8), batch_size=4, verbose=0)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()
    small.compiled(model).fit(*small.data(8), batch_size=4, verbose=0)
    np.testing.assert_equal(model.layers[0].get_weights(), frozen)
    assert len(model.privacy.ledger) == 4
    assert model.privacy.epsilon() > 0


def test_an_optimizer_serves_one_model():
    model = trained()
    with pytest.raises(ValueError, match="another private model"):
        small.private(model.optimizer)
    with pytest.raises(ValueError, match="another private model"):
        model.optimizer.track(dp.Privacy())


def test_a_twin_that_shares_the_layers_brings_the_ledger():
    model = trained()
    twin = dp.make_private(keras.Sequential([keras.Input((3,)), *model.layers]))
    assert twin.privacy.epsilon() == model.privacy.epsilon()
    small.compiled(twin).fit(*small.data(8), batch_size=4, verbose=0)
    assert len(twin.privacy.ledger) == 4
    assert model.privacy.epsilon() == twin.privacy.epsilon()


def test_a_private_encoder_inside_another_model_brings_its_ledger():
    encoder = trained()
    whole = keras.Sequential([keras.Input((3,)), encoder, keras.layers.Dense(1)])
    dp.make_private(whole)
    before = encoder.privacy.epsilon()
    assert whole.privacy.epsilon() == before
    small.compiled(whole).fit(*small.data(8), batch_size=4, verbose=0)
    assert len(whole.privacy.ledger) == 4
    assert whole.privacy.epsilon() > before
    assert len(encoder.privacy.ledger) == 4  # it was trained with the whole model


def test_parts_of_two_private_models_bring_both_ledgers():
    first, second = trained(), trained()
    third = keras.Sequential([keras.Input((3,)), first.layers[0]])
    third.add(keras.layers.Reshape((1,)))
    third.add(keras.layers.RepeatVector(3))
    third.add(keras.layers.Flatten())
    third.add(second.layers[0])
    assert len(first.privacy.ledger) == len(second.privacy.ledger) == 2
    dp.make_private(third)
    assert third.privacy.epsilon() > first.privacy.epsilon()
    assert len(third.privacy.ledger) == 4


def test_a_frozen_public_encoder_brings_nothing():
    encoder = small.plain(3, 2)
    encoder.trainable = False

    def with_head():
        head = [keras.Input((3,)), encoder, keras.layers.Dense(1)]
        return small.compiled(dp.make_private(keras.Sequential(head)))

    first, second = with_head(), with_head()
    first.fit(*small.data(8), batch_size=4, verbose=0)
    assert second.privacy.epsilon() == 0


def test_a_copy_of_the_weights_brings_the_ledger():
    model = trained()
    copied = small.private()
    copied.set_weights(model.get_weights())
    assert copied.privacy.epsilon() == model.privacy.epsilon()


def spend(model, steps=1):
    """Moves the weights and writes steps down, without the time of a `fit`."""
    with model.privacy.training():
        for _ in range(steps):
            model.privacy.redeem(model.privacy.pay(STEP, 1.1), 1.1)
        for weight in model.trainable_variables:
            weight.assign_add(tf.random.normal(weight.shape))
    return model


def functional():
    x = keras.Input((3,))
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Dense(4)(x)))


OPTIONS = {
    "unit": "person",
    "max_occurrences": 2,
    "private_metrics": True,
    "max_participations": None,
    "engine": "vectorized",
    "microbatch_size": 3,
}
CLONES = {
    "clone_model": keras.models.clone_model,
    "clone_function": lambda model: keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(layer.get_config())
    ),
    "from_config": lambda model: type(model).from_config(model.get_config()),
    "recursive": lambda model: keras.models.clone_model(model, recursive=True),
}


@pytest.mark.parametrize("make", [small.plain, functional])
@pytest.mark.parametrize("clone", CLONES.values(), ids=CLONES)
def test_a_clone_is_private_and_has_spent_nothing(make, clone):
    model = spend(small.compiled(dp.make_private(make(), **OPTIONS)))
    cloned = clone(model)
    assert isinstance(cloned, dp.PrivateModel)
    assert cloned.privacy is not model.privacy
    assert cloned._private_options == OPTIONS
    assert cloned.privacy.unit == "person"
    assert cloned.privacy.max_occurrences == 2
    assert cloned.privacy.epsilon() == 0
    small.compiled(cloned)
    cloned.set_weights(model.get_weights())
    assert cloned.privacy.epsilon() == model.privacy.epsilon() > 0


@pytest.mark.parametrize("make", [small.plain, functional])
def test_a_clone_is_compiled_as_the_model_is(make):
    model = small.compiled(dp.make_private(make()))
    cloned = keras.models.clone_model(model)
    assert isinstance(cloned.optimizer, dp.DPSGD)
    assert cloned.optimizer is not model.optimizer
    assert cloned.optimizer.privacy is cloned.privacy
    assert not keras.models.clone_model(dp.make_private(make())).compiled
    assert not isinstance(keras.models.clone_model(make()), dp.PrivateModel)


def test_a_clone_trains():
    cloned = keras.models.clone_model(small.private())
    cloned.fit(*small.data(8), batch_size=4, verbose=0)
    assert len(cloned.privacy.ledger) == 2


def test_a_clone_that_shares_layers_brings_the_ledger():
    model = spend(small.private())
    cloned = keras.models.clone_model(model, clone_function=lambda layer: layer)
    assert cloned.privacy.epsilon() == model.privacy.epsilon() > 0


def test_options_of_one_model_are_not_those_of_another():
    first, second = dp.make_private(small.plain()), dp.make_private(small.plain())
    dp.make_private(first, max_occurrences=3)
    assert first.privacy.max_occurrences == 3
    assert second._private_options["max_occurrences"] is None
    assert type(second) is not type(first)
    assert type(first).plain_class is type(second).plain_class is keras.Sequential


def test_a_ledger_cannot_be_exchanged():
    model = spend(small.private())
    with pytest.raises(AttributeError):
        model.privacy = dp.Privacy()
    assert model.privacy.epsilon() > 0


# Weights that come and go within a process.


def test_earlier_weights_refund_nothing():
    model = spend(small.private(), 4)
    earlier = model.get_weights()
    for steps in (7, 10):
        spend(model, 3)
        spent = model.privacy.epsilon()
        model.set_weights(earlier)
        assert model.privacy.epsilon() == spent
        assert len(model.privacy.ledger) == steps


def test_earlier_weights_in_another_model_bring_the_ledger():
    model = spend(small.private(), 4)
    earlier = model.get_weights()
    spend(model, 3)
    other = small.private()
    other.set_weights(earlier)
    assert len(other.privacy.ledger) in (4, 7)
    assert other.privacy.epsilon() > 0


def test_weights_whose_model_is_gone_bring_the_ledger():
    model = spend(small.private(), 4)
    weights = model.get_weights()
    del model
    keras.backend.clear_session()
    gc.collect()
    other = small.private()
    other.set_weights(weights)
    assert len(other.privacy.ledger) == 4


def test_what_is_recorded_of_public_weights_stays_with_the_model():
    public = small.plain().get_weights()

    def from_public():
        model = dp.make_private(small.plain())
        model.set_weights(public)
        return model

    first = from_public()
    first.privacy.record(mechanisms.non_private("a vocabulary"), "vocabulary")
    spend(first)
    assert first.privacy.epsilon() == np.inf
    assert from_public().privacy.epsilon() == 0


def test_planted_copies_that_are_not_remembered_are_found(monkeypatch):
    monkeypatch.setattr(provenance.Provenance, "hand_out", lambda self, weights: None)
    for test in (
        test_earlier_weights_in_another_model_bring_the_ledger,
        test_weights_whose_model_is_gone_bring_the_ledger,
        test_weights_copied_by_a_callback_bring_the_ledger,
    ):
        with pytest.raises(AssertionError):
            test()


def test_planted_variables_without_marks_are_found(monkeypatch):
    monkeypatch.setattr(provenance, "_mark", lambda variables, ledger: None)
    for test in (
        test_a_twin_that_shares_the_layers_brings_the_ledger,
        test_parts_of_two_private_models_bring_both_ledgers,
        test_a_clone_that_shares_layers_brings_the_ledger,
    ):
        with pytest.raises(AssertionError):
            test()


def test_planted_check_left_out_is_found(monkeypatch):
    monkeypatch.setattr(provenance.Provenance, "check", lambda self: None)
    with pytest.raises(pytest.fail.Exception):
        test_weights_changed_elsewhere_have_no_epsilon_until_that_is_recorded()


def test_weights_of_two_private_models_add_up():
    first, second = spend(small.private(), 4), spend(small.private(), 4)
    for _ in range(2):
        second.set_weights(first.get_weights())
        assert len(second.privacy.ledger) == 8
        assert second.privacy.epsilon() > first.privacy.epsilon()
    assert len(first.privacy.ledger) == 4


def test_weights_copied_by_a_callback_bring_the_ledger():
    model = small.private()
    teacher = keras.models.clone_model(model)
    copy_weights = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: teacher.set_weights(model.get_weights())
    )
    options = {"batch_size": 4, "epochs": 2, "verbose": 0}
    model.fit(*small.data(8), **options, callbacks=[copy_weights])
    assert teacher.privacy.epsilon() == model.privacy.epsilon() > 0
    # And the other way: weights that come in while the model trains.
    spend(teacher, 3)
    bring = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: model.set_weights(teacher.get_weights())
    )
    model.fit(*small.data(8), **options, callbacks=[bring])
    assert len(model.privacy.ledger) == 4 + 4 + 3


def test_weights_of_another_process_need_their_ledger(monkeypatch):
    model = trained()
    config, weights = model.get_config(), model.get_weights()
    monkeypatch.setattr(provenance, "_HANDED_OUT", {})
    clone = dp.PrivateModel.from_config(config)
    clone.set_weights(weights)
    with pytest.raises(LedgerError, match="without its ledger"):
        clone.privacy.epsilon()


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_pickles_and_deep_copies_bring_the_ledger(duplicate):
    model = trained()
    twin = duplicate(model)
    assert twin.privacy.ledger is not model.privacy.ledger
    assert twin.privacy.epsilon() == model.privacy.epsilon()


def test_moving_averages_of_weights_are_covered():
    model = small.private(small.sgd(use_ema=True))
    model.fit(
        *small.data(8),
        batch_size=4,
        verbose=0,
        callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    )
    assert model.privacy.epsilon() > 0
