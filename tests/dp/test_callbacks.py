"""What callbacks can choose by: exact figures are a caution, public ones are not."""

import json

import keras
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.accounting import Ledger
from tfpriv.dp import callback_checks
from tfpriv.dp import callbacks as dp_callbacks
from tfpriv.support.training import Backup

EARLY_STOPPING = keras.callbacks.EarlyStopping


class StopAtAccuracy(keras.callbacks.Callback):
    """The callback of TensorFlow's beginner course."""

    def on_epoch_end(self, epoch, logs=None):
        if logs.get("accuracy") > 0.6:
            self.model.stop_training = True


class SaveBestEpoch(keras.callbacks.Callback):
    """As in `keras_tuner.engine.tuner_utils`, which saves the best epoch's weights."""

    def __init__(self, objective, filepath):
        super().__init__()
        self.objective, self.filepath = objective, filepath
        self.best = float("-inf")

    def on_epoch_end(self, epoch, logs=None):
        if logs[self.objective] > self.best:
            self.best = logs[self.objective]
            self.model.save_weights(self.filepath, overwrite=True)


class TunerCallback(keras.callbacks.Callback):
    """As in `keras_tuner.engine.tuner_utils`: hands all to the tuner."""

    def __init__(self, tuner):
        super().__init__()
        self.tuner = tuner

    def on_epoch_begin(self, epoch, logs=None):
        self.tuner.on_epoch_begin(self.model, epoch, logs=logs)

    def on_batch_end(self, batch, logs=None):
        self.tuner.on_batch_end(self.model, batch, logs)


class ReadsHistory(keras.callbacks.Callback):
    """Is given no figures, and finds them."""

    def on_epoch_begin(self, epoch, logs=None):
        del self.model.history.history


class TakesAnother(EARLY_STOPPING):
    """Looks at something else than its monitor."""

    def get_monitor_value(self, logs):
        return logs["accuracy"]


class Patient(EARLY_STOPPING):
    """Public figures with a number of the user's."""

    def __init__(self):
        super().__init__("val_loss", patience=7)


class Stops:
    """Mixed into another callback."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = logs["loss"] < 1


class Mixed(Stops, keras.callbacks.CSVLogger):
    pass


class Below(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = logs["loss"]


class Between(keras.callbacks.CSVLogger, Below):
    """`Below` overrides `Callback`, from which both come."""


def shadowed():
    callback = keras.callbacks.History()
    callback.on_epoch_end = lambda epoch, logs: None
    return callback


CHOOSING = {
    "beginner's": StopAtAccuracy,
    "lambda": lambda: keras.callbacks.LambdaCallback(on_epoch_end=print),
    "KerasTuner's checkpoint": lambda: SaveBestEpoch("accuracy", "best.weights.h5"),
    "KerasTuner's": lambda: TunerCallback(None),
    "history": ReadsHistory,
    "another figure": TakesAnother,
    "mixin": lambda: Mixed("log.csv"),
    "second base": lambda: Between("log.csv"),
    "a method of one object": shadowed,
    "no callback of Keras": Stops,
}
HARMLESS = {
    "nothing overridden": keras.callbacks.Callback,
    "only a number": Patient,
    "progress": keras.callbacks.ProgbarLogger,
    "history": keras.callbacks.History,
    "list": keras.callbacks.CallbackList,
    "file": lambda: keras.callbacks.CSVLogger("log.csv"),
    "server": keras.callbacks.RemoteMonitor,
    "board": keras.callbacks.TensorBoard,
    "labelled board": dp.TensorBoard,
    "backup": lambda: keras.callbacks.BackupAndRestore("backup"),
    "private backup": lambda: dp.BackupAndRestore("backup"),
    "every epoch": lambda: keras.callbacks.ModelCheckpoint("m.keras"),
    "schedule": lambda: keras.callbacks.LearningRateScheduler(float),
    "averages": keras.callbacks.SwapEMAWeights,
    "early stopping": EARLY_STOPPING,
    "plateau": keras.callbacks.ReduceLROnPlateau,
}


@pytest.mark.parametrize("make", CHOOSING.values(), ids=CHOOSING)
def test_a_callback_with_code_of_the_user_can_choose(make):
    assert dp_callbacks.can_choose(make())


@pytest.mark.parametrize("make", HARMLESS.values(), ids=HARMLESS)
def test_a_callback_that_is_known_cannot_choose(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not dp_callbacks.can_choose(make())


def test_every_callback_of_keras_is_known_or_can_choose():
    """A new one in a later Keras is not harmless until somebody has looked at it."""
    kinds = {
        kind
        for kind in vars(keras.callbacks).values()
        if isinstance(kind, type) and issubclass(kind, keras.callbacks.Callback)
    }
    others = {kind.__name__ for kind in kinds - dp_callbacks._HARMLESS}
    assert others <= {"LambdaCallback", "TerminateOnNaN"}
    assert dp_callbacks.can_choose(Backup.__new__(Backup))


# `fit`: trained once, so that its step is traced once.


@pytest.fixture(scope="module")
def model():
    return small.compiled(dp.make_private(small.plain()), metrics=["accuracy"])


def train(model, *callbacks, validation=True, **options):
    data = {"validation_data": dp.Public(small.data(4))} if validation else {}
    return model.fit(
        *small.data(8),
        batch_size=4,
        callbacks=list(callbacks),
        **{"verbose": 0, **data, **options},
    )


def check_is_cautioned(model, callback):
    """A warning before the first step, a caution in the ledger and its statement."""
    name = type(callback).__name__
    with pytest.warns(UserWarning, match=f"{name} can read exact .*private_metrics"):
        train(model, callback)
    (caution,) = [c for c in model.privacy.ledger.recorded_warnings if name in c]
    assert "accuracy" in caution
    assert "not covered by epsilon" in caution
    assert caution in json.loads(model.privacy.statement(format="json"))["warnings"]
    assert f"WARNING: A callback of class {name}" in model.privacy.statement()


@pytest.mark.parametrize(
    "callback",
    [StopAtAccuracy(), keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)],
    ids=["beginner's", "lambda"],
)
def test_a_choice_by_exact_figures_is_a_caution(model, callback):
    check_is_cautioned(model, callback)


def test_planted_caution_that_is_left_out_is_found(model, monkeypatch):
    class Unseen(StopAtAccuracy):
        pass

    monkeypatch.setattr(dp_callbacks, "can_choose", lambda callback: False)
    with pytest.raises(pytest.fail.Exception, match="DID NOT WARN"):
        check_is_cautioned(model, Unseen())


def test_the_objective_of_a_tuner_is_a_caution(model, tmp_path):
    check_is_cautioned(model, SaveBestEpoch("accuracy", tmp_path / "best.weights.h5"))


@pytest.mark.filterwarnings("ignore:Inner can read")
def test_a_callback_in_a_list_in_a_list_is_a_caution(model):
    class Inner(StopAtAccuracy):
        pass

    inner = keras.callbacks.CallbackList([Inner()])
    train(model, keras.callbacks.CallbackList([inner]))
    assert any("Inner" in c for c in model.privacy.ledger.recorded_warnings)


@pytest.mark.filterwarnings("error::UserWarning")
def test_known_callbacks_are_no_caution(model, tmp_path):
    before = model.privacy.ledger.recorded_warnings
    train(
        model,
        Patient(),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate),
        keras.callbacks.ModelCheckpoint(tmp_path / "m.keras", monitor="loss"),
    )
    assert model.privacy.ledger.recorded_warnings == before


@pytest.mark.filterwarnings("ignore:Printed can read")
def test_what_fit_prints_names_the_callback(model, capsys):
    class Printed(StopAtAccuracy):
        pass

    train(model, Printed(), verbose=2)
    said = capsys.readouterr().out
    assert "choices by Printed: not covered by epsilon" in said


def test_evaluation_of_undeclared_data_by_a_callback_is_a_caution():
    class Evaluates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            shown = self.model.evaluate(dp.Public(*small.data(4)), verbose=0)
            assert not self.model.privacy.ledger.recorded_warnings, shown
            self.model.evaluate(*small.data(4), verbose=0)

    model = small.private(private_metrics=True)
    train(model, Evaluates(), validation=False)
    (caution,) = model.privacy.ledger.recorded_warnings
    assert "`evaluate` was called on data that were not declared public" in caution
    model.evaluate(*small.data(4), verbose=0)  # afterwards it chooses nothing


@pytest.mark.filterwarnings("error::UserWarning")
def test_private_metrics_are_no_caution():
    class Sees(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert set(logs) == {"private_loss", "epsilon", "val_loss", "val_accuracy"}

    model = dp.make_private(small.plain(), private_metrics=True)
    train(small.compiled(model, metrics=["accuracy"]), Sees())
    assert model.privacy.ledger.recorded_warnings == ()


def test_cautions_stay_with_weights(model, tmp_path):
    """Saved, loaded, loaded into a model that trains, added to another ledger."""
    ledger = model.privacy.ledger
    assert ledger.recorded_warnings
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    other = dp.make_private(small.plain())
    other.load_weights(path)
    assert other.privacy.ledger.recorded_warnings == ledger.recorded_warnings
    privacy = dp.Privacy()
    privacy.add(ledger)
    assert privacy.ledger.recorded_warnings == ledger.recorded_warnings
    resumed = dp.Privacy()
    with resumed.training():
        resumed.load(ledger)
    assert resumed.ledger.recorded_warnings == ledger.recorded_warnings


# What is public follows from where a figure was computed.


@pytest.fixture(scope="module")
def misnamed():
    """Its training metrics have names of validation, and one of an epsilon."""
    names = ["val_accuracy", "epsilon_mae"]
    metrics = [keras.metrics.MeanAbsoluteError(name=name) for name in names]
    return small.compiled(dp.make_private(small.plain()), metrics=metrics)


def check_is_refused(model, callback):
    """Before anything is spent."""
    spent = model.privacy.ledger.copy()
    with pytest.raises(ValueError, match=r"computed on private batches too.*rename"):
        train(model, callback)
    assert model.privacy.ledger == spent


MONITORS = {
    "early stopping": lambda: EARLY_STOPPING("val_accuracy", mode="max"),
    "plateau": lambda: keras.callbacks.ReduceLROnPlateau("val_accuracy"),
    "checkpoint": lambda: keras.callbacks.ModelCheckpoint(
        "m.keras", "val_accuracy", save_best_only=True
    ),
    "in a list": lambda: keras.callbacks.CallbackList(
        [EARLY_STOPPING("val_accuracy", mode="max")]
    ),
}


@pytest.mark.parametrize("make", MONITORS.values(), ids=MONITORS)
def test_a_training_metric_named_like_validation_is_refused(misnamed, make):
    check_is_refused(misnamed, make())


def test_planted_fault_public_by_name(misnamed, monkeypatch):
    """With names alone, as before, the choice goes through."""

    def by_name(callbacks, exact):
        return check(callbacks, [name for name in exact if not name.startswith("val_")])

    check = callback_checks.check_monitors
    monkeypatch.setattr(callback_checks, "check_monitors", by_name)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        check_is_refused(misnamed, MONITORS["early stopping"]())


@pytest.mark.parametrize("name", ["epsilon_mae", "private_mae", "private_loss_mae"])
def test_monitors_are_not_taken_by_the_beginning_of_their_names(misnamed, name):
    with pytest.raises(ValueError, match="a choice that epsilon does not cover"):
        train(misnamed, EARLY_STOPPING(name, mode="min"))


def test_misnamed_metrics_are_labelled_everywhere(misnamed, tmp_path, capsys):
    board, stop = dp.TensorBoard(tmp_path), EARLY_STOPPING("val_loss")
    history = train(misnamed, board, stop, verbose=2)
    labelled = {"loss", "val_accuracy", "epsilon_mae"}
    assert set(history.not_covered_by_epsilon) == labelled
    shown = {"epsilon", "val_loss", "val_val_accuracy", "val_epsilon_mae"}
    assert set(history.history) == labelled | shown
    line = capsys.readouterr().out.split(" for the weights; ")[1]
    assert all(name in line.split(": not covered")[0] for name in labelled)
    (text,) = scalars_and_texts(tmp_path / "train")["privacy"]
    assert "epoch_train_val_accuracy" in text
    assert "epoch_train_val_accuracy" in scalars_and_texts(tmp_path / "train")
    validation = set(scalars_and_texts(tmp_path / "validation"))
    assert {n for n in validation if n.startswith("epoch_")} == {
        "epoch_loss",
        "epoch_val_accuracy",  # of Keras' `val_val_accuracy`, on public data
        "epoch_epsilon_mae",
    }


def scalars_and_texts(folder):
    """What a folder of TensorBoard holds: a list of texts for each tag."""
    (events,) = folder.glob("events*")
    found: dict = {}
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            texts = [text.decode() for text in value.tensor.string_val]
            found.setdefault(value.tag, []).extend(texts)
    return found


@pytest.mark.parametrize("name", ["epsilon", "private_loss"])
@pytest.mark.parametrize("private_metrics", [False, True])
def test_a_metric_named_like_a_covered_figure_is_refused(name, private_metrics):
    model = dp.make_private(small.plain(), private_metrics=private_metrics)
    small.compiled(model, metrics=[keras.metrics.MeanAbsoluteError(name=name)])
    with pytest.raises(ValueError, match=f"Expected other names.*{name}"):
        model.fit(*small.data(8), verbose=0)
    assert model.privacy.ledger == Ledger()


def test_an_output_named_like_a_covered_figure_is_refused():
    """The loss of an output `private` is called `private_loss`."""
    inputs = keras.Input((3,))
    outputs = {n: keras.layers.Dense(1, name=n)(inputs) for n in ("private", "other")}
    model = dp.make_private(keras.Model(inputs, outputs))
    small.compiled(model, loss={"private": "mse", "other": "mse"})
    x, y = small.data(8)
    sampler = dp.PoissonSampler((x, {"private": y, "other": y}), 4)
    with pytest.raises(ValueError, match=r"Expected other names.*private_loss"):
        model.fit(sampler, verbose=0)
