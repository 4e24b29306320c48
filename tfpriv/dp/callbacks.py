"""Callbacks: epsilon in the logs, the stop before a budget, private backups."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpriv.accounting import epsilon as bounds
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.accounting.statement import rounded_up
from tfpriv.dp.budget import with_steps
from tfpriv.support.outputs import remove_only

JOURNAL_NAME = "privacy_journal.jsonl"
BACKUP_FILES = (  # of Keras, of `BackupAndRestore` below, and beside both
    "latest.weights.h5",
    "latest.weights.h5.bkp",
    "training_metadata.json",
    "training_metadata.json.bkp",
    "next.weights.h5",
    "next.json",
    JOURNAL_NAME,
)
NOT_COVERED = "not covered by epsilon"
COVERED = ("epsilon", "private_loss")  # the entries of training logs that are


class PrivacyLogger(keras.callbacks.Callback):
    """Shows epsilon while training and stops before the budget is exceeded.

    `fit` of a private model adds it before all other callbacks, so that `epsilon` is
    in their logs: at the end of an epoch the exact figure, within it the one to come.

    Args:
        model: Private model, compiled.
        sampler: `Sampler`, which says what steps record an event.
        mechanism: Cost of one event.
        choosing: Class names of callbacks that can choose by exact figures.
    """

    def __init__(
        self,
        model: keras.Model,
        sampler: Any,
        mechanism: Mechanism,
        choosing: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._exact, self._choosing = model._exact_figures, tuple(choosing)
        self._privacy, self._private_loss = model.privacy, model._private_loss
        self._mechanism, self._budget = mechanism, model.optimizer.budget
        self._sampler, self._step = sampler, 0  # steps done in this call of `fit`
        self._shown, self._shown_for = 0.0, Ledger()
        self._events_left: int | None = None
        self._stops_early = False  # the budget does not allow all steps
        self._epoch = self._batch = 0
        self.not_covered: tuple[str, ...] = ()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._private_loss is not None:
            self._private_loss.reset_state()
        self._epoch, steps = epoch, self.params["steps"]
        if self._budget is not None and self._events_left is None:
            # Not before here: `BackupAndRestore` may have loaded a ledger.
            ledger, mechanism = self._privacy.ledger, self._mechanism
            self._budget.check(ledger, mechanism)
            self._events_left = self._budget.steps_left(ledger, mechanism)
            self._stops_early = self._budget.warn_of_early_stop(
                ledger,
                mechanism,
                self._events_left,
                self._sampler.events(0, (self.params["epochs"] - epoch) * steps),
                private_metrics=self._private_loss is not None,
            )
        self._predict(steps)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._events_left is not None:
            self._events_left -= self._sampler.events(self._step, 1)
            next_one = self._sampler.events(self._step + 1, 1)
            self.model.stop_training |= self._events_left < next_one
        self._batch, self._step = batch, self._step + 1
        if not self._shown_for.includes(self._privacy.ledger):  # another one was added
            self._predict(self.params["steps"] - batch - 1)
        if logs is not None:
            logs["epsilon"] = self._shown

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self._privacy.ledger.includes(self._shown_for):  # it has fewer steps
            self._predict(0)
        if logs is not None:
            self.not_covered = tuple(name for name in logs if name in self._exact)
            logs["epsilon"] = self._shown

    def _predict(self, steps):
        """Computes epsilon after so many further steps, which is shown until then."""
        privacy, events = self._privacy, self._sampler.events(self._step, steps)
        if self._events_left is not None:
            events = min(events, self._events_left)
        ledger = with_steps(privacy.ledger, self._mechanism, events, privacy.unit)
        bound = bounds.epsilon(ledger.steps(), privacy.delta, privacy.accountant)
        self._shown, self._shown_for = bound.value, ledger

    def on_train_end(self, logs: Any = None) -> None:
        if not self.params.get("verbose"):
            return
        if self._stops_early and self._events_left == 0:
            done, steps = self._batch + 1, self.params["steps"]
            epoch = f"epoch {self._epoch + 1} of {self.params['epochs']}"
            within = f"in {epoch}, after {done} of {steps} steps"
            position = f"after {epoch}" if done == steps else within
            print(f"Stopped {position}: one more step would exceed {self._budget}.")
        if self.not_covered:
            of_budget = f" of {self._budget.epsilon:g}" if self._budget else ""
            choices = [f"choices by {name}" for name in self._choosing]
            print(
                f"epsilon = {rounded_up(self._shown)}{of_budget} at delta = "
                f"{self._privacy.delta:g}, for the weights; "
                f"{', '.join([*self.not_covered, *choices])}: {NOT_COVERED}."
            )


class TensorBoard(keras.callbacks.TensorBoard):
    """`keras.callbacks.TensorBoard` that labels what epsilon does not cover.

    A text beside the scalars of training, `epoch_epsilon` among them, lists those that
    are exact functions of private data. A training metric called `val_...`, which
    Keras would write among those of validation, is `epoch_train_val_...`.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        names = [f"epoch_{self._tag(name)}" for name in self.model._exact_figures]
        listed = f" ({', '.join(names)})" if names else ""
        text = f"Scalars other than epoch_epsilon and private_loss{listed}: "
        with self._train_writer.as_default():
            tf.summary.text("privacy", f"{text}{NOT_COVERED}.", step=0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        tagged = {self._tag(name): value for name, value in (logs or {}).items()}
        super().on_epoch_end(epoch, tagged)

    def _tag(self, name):
        exact = name in self.model._exact_figures
        return f"train_{name}" if exact and name.startswith("val_") else name


class BackupAndRestore(keras.callbacks.BackupAndRestore):
    """`keras.callbacks.BackupAndRestore` whose files are private and whole.

    What it keeps is what is needed to resume, for nobody else's eyes: files are
    readable by their owner alone, replaced atomically, and deleted when training
    completes. A journal of every step started lies beside them, so that a killed run
    loses no event. Only whole epochs are resumed.

    Args:
        backup_dir: Folder of its own for one training run; `fit` refuses one that
            holds other things.
        delete_checkpoint: As in Keras.
    """

    _weights_path: str
    _training_metadata_path: str

    def __init__(
        self, backup_dir: str | os.PathLike[str], delete_checkpoint: bool = True
    ) -> None:
        super().__init__(backup_dir, "epoch", False, delete_checkpoint)

    def _load_model(self):
        if not self.model.built:
            return super()._load_model()  # whose error says what to do
        try:
            super()._load_model()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"The backup in {self.backup_dir} is damaged ({error}). Delete "
                "'latest.weights.h5' and 'training_metadata.json' to start from the "
                "first epoch again; keep the journal, which counts what was spent."
            ) from error

    def _save_model(self):
        folder = pathlib.Path(self.backup_dir)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        final = self._weights_path, self._training_metadata_path
        fresh = str(folder / "next.weights.h5"), str(folder / "next.json")
        for path in fresh:  # Keras writes into it and leaves its mode as it is
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._weights_path, self._training_metadata_path = fresh
        try:
            super()._save_model()
        finally:
            self._weights_path, self._training_metadata_path = final
        # Weights first: an epoch that is done again costs budget, never hides it.
        for new, old in zip(fresh, final, strict=True):
            os.replace(new, old)

    def on_train_end(self, logs: Any = None) -> None:
        if self.delete_checkpoint:
            remove_only(self.backup_dir, BACKUP_FILES)


# Callbacks that choose nothing by exact figures. `fit` checks what those with a
# `monitor` watch.
_HARMLESS = {
    BackupAndRestore,
    PrivacyLogger,
    TensorBoard,
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.Callback,
    keras.callbacks.CallbackList,
    keras.callbacks.EarlyStopping,
    keras.callbacks.History,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.OrbaxCheckpoint,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TensorBoard,
}


def harmless(callback_class):
    """Class decorator: the callback chooses nothing by the figures that it is given."""
    _HARMLESS.add(callback_class)
    return callback_class


def can_choose(callback):
    """Whether a callback runs code that may choose by the figures of training.

    Any does but those known to be harmless, and subclasses of these that override
    nothing but `__init__`.
    """
    kinds = type(callback).__mro__
    known = next((kind for kind in kinds if kind in _HARMLESS), None)
    if known is None:
        return True
    added = [vars(kind) for kind in kinds if kind not in known.__mro__]
    names = set(vars(callback)).union(*added)  # on an instance, as LambdaCallback does
    return any(hasattr(known, n) and not n.startswith("__") for n in names)
