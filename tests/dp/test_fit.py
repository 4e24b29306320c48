"""`fit` of a private model: what it takes, what it refuses, what it shows."""

import json
import re
import warnings

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.accounting import LedgerError


def start(model):
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    return model


def noiseless(**options):
    """A model that starts at zero and shows what one exact step does."""
    return start(small.private(small.sgd(1.0, noise_multiplier=0.0), **options))


# Keras' arguments keep their meaning.


def test_steps_per_epoch_and_initial_epoch():
    model = small.private()
    x, y = small.data(12)
    history = model.fit(
        x, y, batch_size=4, steps_per_epoch=2, initial_epoch=1, epochs=4, verbose=0
    )
    assert history.epoch == [1, 2, 3]
    assert len(model.privacy.ledger) == 6 == int(model.optimizer.iterations)


def test_nothing_left_to_do_costs_nothing():
    model = small.private()
    model.fit(*small.data(12), initial_epoch=3, epochs=3, verbose=0)
    assert len(model.privacy.ledger) == 0
    assert model.privacy.epsilon() == 0


def test_class_weight_is_the_sample_weight_of_each_class():
    x, _ = small.data(8)
    y = np.array([[0], [1]] * 4)
    by_class, by_sample = noiseless(), noiseless()
    by_class.fit(x, y, batch_size=8, class_weight={0: 0.1, 1: 0.3}, verbose=0)
    weights = np.array([0.1, 0.3] * 4)
    by_sample.fit(x, y, batch_size=8, sample_weight=weights, verbose=0)
    for a, b in zip(by_class.get_weights(), by_sample.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_validation_data_that_is_public():
    model = small.private(dp.DPAdam(l2_norm_clip=1.0, noise_multiplier=1.0))
    public = small.data(10)
    history = model.fit(
        *small.data(10), validation_data=dp.Public(public), epochs=2, verbose=0
    )
    assert len(history.history["val_loss"]) == 2
    assert "val_loss" not in history.not_covered_by_epsilon
    expected = model.evaluate(*public, verbose=0)
    assert history.history["val_loss"][-1] == pytest.approx(expected)


def test_compile_options_that_keep_the_guarantee():
    model = small.private()
    small.compiled(
        model,
        small.sgd(use_ema=True, ema_overwrite_frequency=2, weight_decay=0.01),
        run_eagerly=True,
        metrics=["mae"],
    )
    model.fit(*small.data(8), batch_size=4, epochs=2, verbose=0)
    assert len(model.privacy.ledger) == 4
    assert model.privacy.epsilon() > 0  # the weights are those the ledger means


def test_evaluate_and_predict_before_training():
    model = small.private()
    x, y = small.data(8)
    assert np.isfinite(model.evaluate(x, y, verbose=0))
    assert model.predict(x, verbose=0).shape == (8, 1)
    model.fit(x, y, batch_size=4, verbose=0)
    assert len(model.privacy.ledger) == 2 == int(model.optimizer.iterations)
    assert np.isfinite(model.evaluate(x, y, verbose=0))


# What is refused, before anything is drawn or trained.


def assert_refused(model, arguments, message, error=ValueError):
    weights = model.get_weights()
    with pytest.raises(error, match=message):
        model.fit(**{"verbose": 0, **arguments})
    np.testing.assert_equal(model.get_weights(), weights)
    assert len(model.privacy.ledger) == 0
    model.fit(*small.data(4), verbose=0)  # and it still trains
    assert len(model.privacy.ledger) == 1


def arrays(**more):
    x, y = small.data(8)
    return {"x": x, "y": y, **more}


def from_sampler(**more):
    return {"x": dp.PoissonSampler(small.data(8), 4), **more}


def one_at_a_time():
    yield from zip(*small.data(8), strict=True)


def test_public_data_in_the_training_arrays_is_noticed():
    x, y = small.data(12)
    with pytest.warns(UserWarning, match="lies in the arrays that are trained on"):
        small.private().fit(x, y, validation_data=dp.Public((x[:4], y[:4])), verbose=0)
    for data in ({"x": x, "y": y + 1}, {"x": dp.PoissonSampler((x + 1, y), 4)}):
        with pytest.warns(UserWarning, match="lies in the arrays"):
            small.private().fit(
                **data, validation_data=dp.Public((x[:4], y[:4])), verbose=0
            )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (slice(0, 12, 2), slice(1, 12, 2)), (slice(4), slice(4, 12)):
            public = dp.Public((x[part[0]], y[part[0]]))
            small.private().fit(
                x[part[1]], y[part[1]], validation_data=public, verbose=0
            )


def test_a_compile_before_make_private_is_no_more():
    plain = small.plain()
    plain.compile("sgd", "mse")
    model = dp.make_private(plain)
    for train in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="Compile the private model with a DP"):
            train(*small.data(4))


def test_what_was_learned_before_without_privacy_is_said(tmp_path):
    x, y = small.data(12)
    plain = small.plain()
    plain.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.make_private(small.plain())
    plain.fit(x, y, verbose=0)
    note = "What the model had learned before is treated as public"
    part = small.plain()
    part.compile("sgd", "mse")
    part.fit(x, y, verbose=0)
    whole = keras.Sequential([keras.Input((3,)), part])
    copy = keras.Sequential([keras.Input((3,)), dp.replace_batchnorm(plain)])
    for trained in (whole, copy, dp.replace_batchnorm(plain), plain):
        with pytest.warns(UserWarning, match=r"trained before.*no epsilon"):
            model = small.compiled(dp.make_private(trained))
        model.save(tmp_path / "model.keras")
        for again in (keras.models.load_model(tmp_path / "model.keras"), model):
            again.fit(x, y, verbose=0)
            assert note in " ".join(again.privacy.statement().split())
    model.privacy.record(dp.mechanisms.non_private("by SGD"), purpose="before")
    assert model.privacy.epsilon() == np.inf
    other = small.compiled(dp.make_private(small.plain()))
    for _ in range(2):  # its own steps are no training without privacy
        other.fit(x, y, verbose=0)
    assert len(other.privacy.ledger.entries) == 1
    odd = small.plain()
    odd.optimizer = "adam"  # a user's own attribute
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.make_private(odd)


ADAPTED = {
    "Normalization": ({}, {"mean": 0.0, "variance": 1.0}, small.data(12)[0]),
    "IntegerLookup": ({}, {"vocabulary": [1, 2]}, np.array([[1], [2], [5]] * 4)),
    "Discretization": ({"num_bins": 3}, {"bin_boundaries": [0.0]}, small.data(12)[0]),
}


@pytest.mark.parametrize("kind", ADAPTED)
def test_what_a_layer_was_adapted_to_is_named(kind):
    adapted, constant, x = ADAPTED[kind]
    y = small.data(12)[1]
    make = getattr(keras.layers, kind)
    layer = make(**adapted, name="scaling")
    layer.adapt(x)

    def network(layer):
        inputs = keras.Input(x.shape[1:], dtype=x.dtype.name)
        outputs = keras.ops.cast(layer(inputs), "float32")
        return keras.Model(inputs, keras.layers.Dense(1)(outputs))

    for train in ("fit", "train_on_batch"):
        model = network(layer)
        model = small.compiled(dp.make_private(model, max_occurrences=1))
        with pytest.warns(UserWarning, match="`adapt` left in scaling is without"):
            getattr(model, train)(x, y)
        said = " ".join(model.privacy.statement().split())
        assert "Note: what `adapt` left in scaling is treated as public." in said
    model = small.compiled(dp.make_private(network(make(**constant))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, y, verbose=0)
    assert "adapt" not in model.privacy.statement()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (arrays(validation_split=0.2), "If it is private.*dp.Public.*validation_split"),
        (arrays(shuffle=False), "shuffle=False"),
        (arrays(validation_data=small.data(4)), "If it is private.*dp.Public"),
        (arrays(batch_size=9), "batch_size"),
        (
            arrays(sample_weight=np.ones(8), class_weight={0: 1.0}),
            "cannot be given together",
        ),
        (from_sampler(batch_size=4), "batch_size.*itself"),
        (from_sampler(steps_per_epoch=4), "steps_per_epoch.*itself"),
        (from_sampler(y=np.ones(8)), "'y'.*itself"),
        (
            {"x": tf.data.Dataset.from_tensor_slices(small.data(8)).batch(4)},
            "dp.Stream",
        ),
        ({"x": one_at_a_time()}, "dp.Stream"),
        ({"x": iter([1, 2])}, "dp.Stream"),
        ({"x": np.array(["a", "b"]), "y": np.ones(2)}, "takes numbers"),
        ({"x": 3.0, "y": 4.0}, "one row per example"),
        ({"x": [[1.0, 2.0]], "y": [0]}, "np.asarray"),
        (
            arrays(callbacks=[keras.callbacks.EarlyStopping("private_loss")]),
            "private_metrics=True",
        ),
        (arrays(callbacks=[keras.callbacks.EarlyStopping("epsilon")]), "mode='min'"),
        (arrays(callbacks=[keras.callbacks.EarlyStopping("loss")]), "EarlyStopping"),
        (
            arrays(callbacks=keras.callbacks.ReduceLROnPlateau("loss")),
            "ReduceLROnPlateau",
        ),
        (arrays(callbacks=[keras.callbacks.TerminateOnNaN()]), "TerminateOnNaN"),
        (
            arrays(
                callbacks=keras.callbacks.CallbackList(
                    [keras.callbacks.TerminateOnNaN()]
                )
            ),
            "TerminateOnNaN",
        ),
        (
            arrays(
                callbacks=[
                    keras.callbacks.ModelCheckpoint(
                        "x.keras", monitor="loss", save_best_only=True
                    )
                ]
            ),
            "ModelCheckpoint",
        ),
    ],
)
def test_refused_arguments(arguments, message):
    assert_refused(small.private(), arguments, message)


def test_warns_when_monitored_metric_is_absent():
    with pytest.warns(UserWarning, match="no validation data"):
        small.private().fit(
            *small.data(8), callbacks=[keras.callbacks.EarlyStopping()], verbose=0
        )


def test_callbacks_on_public_figures_pass(tmp_path):
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", patience=5),
        keras.callbacks.ReduceLROnPlateau("val_loss"),
        keras.callbacks.ModelCheckpoint(tmp_path / "m.keras", save_best_only=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "n.keras", monitor="loss"),
    ]
    small.private().fit(
        *small.data(8),
        validation_data=dp.Public(small.data(4)),
        callbacks=callbacks,
        verbose=0,
    )
    assert (tmp_path / "m.keras").exists()
    assert (tmp_path / "n.keras").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adam"}, "optimizer that adds noise"),
        ({"optimizer": keras.optimizers.SGD(0.1)}, "optimizer that adds noise"),
        ({"steps_per_execution": 2}, "steps_per_execution=1"),
        ({"jit_compile": True}, "jit_compile"),
        (
            {"optimizer": keras.optimizers.LossScaleOptimizer(small.sgd())},
            "LossScaleOptimizer",
        ),
    ],
)
def test_refused_compile_options(options, message):
    model = dp.make_private(small.plain())
    with pytest.raises(ValueError, match=message):
        small.compiled(model, **options)
    small.compiled(model).fit(*small.data(4), verbose=0)


def test_a_model_compiled_before_it_was_private_must_be_compiled_again():
    for optimizer in (keras.optimizers.SGD(0.1), small.sgd()):
        model = small.plain()
        model.compile(optimizer, "mse")
        dp.make_private(model)
        with pytest.raises(ValueError, match="compile"):
            model.fit(*small.data(4), verbose=0)
        with pytest.raises(ValueError, match="compile"):
            model.train_on_batch(*small.data(4))


def test_a_plain_model_with_a_dp_optimizer_is_refused():
    model = small.plain()
    model.compile(small.sgd(), "mse")
    with pytest.raises(ValueError, match="make_private"):
        model.fit(*small.data(4), verbose=0)


def test_models_that_cannot_be_private():
    class OwnStep(keras.Model):
        def train_step(self, data):
            return {}

    class TfKeras:
        __module__ = "tf_keras.src.engine.training"

    with pytest.raises(ValueError, match="clipped_gradients"):
        dp.make_private(OwnStep())
    with pytest.raises(TypeError, match="TF_USE_LEGACY_KERAS"):
        dp.make_private(TfKeras())
    with pytest.raises(ValueError, match="engine"):
        dp.make_private(small.plain(), engine="magic")


def test_another_backend_is_one_line():
    # As Keras would say where jax is installed.
    printed = small.run_script(
        """
import keras
keras.backend.backend = lambda: "jax"
try:
    import tfpriv.dp
except ImportError as error:
    print(error)
"""
    )
    (line,) = printed.strip().splitlines()
    assert "set KERAS_BACKEND=tensorflow" in line
    assert "KERAS_BACKEND=jax" in line


def test_a_refused_model_is_left_as_it_was():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    with pytest.raises(ValueError, match="replace_batchnorm"):
        dp.make_private(model)
    assert type(model) is keras.Sequential


def test_a_batchnorm_unfrozen_after_compile_is_refused():
    layers = [keras.Input((3,)), keras.layers.BatchNormalization(trainable=False)]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    small.compiled(dp.make_private(model))
    model.fit(*small.data(4), verbose=0)
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match="BatchNormalization"):
        model.fit(*small.data(4), verbose=0)


# Bad records.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_example_contributes_zero_and_nothing_else_happens(bad, recwarn):
    x, y = small.data(6)
    with_bad = np.concatenate([x, [[bad, 1.0, 1.0]]]).astype("float32")
    one, other = noiseless(), noiseless()
    one.fit(with_bad, np.append(y, [[1.0]], axis=0), batch_size=7, verbose=0)
    other.fit(dp.PoissonSampler((x, y), 6, steps_per_epoch=1), verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(7 * a, 6 * b, rtol=1e-5)
    assert not [w for w in recwarn if "tfpriv" in str(w.filename)]


def test_batches_of_nothing_but_nan_are_ordinary_steps(capsys):
    x, y = np.full((6, 3), np.nan, "float32"), np.ones((6, 1))
    model = noiseless()
    model.fit(x, y, batch_size=3, epochs=2, verbose=2)
    np.testing.assert_array_equal(model.get_weights()[0], 0)
    assert len(model.privacy.ledger) == 4 == int(model.optimizer.iterations)
    assert "nan" not in capsys.readouterr().out


def test_steps_per_execution_set_after_compile_is_refused():
    """Callbacks, and so a budget's end, would see every fifth step only."""
    model = small.private()
    model.steps_per_execution = 5
    with pytest.raises(ValueError, match=r"steps_per_execution=1\. Received: 5"):
        model.fit(*small.data(8), batch_size=4, verbose=0)
    assert len(model.privacy.ledger) == 0


# What is shown.


class Figures(keras.callbacks.Callback):
    """What is shown after each step, and what is true."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        privacy = self.model.privacy
        true = privacy.ledger.epsilon(1e-5, accountant="rdp")
        self.seen.append((logs["epsilon"], true))
        if batch == 20:
            privacy.record(dp.mechanisms.poisson(0.5, 1.0), "by a callback")


def test_epsilon_shown_is_never_below_that_of_the_steps_done():
    model = small.private(small.sgd(budget=(500.0, 1e-5)))
    figures = Figures()
    history = model.fit(
        *small.data(40), batch_size=1, epochs=2, verbose=0, callbacks=[figures]
    )
    assert len(figures.seen) == 80
    assert all(shown >= true for shown, true in figures.seen)
    at_ends = history.history["epsilon"]
    assert at_ends[-1] == model.privacy.epsilon()
    assert (
        max(shown for shown, _ in figures.seen[:20]) <= at_ends[0]
    )  # none ahead of it
    assert max(shown for shown, _ in figures.seen) <= at_ends[1]


def test_epsilon_shown_stays_within_the_budget():
    figures, model = Figures(), budgeted()
    with pytest.warns(UserWarning, match="training will stop there"):
        model.fit(
            *small.data(40), batch_size=10, epochs=9, verbose=0, callbacks=[figures]
        )
    assert all(true <= shown <= 2.0 for shown, true in figures.seen)


def test_epsilon_and_labels_in_history_and_print(capsys):
    model = small.private()
    small.compiled(model, metrics=["mae"])
    history = model.fit(*small.data(8), batch_size=4, epochs=2, verbose=2)
    shown = history.history["epsilon"]
    assert shown[-1] == pytest.approx(model.privacy.epsilon())
    assert shown[0] < shown[1]
    assert sorted(history.not_covered_by_epsilon) == ["loss", "mae"]
    assert "mae: not covered by epsilon" in capsys.readouterr().out


def test_evaluate_is_labelled_unless_its_data_is_public(capsys):
    model = small.private()
    x, y = small.data(8)
    figures = model.evaluate(x, y)
    assert "not covered by epsilon" in capsys.readouterr().out
    assert model.evaluate(x, y, verbose=0) == figures
    for public in (dp.Public((x, y)), dp.Public([x, y]), dp.Public(x, y)):
        assert model.evaluate(public) == pytest.approx(figures)
    for beside in ({"y": y}, {"sample_weight": np.ones(8)}):
        with pytest.raises(ValueError, match="brings its targets"):
            model.evaluate(dp.Public(x, y), **beside)
    public = dp.Public(tf.data.Dataset.from_tensor_slices((x, y)).batch(4))
    assert model.evaluate(public) == pytest.approx(figures)
    model.fit(x, y, validation_data=dp.Public((x[:4] + 0.0, y[:4] + 0.0)), verbose=0)
    assert "not covered" not in capsys.readouterr().out


def test_tensorboard_is_labelled(tmp_path):
    board = dp.TensorBoard(tmp_path)
    small.private().fit(*small.data(8), callbacks=[board], verbose=0)
    (events,) = (tmp_path / "train").glob("events*")
    text = events.read_bytes()
    assert b"not covered by epsilon" in text
    assert b"epoch_epsilon" in text


# Budgets.


def budgeted(epsilon=2.0, **options):
    optimizer = dp.DPSGD.for_budget(
        epsilon, 1e-5, population=40, batch_size=10, steps=10, **options
    )
    return small.private(optimizer)


def test_training_stops_before_the_budget_is_passed():
    model = budgeted()
    x, y = small.data(40)
    with pytest.warns(UserWarning, match="allows 10 of the 40 steps to come"):
        model.fit(x, y, batch_size=10, epochs=10, verbose=0)
    assert len(model.privacy.ledger) == 10 == int(model.optimizer.iterations)
    assert 1.9 < model.privacy.epsilon(1e-5) <= 2.0
    weights = model.get_weights()
    with pytest.raises(LedgerError, match=r"budget is spent.*for_budget\(epsilon="):
        model.fit(x, y, batch_size=10, verbose=0)
    np.testing.assert_equal(model.get_weights(), weights)
    assert len(model.privacy.ledger) == 10


def test_a_stop_in_the_middle_is_said(capsys):
    model = budgeted()
    with pytest.warns(UserWarning, match=r"q = 0\.25") as warned:
        model.fit(*small.data(40), batch_size=10, epochs=5, verbose=2)
    assert [w.filename for w in warned] == [__file__]
    shown = capsys.readouterr().out
    assert "Stopped in epoch 3 of 5, after 2 of 4 steps" in shown
    assert "one more step would exceed epsilon = 2 at delta = 1e-05" in shown


def test_a_stop_at_the_end_of_an_epoch_is_said(capsys):
    optimizer = dp.DPSGD.for_budget(2.0, 1e-5, population=40, batch_size=10, epochs=1)
    with pytest.warns(UserWarning, match="allows 4 of the 8"):
        small.private(optimizer).fit(
            *small.data(40), batch_size=10, epochs=2, verbose=2
        )
    assert "Stopped after epoch 1 of 2: one more step" in capsys.readouterr().out


def test_a_step_that_no_budget_pays_for_is_told_from_a_spent_one():
    """Noise for Poisson batches is too little for batches as they come."""
    x, y = small.data(40)
    whole = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    optimizer = dp.DPSGD.for_budget(2.0, 1e-5, population=400, batch_size=10, steps=10)
    model = small.private(optimizer)
    with pytest.raises(
        LedgerError, match=r"alone exceeds .*, epsilon = 2 .*dp\.Stream"
    ):
        model.fit(dp.Stream(whole, max_occurrences=1), verbose=0)
    with pytest.raises(LedgerError, match="alone exceeds"):
        dp.make_private(model, max_occurrences=1).train_on_batch(x[:10], y[:10])
    assert len(model.privacy.ledger) == 0


def test_a_budget_at_a_delta_too_large_is_said_at_once():
    with pytest.warns(UserWarning, match="not below 1/n for n=40") as warned:
        optimizer = dp.DPSGD.for_budget(
            2.0, 0.1, population=40, batch_size=10, epochs=1
        )
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small.private(optimizer).fit(*small.data(40), batch_size=10, verbose=0)


def test_more_units_than_planned_are_said():
    optimizer = dp.DPSGD.for_budget(2.0, 1e-5, population=40, batch_size=10, steps=4)
    with pytest.warns(UserWarning, match="needs: calibrate for population=80"):
        small.private(optimizer).fit(*small.data(80), batch_size=10, verbose=0)


def test_a_delta_that_is_too_large_for_more_units_is_said():
    optimizer = dp.DPSGD.for_budget(2.0, 0.02, population=40, batch_size=10, steps=4)
    with pytest.warns(UserWarning, match=r"0\.02 is not below 1/n for n=80"):
        small.private(optimizer).fit(*small.data(80), batch_size=20, verbose=0)


@pytest.mark.parametrize(
    ("clipping", "weights", "said"),
    [("flat", (1, 19), True), ("flat", (0.1, 1), False), ("automatic", (0.1, 1), True)],
)
def test_class_weights_that_clipping_undoes_are_said(clipping, weights, said):
    x, _ = small.data(8)
    y = np.array([[0], [1]] * 4)
    for train in ("fit", "train_on_batch"):
        model = small.private(small.sgd(clipping=clipping), max_occurrences=1)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            getattr(model, train)(x, y, class_weight=dict(enumerate(weights)))
        assert said == any("undoes class weights" in str(w.message) for w in warned)


def test_a_budget_for_epochs(capsys):
    """As many steps as `fit` makes of them, of which none is too much."""
    sizes = {"population": 41, "batch_size": 10}
    by_epochs = dp.DPSGD.for_budget(2.0, 1e-5, **sizes, epochs=2)
    by_steps = dp.DPSGD.for_budget(2.0, 1e-5, **sizes, steps=10)
    assert by_epochs.noise_multiplier == by_steps.noise_multiplier
    model = small.private(by_epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(*small.data(41), batch_size=10, epochs=2, verbose=2)
    assert len(model.privacy.ledger) == 10
    assert "Stopped" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"epochs=1\.5"):
        dp.DPSGD.for_budget(2.0, 1e-5, **sizes, epochs=1.5)
    for length in ({}, {"epochs": 1, "steps": 1}):
        with pytest.raises(ValueError, match="one of `epochs` and `steps`"):
            dp.DPSGD.for_budget(2.0, 1e-5, **sizes, **length)
    with pytest.raises(ValueError, match="batch_size=50, population=41"):
        dp.DPSGD.for_budget(2.0, 1e-5, population=41, batch_size=50, epochs=1)


def test_a_budget_pays_for_a_private_loss_too():
    sizes = {"population": 40, "batch_size": 10, "epochs": 5}
    optimizer = dp.DPSGD.for_budget(2.0, 1e-5, **sizes, private_metrics=True)
    model = small.private(optimizer, private_metrics=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(*small.data(40), batch_size=10, epochs=5, verbose=0)
    assert len(model.privacy.ledger) == 20
    assert 1.99 < model.privacy.epsilon(1e-5) <= 2.0


def test_a_private_loss_that_the_budget_did_not_reckon_with_is_named():
    optimizer = dp.DPSGD.for_budget(2.0, 1e-5, population=40, batch_size=10, steps=10)
    model = small.private(optimizer, private_metrics=True)
    with pytest.warns(UserWarning, match="and with `private_metrics=True`"):
        model.fit(*small.data(40), batch_size=10, steps_per_epoch=10, verbose=0)


@pytest.mark.parametrize("drawn", [40, None])
def test_smaller_batches_than_planned_are_said(drawn):
    """Left out, `batch_size` is 32."""
    optimizer = dp.DPSGD.for_budget(2.0, 1e-5, population=400, batch_size=100, epochs=1)
    x, y = small.data(400)
    with pytest.warns(UserWarning, match="train with batch_size=100, or"):
        small.private(optimizer).fit(x, y, batch_size=drawn, verbose=0)


def test_figures_are_given_at_the_delta_of_the_budget(capsys):
    optimizer = dp.DPSGD.for_budget(
        2.0, 1e-3, population=40, batch_size=10, steps=4, accountant="pld"
    )
    model = small.private(optimizer)
    shown = model.fit(*small.data(40), batch_size=10, verbose=2).history["epsilon"]
    assert model.privacy.delta == 1e-3
    assert 1.99 < shown[-1] == model.privacy.epsilon() <= 2.0
    assert re.search(
        r"epsilon = (2|1\.99\d*) of 2 at delta = 0\.001,", capsys.readouterr().out
    )
    assert "delta = 0.001" in model.privacy.statement()


def test_a_delta_too_large_is_said_once():
    model = small.private(small.sgd(budget=(50.0, 0.1)))
    said = "delta=0.1 is not below 1/n for n=40"
    with pytest.warns(UserWarning, match=said) as warned:
        model.fit(*small.data(40), batch_size=10, verbose=0)
    [caution] = warned
    assert caution.filename == __file__


def test_what_was_done_before_is_named_where_a_budget_ends_early():
    model = budgeted()
    model.fit(*small.data(40), batch_size=10, epochs=2, verbose=0)
    with pytest.warns(UserWarning, match="with the ledger of the 8 steps done before"):
        model.fit(*small.data(40), batch_size=10, epochs=2, verbose=0)
    assert len(model.privacy.ledger) == 10


def test_a_budget_by_pld_pays_for_all_its_steps(capsys):
    """RDP, by which such noise is too little, would end the training early."""
    model = budgeted(accountant="pld")
    by_rdp = budgeted().optimizer.noise_multiplier
    assert model.optimizer.noise_multiplier < 0.99 * by_rdp
    assert model.optimizer.budget.serialized() == (2.0, 1e-5, "pld")
    x, y = small.data(40)
    model.fit(x, y, batch_size=10, epochs=10, verbose=2)
    assert len(model.privacy.ledger) == 10 == int(model.optimizer.iterations)
    assert model.privacy.epsilon(1e-5, accountant="rdp") > 2.0
    assert 1.9 < model.privacy.epsilon(1e-5) <= 2.0  # by the budget's
    statement = json.loads(model.privacy.statement(1e-5, format="json"))
    assert (statement["accountant"], statement["epsilon"] <= 2.0) == ("pld", True)
    shown = float(re.findall(r"epsilon = ([\d.]+) at", capsys.readouterr().out)[-1])
    assert 1.9 < shown <= 2.0
    with pytest.raises(LedgerError, match="budget is spent"):
        model.fit(x, y, batch_size=10, verbose=0)


@pytest.mark.parametrize("budget", [(1.0, 1e-5, "prv"), (1.0, 1e-5, "rdp", "pld")])
def test_wrong_budgets(budget):
    with pytest.raises(ValueError, match=r"epsilon, delta, accountant"):
        small.sgd(budget=budget)


def test_the_budget_counts_earlier_runs():
    model = budgeted()
    x, y = small.data(40)
    model.fit(x, y, batch_size=10, steps_per_epoch=3, verbose=0)
    model.fit(x, y, batch_size=10, steps_per_epoch=3, epochs=9, verbose=0)
    assert len(model.privacy.ledger) == 10


def test_the_budget_counts_what_was_spent_elsewhere():
    model = budgeted()
    x, y = small.data(40)
    model.fit(x, y, batch_size=10, steps_per_epoch=4, verbose=0)
    more = dp.DPSGD.for_budget(
        3.0,
        1e-5,
        population=40,
        batch_size=10,
        steps=5,
        ledger=model.privacy.ledger,
    )
    small.compiled(model, more)
    model.fit(x, y, batch_size=10, epochs=9, verbose=0)
    assert len(model.privacy.ledger) == 9
    assert 2.9 < model.privacy.epsilon(1e-5) <= 3.0


def test_own_batches_keep_to_the_budget():
    optimizer = small.sgd(noise_multiplier=10.0, budget=(1.0, 1e-5))
    model = small.private(optimizer, max_occurrences=1)
    x, y = small.data(4)
    with pytest.raises(LedgerError, match="budget is spent"):  # noqa: PT012
        for _ in range(100):
            model.train_on_batch(x, y)
    assert 0.9 < model.privacy.epsilon(1e-5) <= 1.0
    assert len(model.privacy.ledger) == int(model.optimizer.iterations) < 100


def test_undeclared_own_batches_do_not_fit_any_budget():
    model = small.private(small.sgd(budget=(100.0, 1e-5)))
    with (
        pytest.warns(UserWarning, match="max_occurrences"),
        pytest.raises(LedgerError, match="`max_occurrences` declared"),
    ):
        model.train_on_batch(*small.data(4))
    assert len(model.privacy.ledger) == 0


# Interruptions.


class Breaks(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("callback")])
def test_interrupted_steps_are_counted_and_training_goes_on(error):
    model = small.private()
    x, y = small.data(12)
    with pytest.raises(type(error)):
        model.fit(x, y, batch_size=3, verbose=0, callbacks=[Breaks(error)])
    assert len(model.privacy.ledger) == 2 == int(model.optimizer.iterations)
    assert model.privacy.epsilon() > 0
    model.fit(x, y, batch_size=3, verbose=0)
    assert len(model.privacy.ledger) == 6 == int(model.optimizer.iterations)


def test_an_error_of_the_data_comes_through_as_it_is():
    class Torn:
        def __len__(self):
            return 8

        def __getitem__(self, index):
            if index == 5:
                raise OSError("picture 5 is cut in half")
            return np.ones(3, "float32"), np.ones(1, "float32")

    model = small.private()
    weights = model.get_weights()
    with pytest.raises(OSError, match="cut in half"):
        model.fit(dp.PoissonSampler(Torn(), 8), verbose=0)
    assert len(model.privacy.ledger) == 1  # it was paid for before it was drawn
    np.testing.assert_equal(model.get_weights(), weights)


def test_training_inside_training_is_refused():
    x, y = small.data(8)

    class Again(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.train_on_batch(x, y)

    model = small.private(max_occurrences=1)
    with pytest.raises(ValueError, match="in training already"):
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[Again()])
