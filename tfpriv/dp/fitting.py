"""What `fit` of a private model does around Keras' own."""

import contextlib
import dataclasses
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpriv.accounting.statement import AS_PUBLIC, COVERED
from tfpriv.dp import (
    callback_checks,
    feeding,
    keras_internals,
    preprocessing,
    private_loss,
    validate,
)
from tfpriv.dp import callbacks as dp_callbacks
from tfpriv.dp.optimizers import PrivateOptimizer
from tfpriv.dp.sampling import PoissonSampler, Sampler
from tfpriv.dp.sources import as_arrays, as_source, is_column
from tfpriv.support.outputs import check_holds_only
from tfpriv.support.warning import warn

_VALIDATION = (
    "its metrics would be shown exactly. If it is private, watch `private_loss` "
    "(`make_private(model, private_metrics=True)`); if it is public, say so: "
    "`validation_data=dp.Public(x_val, y_val)`."
)
_EVALUATED = (
    "During training `evaluate` was called on data that were not declared public by "
    "`dp.Public`: choices by its figures are not covered by epsilon."
)


class Public:
    """Declares data public: its exact metrics may be shown.

    Args:
        x: Inputs; or a tuple `(x, y)` or `(x, y, sample_weight)`, or a
            `tf.data.Dataset`, which hold all.
        y: Targets, or `None`.
        sample_weight: Weights, or `None`.
    """

    def __init__(self, x: Any, y: Any = None, sample_weight: Any = None) -> None:
        if y is None and sample_weight is None:
            self.data = (x,) if is_column(x) else x
        else:
            self.data = (x, y) if sample_weight is None else (x, y, sample_weight)


def fit(model, keras_fit, x, y, batch_size, epochs, **kwargs):
    """See `PrivateModel.fit`."""
    _check_fit(model, kwargs)
    sampler = _sampler_for(model, x, y, batch_size, kwargs)
    sampler = preprocessing.sampler_for(model, sampler)
    mechanism = mechanism_of(model, sampler)
    callbacks = keras.tree.flatten(kwargs.pop("callbacks", None) or [])
    validation_data = _public(kwargs.pop("validation_data", None))
    single = list(callback_checks.one_by_one(callbacks))
    callback_checks.check_before_trace(model, single, validation_data is not None)
    _warn_if_trained_on(validation_data, sampler)
    validation_data = preprocessing.validation_data_for(
        model, validation_data, kwargs.get("validation_batch_size") or batch_size
    )
    warn_of_small_batches(model.optimizer.planned_batches, sampler)
    model.privacy.check(mechanism)
    model._prepare(sampler.element_spec(), sampler.group_size)
    callback_checks.check_monitors(single, model._exact_figures)
    choosing = callback_checks.that_choose(model, single)
    own_noise = model.optimizer.noise_multiplier
    failures: list[BaseException] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(clean_after_failure(model, failures))
        stack.enter_context(model.privacy.training(_journal_path(single)))
        model.privacy.check(mechanism)  # again: a journal may have come in
        budget, ledger = model.optimizer.budget, model.privacy.ledger
        if budget is not None:
            budget.check(ledger, mechanism)
        model.optimizer.warn_of_large_delta(ledger, mechanism)
        callback_checks.record_warnings(model, choosing)
        watch = dp_callbacks.PrivacyLogger(model, sampler, mechanism, choosing)
        epochs_left = epochs - kwargs.get("initial_epoch", 0)
        dataset = feeding.make_dataset(
            sampler,
            lambda events=1: model.privacy.pay(mechanism, own_noise, count=events),
            model.privacy.randomness,
            steps=max(1, epochs_left * sampler.steps_per_epoch),
            strategy=model.distribute_strategy,
            failures=failures,
        )
        history = keras_fit(
            dataset,
            epochs=epochs,
            steps_per_epoch=sampler.steps_per_epoch,
            callbacks=[watch, *callbacks],
            shuffle=False,
            validation_data=validation_data,
            **kwargs,
        )
    history.not_covered_by_epsilon = watch.not_covered
    return history


def evaluate(model, keras_evaluate, x, y=None, sample_weight=None, **kwargs):
    """See `PrivateModel.evaluate`."""
    public = isinstance(x, Public)
    if public:
        if y is not None or sample_weight is not None:
            raise ValueError(
                "Public data brings its targets and weights: `dp.Public(x, y, "
                "sample_weight)`. Received: a `dp.Public` and others beside it"
            )
        x = x.data
        if isinstance(x, (tuple, list)):
            x, y, sample_weight = keras_internals.unpack_x_y_sample_weight(x)
    figures = keras_evaluate(x=x, y=y, sample_weight=sample_weight, **kwargs)
    of_fit = kwargs.get("_use_cached_eval_dataset")  # on data declared public there
    if public or of_fit:
        return figures
    if model.privacy.in_training:  # called by a callback
        model.privacy.ledger.add_warning(_EVALUATED)
    if kwargs["verbose"]:
        print(
            "Figures of evaluate are exact functions of its data: "
            f"{dp_callbacks.NOT_COVERED}. If these data are public, "
            "`evaluate(dp.Public(x, y))` says so."
        )
    return figures


def mechanism_of(model, sampler):
    """What one step costs, with what the user declares of the unit noted.

    Raises:
        ValueError: Where groups are drawn and the ledger has no word for one.
    """
    unit = model.privacy.unit
    if sampler.groups_units and unit == "example":
        raise ValueError(
            "The sampler draws groups; say what a group is, so that the statement "
            "can: `make_private(model, unit='person')`. Received: unit='example'"
        )
    mechanism = step_mechanism(model, sampler.mechanism)
    if sampler.groups_units or unit == "example":
        return mechanism
    note = f"each example is one whole {unit}, as declared"
    return dataclasses.replace(mechanism, notes=(*mechanism.notes, note))


# Arguments.


def _check_fit(model, kwargs):
    model._assert_compile_called("fit")
    _check_steps_per_execution(model.steps_per_execution)  # it may be set at any time
    strategy = model.distribute_strategy
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            "Keras 3 does not train with this strategy in `fit` (keras issue 20585). "
            "Use `dp.fit_on_workers`, or `tf.distribute.MirroredStrategy` on one "
            f"machine. Received: {type(strategy).__name__}"
        )
    if kwargs.pop("validation_split", 0.0):
        raise ValueError(
            "`validation_split` takes validation data from the private data: "
            f"{_VALIDATION} Received: validation_split"
        )
    if not kwargs.pop("shuffle", True):
        raise ValueError(
            "The order of batches is the sampler's, at random. For a data set as it "
            "comes use `dp.Stream`. Received: shuffle=False"
        )


def check_compile(model, optimizer, steps_per_execution, jit_compile):
    """Raises `ValueError` for what a private model cannot be compiled with."""
    wrapper = keras_internals.inner_optimizer_kind(optimizer)
    if wrapper is not None:
        raise ValueError(
            f"`{wrapper}` hides the gradients from the noise. Use a DP optimizer "
            "directly; for mixed precision give it `loss_scale_factor`. "
            f"Received: optimizer={optimizer}"
        )
    if not isinstance(optimizer, PrivateOptimizer):
        raise ValueError(
            "A private model needs an optimizer that adds noise. Expected one of "
            "`tfpriv.dp`, for instance `dp.DPAdam(1e-3, l2_norm_clip=1.0, "
            f"noise_multiplier=1.1)`. Received: optimizer={optimizer}"
        )
    _check_steps_per_execution(steps_per_execution)
    if jit_compile is True:
        raise ValueError(
            "Noise keys come from the operating system, which XLA cannot call. "
            "Expected jit_compile=False or 'auto'. Received: True"
        )
    strategy = model.distribute_strategy
    if isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy):
        raise ValueError(
            "Parameter servers apply parts of a batch as they come; private noise "
            "belongs to a whole one. Use `tf.distribute.MirroredStrategy`, or "
            "`MultiWorkerMirroredStrategy` with `dp.fit_on_workers`. "
            f"Received: {type(strategy).__name__}"
        )


def _check_steps_per_execution(steps):
    if steps != 1:
        raise ValueError(
            "Private steps are written into the ledger one at a time, and a budget "
            f"ends after any of them. Expected steps_per_execution=1. Received: {steps}"
        )


def check_own_batches(model):
    """Raises `ValueError` where `train_on_batch` would count a unit twice."""
    model._assert_compile_called("train_on_batch")
    model.privacy.check_not_in_training()
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "Under several replicas Keras gives the whole batch to each of them, so "
            "that every example would count more than once. Use `fit`. "
            f"Received: train_on_batch with {replicas} replicas"
        )


def _public(validation_data):
    if validation_data is None:
        return None
    if not isinstance(validation_data, Public):
        raise ValueError(
            f"Validation data is not declared public: {_VALIDATION} Received: "
            f"validation_data of type {type(validation_data).__name__}"
        )
    return validation_data.data


def _warn_if_trained_on(validation_data, sampler):
    """One array may be a view of the other: then "public" was said by mistake."""
    public, private = (
        [a for a in keras.tree.flatten(data) if isinstance(a, np.ndarray)]
        for data in (validation_data, sampler.arrays())
    )
    if any(_overlap(a, b) for a in public for b in private):
        warn(
            "The validation data that `dp.Public` declares public lies in the arrays "
            "that are trained on: its metrics are exact functions of private data. "
            "Validate on other, public data."
        )


def warn_of_small_batches(planned, sampler):
    """Noise that was calibrated for large batches drowns small ones."""
    if planned is None or not isinstance(sampler, PoissonSampler):
        return
    (batch_size, population), drawn = planned, sampler.expected_batch_size
    if sampler.sampling_probability >= 0.99 * batch_size / population:
        return
    advice = f"calibrate for population={sampler.population}"
    if drawn != batch_size:
        advice = (
            f"train with batch_size={batch_size}, or {advice}, batch_size={drawn:g}"
        )
    warn(
        f"The noise was calibrated for batches of {batch_size} of {population} units; "
        f"{drawn:g} of {sampler.population} are drawn. That is more noise than the "
        f"budget's epsilon needs: {advice}."
    )


def _overlap(a, b):
    try:
        return np.shares_memory(a, b, max_work=1000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # interleaved in a way that is not understood
        return False


def _sampler_for(model, x, y, batch_size, kwargs):
    names = "sample_weight", "class_weight", "steps_per_epoch"
    more = [kwargs.pop(name, None) for name in names]
    if isinstance(x, Sampler):
        given = zip(("y", "batch_size", *names), (y, batch_size, *more), strict=True)
        if twice := [name for name, value in given if value is not None]:
            raise ValueError(f"A sampler brings {twice} itself; give them to it.")
        return x
    sample_weight, class_weight, steps_per_epoch = more
    _check_arrays(x)
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError(
                "`sample_weight` and `class_weight` cannot be given together."
            )
        sample_weight = weights_of_classes(model, y, class_weight)
    data = (x, y, sample_weight)
    if batch_size is None:
        batch_size = min(32, len(as_source(data)))
    return PoissonSampler(data, batch_size, steps_per_epoch=steps_per_epoch)


def _check_arrays(x):
    """Raises `ValueError` for data that `fit` cannot draw examples from."""
    if isinstance(x, tf.data.Dataset):
        advice = (
            "Pass `dp.PoissonSampler.from_dataset(dataset.unbatch(), batch_size)`, or, "
            "without amplification, `dp.Stream(dataset, max_occurrences=1, "
            "max_participations_per_pass=1)`."
        )
    elif isinstance(x, keras.utils.PyDataset):
        advice = "One of single examples is sampled by `dp.PoissonSampler(dataset, n)`."
    elif keras.tree.is_nested(x) or hasattr(x, "shape") or hasattr(x, "__array__"):
        return
    elif hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        advice = "Items are sampled by `dp.PoissonSampler(data, batch_size, load=...)`."
    elif hasattr(x, "__iter__"):
        advice = (
            "Pass `dp.Stream(tf.data.Dataset.from_generator(...), max_occurrences=1)`, "
            "or `dp.PoissonSampler(loader.dataset, batch_size)` of a `torch` loader."
        )
    else:
        return
    raise ValueError(
        "`fit` draws each batch at random, and needs access to single examples, as in "
        f"arrays, not batches that are already made. {advice} "
        f"Received: x of type {type(x).__name__}"
    )


def weights_of_classes(model, y, class_weight):
    """The weight of each example by its class; warns where clipping undoes them.

    Class weights are public numbers, chosen by the user.
    """
    y = as_arrays(y)
    if y is None or keras.tree.is_nested(y):
        raise ValueError(
            "`class_weight` is only supported for models with a single output. Use "
            f"`sample_weight`. Received: y of type {type(y).__name__}"
        )
    automatic = model.optimizer.clipping.name == "automatic"
    if automatic or max(class_weight.values(), default=0) > 1:
        warn(
            "Clipping undoes class weights where the weighted gradient is longer than "
            "`l2_norm_clip` (with clipping='automatic', nearly everywhere). Use smaller"
            " ones in proportion, or a larger bound. Weights that were computed from "
            "private labels are not covered by epsilon."
        )
    return keras_internals.class_weight_to_sample_weights(y, class_weight)


def _journal_path(callbacks):
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            folder = pathlib.Path(callback.backup_dir)
            # Keras' own callback removes the folder in the end, whatever is in it.
            check_holds_only(folder, dp_callbacks.BACKUP_FILES)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # what is needed to resume is private
            return folder / dp_callbacks.JOURNAL_NAME
    return None


@contextlib.contextmanager
def clean_after_failure(model, failures=()):
    """A step whose first trace failed is built anew next time.

    `failures` is what Python code under TensorFlow raised, of which TensorFlow passes
    on no more than the text.
    """
    try:
        yield
    except BaseException as error:
        model.train_function = None
        if failures and isinstance(error, tf.errors.OpError):
            raise failures[0] from None
        raise
    finally:
        keras_internals.forget_resumed_epoch(model)


# What training shows.


def build_metrics(model, spec):
    """Creates the variables of metrics and optimizer; returns what training shows.

    Raises:
        ValueError: If one of these has the name of a figure that epsilon covers.
    """
    keras_internals.build_metrics(model, spec)
    names = tuple(model.get_metrics_result())
    if taken := sorted({*dp_callbacks.COVERED} & {*names}):
        raise ValueError(
            f"The logs of private training have entries {dp_callbacks.COVERED}, which "
            "epsilon covers. Expected other names for metrics (and for outputs, whose "
            f"names begin those of their losses). Received: {taken}"
        )
    return names


def update_metrics(model, chunk, y_pred):
    """Feeds Keras' metrics with the examples that are really there."""
    names = ("x", "y", "sample_weight")
    x, y, sample_weight, y_pred = tf.nest.map_structure(
        lambda t: None if t is None else tf.boolean_mask(t, chunk.example_mask),
        (*(chunk.data.get(name) for name in names), y_pred),
    )
    compiled = keras_internals.compiled_loss(model)
    if compiled is not None and compiled.metrics:
        compiled(y, y_pred, sample_weight)
    model.compute_metrics(x, y, y_pred, sample_weight)


def update_loss_tracker(model, losses):
    """Mean of the losses that are finite."""
    finite = tf.math.is_finite(losses)
    weights = tf.cast(finite, losses.dtype)
    safe = tf.where(finite, losses, tf.zeros_like(losses))
    keras_internals.loss_tracker(model).update_state(safe, sample_weight=weights)


def step_mechanism(model, sampler):
    """What one step costs, all that it releases included; `sampler` as for `Style`."""
    step = model.optimizer.clipping.mechanism(sampler, step_noise_multiplier(model))
    notes = [*step.notes]
    if layers := validate.layers_with_statistics(model):
        notes.append(f"what `adapt` left in {', '.join(layers)} is {AS_PUBLIC}")
    if model._private_options["private_metrics"]:
        notes.append(COVERED)
    return dataclasses.replace(step, notes=tuple(notes))


def step_noise_multiplier(model):
    """The noise on gradients and private loss as the accountant sees it."""
    z = model.optimizer.noise_multiplier
    if not model._private_options["private_metrics"]:
        return z
    return private_loss.joint_noise_multiplier(z)
