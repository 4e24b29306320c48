"""Callbacks that act on training figures: refused, or recorded as a warning."""

import keras

from tfpriv.dp import callbacks as dp_callbacks
from tfpriv.support.warning import warn


def one_by_one(callbacks):
    """Each callback, and those inside of it: a `CallbackList` has some."""
    for callback in keras.tree.flatten(callbacks):
        yield callback
        yield from one_by_one(getattr(callback, "callbacks", None) or [])


def check_before_trace(model, callbacks, validated):
    """Refuses callbacks that act on exact functions of private data, or on nothing."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TerminateOnNaN):
            raise ValueError(
                "`TerminateOnNaN` acts on the training loss, which epsilon does not "
                "cover. Leave it out: an example whose gradient is not finite "
                "contributes nothing."
            )
        if _monitors(callback):
            _check_monitor(model, callback, validated)


def _monitors(callback):
    """Whether a callback acts on what it monitors: a checkpoint may keep all."""
    watches = getattr(callback, "monitor", None) is not None
    return watches and getattr(callback, "save_best_only", True)


def _check_monitor(model, callback, validated):
    """Raises `ValueError` unless the monitored figure is covered or of validation."""
    monitor, name = str(callback.monitor), _described(callback)
    of_validation = monitor.startswith("val_")
    if monitor not in dp_callbacks.COVERED and not of_validation:
        raise ValueError(
            "A callback that acts on the training loss or metrics makes a choice that "
            "epsilon does not cover. Monitor 'val_...' of public validation data, or "
            "'private_loss' with mode='min' (`make_private(model, "
            f"private_metrics=True)`). Received: {name}"
        )
    if of_validation and not validated:
        warn(
            f"{name} monitors a figure that `validation_data=dp.Public(x_val, y_val)` "
            "or another callback must provide. Received: no validation data"
        )
    if monitor == "private_loss" and not model._private_options["private_metrics"]:
        raise ValueError(
            "There is no private loss to monitor. Ask for it by `make_private(model, "
            f"private_metrics=True)`. Received: {name}"
        )
    if not of_validation and getattr(callback, "mode", "min") == "auto":
        raise ValueError(
            "Keras cannot tell whether to minimise or maximise this figure. Expected "
            f"mode='min'. Received: {name}"
        )


def check_monitors(callbacks, exact):
    """Raises `ValueError` where a monitored figure is among the `exact` ones, too."""
    for callback in filter(_monitors, callbacks):
        if str(callback.monitor) in exact:
            raise ValueError(
                f"The monitored figure {callback.monitor!r} is computed on private "
                "batches too. Expected one of public validation data alone: rename the "
                f"metric, or its output. Received: {_described(callback)}"
            )


def _described(callback):
    return f"{type(callback).__name__}(monitor={callback.monitor!r})"


def that_choose(model, callbacks):
    """Class names of callbacks that may choose by exact figures; warns of them."""
    if not model._exact_figures:
        return []
    found = filter(dp_callbacks.can_choose, callbacks)
    names = sorted({type(callback).__name__ for callback in found})
    if names:
        warn(
            f"{', '.join(names)} can read exact training figures "
            f"({', '.join(model._exact_figures)}). Choices by them are not covered by "
            "epsilon, and the ledger and its statement say so. Choose by figures of "
            "`validation_data=dp.Public(x_val, y_val)`, by Keras' callbacks with "
            "monitor='val_...'; or by `private_loss`, with `make_private(model, "
            "private_metrics=True)`."
        )
    return names


def record_warnings(model, names):
    """Records a warning for each class of callbacks that may choose."""
    for name in names:
        model.privacy.ledger.add_warning(
            f"A callback of class {name} could read exact training figures "
            f"({', '.join(model._exact_figures)}): choices made by it, such as when to "
            "stop or which weights to keep, are not covered by epsilon."
        )
