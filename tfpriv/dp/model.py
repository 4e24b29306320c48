"""`make_private`: any Keras model, trained by DP-SGD through `fit`."""

import functools
import inspect
import json
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpriv.accounting import mechanisms
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.ledger import Ledger
from tfpriv.dp import (
    clipping,
    exporting,
    feeding,
    fitting,
    keras_internals,
    preprocessing,
    private_loss,
    provenance,
    validate,
)
from tfpriv.dp.budget import Budget
from tfpriv.dp.clipping import tags
from tfpriv.dp.clipping.microbatches import sum_over_chunks, units_present
from tfpriv.dp.mixed_classes import MixedIn, mixed_class
from tfpriv.dp.privacy import Privacy
from tfpriv.support.warning import warn

STARTED_FROM = "What the model had learned before is treated as public."
_TRAINED_BEFORE = (
    "This model was trained before, by steps that its ledger does not know of, and "
    "what it learned is treated as public. If that used private data, no epsilon "
    "holds: start from other weights, or record it, `model.privacy.record("
    "dp.mechanisms.non_private('...'), purpose='earlier training')`."
)
LEDGER_KEY = "privacy_ledger"
PRIVATE_KEY = "privacy_ledger_speaks_for"  # one byte for each variable


def make_private(
    model: Any,
    unit: str = "example",
    *,
    max_occurrences: int | None = None,
    max_participations: int | None = None,
    private_metrics: bool = False,
    engine: str = "auto",
    microbatch_size: int | None = None,
    seed: int | None = None,
) -> Any:
    """Turns a Keras model, in place, into one that trains with differential privacy.

    Compile it with an optimizer of `tfpriv.dp` and call `fit` as ever; batches are
    then Poisson-sampled, gradients clipped per example, and `model.privacy` knows
    the epsilon. To load a saved private model, `import tfpriv.dp` first.

    Args:
        model: `keras.Model`: Sequential, Functional or subclassed.
        unit: What one neighbour more or less means, in a word: `"example"`, or, for
            samplers that draw groups, what a group is (`"person"`).
        max_occurrences: For `train_on_batch` and batches of your own: how often one
            unit can be in one batch. Undeclared, such a step makes epsilon infinite.
        max_participations: For the same: in how many batches, in all, one unit can be.
            Undeclared, a unit is charged in every batch.
        private_metrics: If `True`, `fit` shows `private_loss`, a noised loss that
            epsilon covers, in place of the exact loss and metrics.
        engine: Clipping engine. `"auto"` takes the fastest that is exact for this
            model; `"ghost"` insists on the fast one; `"vectorized"` is the reference.
        microbatch_size: Examples differentiated together, at most 256; `None` fits
            memory.
        seed: Integer for tests; marks the ledger as not for release.

    Returns:
        The same object, now also a `PrivateModel`. What it has learned before is taken
        as public; a model that is private already keeps its ledger.

    Raises:
        TypeError: If it is not a Keras 3 model.
        ValueError: If the model overrides `train_step`, or has layers for which no
            bound per example holds.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`make_private` takes a Keras 3 model (`keras.Model`); models of "
            "`tf_keras` (TF_USE_LEGACY_KERAS=1) are not supported. "
            f"Received: {type(model).__module__}.{type(model).__name__}"
        )
    clipping.check_engine(engine)
    options = {
        "unit": unit,
        "max_occurrences": max_occurrences,
        "max_participations": max_participations,
        "private_metrics": bool(private_metrics),
        "engine": engine,
        "microbatch_size": microbatch_size,
    }
    if not isinstance(model, PrivateModel):
        if type(model).train_step is not keras.Model.train_step:
            raise ValueError(
                "This model has a `train_step` of its own, which DP training cannot "
                "look into. Write its loop with `tfpriv.dp.clipped_gradients` and DP "
                "optimizers; docs/dp.md has an example with two optimizers. "
                f"Received: {type(model).__name__}.train_step"
            )
        validate.check_layers(model)
        plain_class: Any = type(model)
        was_trained = provenance.was_trained(model)
        model.__class__ = _private_class(plain_class, **options)
        model.compiled = False  # whatever it was compiled with added no noise
        if model.built:
            model.privacy.provenance.receive(model.weights)
        if was_trained:
            warn(_TRAINED_BEFORE)
            model.privacy.ledger.add_warning(STARTED_FROM)
    model.privacy.declare(unit, max_occurrences, seed, max_participations)
    model.__class__ = _private_class(model.plain_class, **options)
    model._forget_plan()
    return model


# Registered here so that a process which has made no model private can load one.
@keras.saving.register_keras_serializable("tfpriv", "PrivateModel")
class PrivateModel(MixedIn):
    """What `make_private` mixes into a model's class.

    The class holds the options, so that every object of it is a private model: a clone
    that Keras makes by calling the class, too.
    """

    _private_options: dict[str, Any]
    _private_plan: Any = None
    _private_spec: Any = None
    _private_loss: Any = None
    _exact_figures: tuple[str, ...] = ()  # what training shows of private batches
    _exports = False  # whether `export` is writing the ledger beside a SavedModel
    _is_loading = False  # by its own `load_weights`

    @property
    def privacy(self):
        """The `tfpriv.dp.Privacy` of this model: its ledger, epsilon and statement."""
        attributes, options = vars(self), self._private_options  # past Keras' tracking
        if "_privacy" not in attributes:
            attributes["_privacy"] = Privacy(
                options["unit"],
                options["max_occurrences"],
                max_participations=options["max_participations"],
                model=self,
            )
        return attributes["_privacy"]

    # Compiling: everything that can be refused is refused here, before any trace.

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """As in Keras, with a DP optimizer.

        `auto_scale_loss` is not followed: set `loss_scale_factor` on the optimizer.

        Raises:
            ValueError: If the optimizer is not one of `tfpriv.dp`, or an argument
                has no meaning that keeps the guarantee.
        """
        del auto_scale_loss
        names = ("loss", "loss_weights", "metrics", "weighted_metrics")
        given = zip(names, (loss, loss_weights, metrics, weighted_metrics), strict=True)
        # A KerasHub task has defaults of its own for what is not given.
        kwargs |= {name: value for name, value in given if value is not None}
        optimizer = keras.optimizers.get(optimizer)
        fitting.check_compile(self, optimizer, steps_per_execution, jit_compile)
        validate.check_layers(self)
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=1,
            jit_compile=False,
            auto_scale_loss=False,
            **kwargs,
        )
        optimizer.track(self.privacy)
        self._forget_plan()

    def _assert_compile_called(self, method_name=None):
        if not self.compiled:
            raise ValueError(
                "Compile the private model with a DP optimizer first, for instance "
                "`dp.DPAdam(1e-3, l2_norm_clip=1.0, noise_multiplier=1.1)`; that of a "
                "`compile` before `make_private` adds no noise. "
                f"Received: a call of `{method_name}`"
            )

    def _forget_plan(self):
        self._private_plan = None
        self._private_spec = None
        self._private_loss = None
        self._exact_figures = ()

    def _prepare(self, spec, group_size=None):
        """Traces the step for data of this shape, once per `compile`."""
        validate.check_numbers(spec)
        validate.check_layers(self)  # one may have been unfrozen since
        key = self._key_of(spec, group_size)
        if self._private_plan is not None and self._private_spec == key:
            return
        options, strategy = self._private_options, self.distribute_strategy
        objective = clipping.Objective(
            self,
            keras_internals.quiet_copy(keras_internals.compiled_loss(self)),
            loss_scale=self.optimizer.loss_scale_factor or 1.0,
            randomness=self.privacy.randomness,
        )
        plan = clipping.make_plan(
            objective,
            spec,
            self.optimizer.clipping,
            options["engine"],
            options["microbatch_size"],
            group_size,
            strategy,
        )
        with strategy.scope():
            names = fitting.build_metrics(self, spec)
            # Past Keras' tracking: it is no metric of `evaluate`.
            vars(self)["_private_loss"] = private_loss.metric(self)
        self._exact_figures = () if options["private_metrics"] else names
        self.train_function = None
        self._private_plan = plan
        self._private_spec = self._key_of(spec, group_size)  # weights may be new

    def _key_of(self, spec, group_size):
        """What a plan was made for: shapes of data, and which weights are trained."""
        return repr((spec, group_size, [v.path for v in self.trainable_variables]))

    def _symbolic_build(self, iterator=None, data_batch=None):
        """Nothing to do: `_prepare` has built everything, without private data."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """As above; Keras' own would draw a batch that is then thrown away."""
        if self._private_plan is None:  # evaluate or predict before any training
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    # Training.

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains privately; arguments as in Keras.

        Args:
            x: Arrays, or nested lists, tuples and dicts of arrays (Poisson-sampled
                with expected size `batch_size`), or a sampler of `tfpriv.dp`. Texts
                and images of a KerasHub task go through its preprocessor.
            y: As in Keras, for arrays.
            batch_size: Expected number of units in a batch; by default 32, or all
                where they are fewer.
            epochs: As in Keras.
            **kwargs: As in Keras, but for `validation_data`, which is
                `tfpriv.dp.Public(x_val, y_val)`: its metrics are shown as they are,
                so that it must be declared public.

        Returns:
            Keras' `History`, with `epsilon` among its keys and an attribute
            `not_covered_by_epsilon` that names the exact functions of private data.

        Raises:
            ValueError: For arguments that would break the guarantee, and when the
                budget is spent already.
        """
        keras_fit = keras_internals.past_preprocessing(self, super()).fit
        return fitting.fit(self, keras_fit, x, y, batch_size, epochs, **kwargs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As in Keras. What it returns is an exact function of the data.

        `x` may be a `tfpriv.dp.Public`, for data that may be shown: only of other data
        a line says that epsilon does not cover the figures.
        """
        kwargs |= {"batch_size": batch_size, "verbose": verbose}
        return fitting.evaluate(self, super().evaluate, x, y, sample_weight, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One private step on a batch of your own, without amplification.

        The batch size is a public constant. See `max_occurrences` in `make_private`.
        """
        fitting.check_own_batches(self)
        if class_weight is not None:
            sample_weight = fitting.weights_of_classes(self, y, class_weight)
        parts = preprocessing.batch_for(self, x, y, sample_weight)
        batch = clipping.as_batch(*parts)
        self._prepare(clipping.spec_of(batch))
        with fitting.clean_after_failure(self):
            ticket = self.privacy.pay_user_batch(
                functools.partial(fitting.step_mechanism, self),
                self.optimizer.noise_multiplier,
                self.optimizer.budget,
            )
            fed = feeding.own_batch(batch, ticket)
            keras_step = keras_internals.past_preprocessing(self, super())
            return keras_step.train_on_batch(fed, return_dict=return_dict)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of DP-SGD on a logical batch: clip, sum, add noise, update."""
        batch, ticket, divisor = _read(data)
        private = self._private_options["private_metrics"]
        if private and ticket is None:
            raise ValueError(
                "A private loss is paid for in `fit` and `train_on_batch`. Expected "
                "`private_metrics=False` for a loop of your own. Received: a call of "
                "`train_step` itself"
            )
        optimizer = self.optimizer
        style, bound = optimizer.clipping, optimizer.current_l2_norm_clip
        # Exact functions of private data.
        show = None if private else functools.partial(fitting.update_metrics, self)
        sums, norms, losses = sum_over_chunks(self._private_plan, batch, bound, show)
        indicators = style.indicators(norms, units_present(batch), bound)
        proof = tags.ClippedSum(bound, divisor, ticket, style.name, indicators)
        tags.mark(sums, proof)
        optimizer.apply(sums, self.trainable_variables)
        if private:
            return private_loss.update(self, losses, batch, divisor)
        fitting.update_loss_tracker(self, losses)
        return self.get_metrics_result()

    # Saving: weights, optimizer and ledger travel together, randomness never.

    def get_config(self):
        budget = self.privacy.budget
        statement = self.privacy.statement(format="json", accountant="rdp")
        return {
            "model": self.plain_config(),
            "privacy": self._private_options,
            "privacy_budget": budget and budget.serialized(),
            "privacy_statement": statement,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        make_private(model, **config["privacy"])
        model.privacy.budget = Budget.of(config.get("privacy_budget"))
        statement = json.loads(config["privacy_statement"])
        if statement["steps"]:
            model.privacy.provenance.needs_ledger_of = statement["weights_digest"]
        return model

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As in Keras, whose own gives up on models with a `compile` of their own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        ledger = self.privacy.ledger_to_save()
        store[LEDGER_KEY] = np.frombuffer(ledger.to_bytes(), dtype=np.uint8)
        store[PRIVATE_KEY] = self.privacy.provenance.which_are_private()

    def save_assets(self, dir_path: str) -> None:
        """Puts the ledger where it can be read without Keras, for `tfpriv budget`."""
        ledger = self.privacy.ledger_to_save()
        ledger.save(pathlib.Path(dir_path) / exporting.LEDGER_NAME)

    def load_assets(self, dir_path: str) -> None:
        """Does nothing: the ledger that counts is stored with the weights."""

    def load_own_variables(self, store: Any) -> None:
        # The ledger first: a failure below, or in a layer, loads weights in part.
        try:
            if LEDGER_KEY in store.keys():
                ledger = Ledger.from_bytes(bytes(np.asarray(store[LEDGER_KEY])))
                private = store[PRIVATE_KEY] if PRIVATE_KEY in store.keys() else None
                self.privacy.load(ledger, private)
        except LedgerError as error:
            if self._is_loading:
                raise _Refusal from error
            damage = mechanisms.non_private("weights whose ledger cannot be read")
            self.privacy.record(damage, "lost ledger")
            raise
        own = (LEDGER_KEY, PRIVATE_KEY)
        super().load_own_variables({k: store[k] for k in store.keys() if k not in own})

    def load_weights(
        self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any
    ) -> None:
        """As in Keras; the ledger in the file is added to the model's.

        What was spent before stays in it: loading an older file refunds nothing.

        Raises:
            tfpriv.accounting.LedgerError: If the ledger in the file is damaged, or
                does not compose with the model's. No weight has changed then.
        """
        try:
            with keras_internals.instead_of(self, _is_loading=True):
                super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        except _Refusal as refusal:
            raise refusal.__cause__ from None

    def get_weights(self) -> list[Any]:
        """As in Keras; `set_weights` of a private model recognises the copies."""
        weights = super().get_weights()
        self.privacy.provenance.hand_out(weights)
        return weights

    def set_weights(self, weights: list[Any]) -> None:
        """As in Keras; weights of another private model bring its ledger.

        Raises:
            tfpriv.accounting.LedgerError: If that ledger does not compose with the
                model's. No weight has changed then.
        """
        digest = self.privacy.provenance.receive(weights)
        super().set_weights(weights)
        if digest is not None:
            self.privacy.bind_weights()

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """As in Keras, to a `.keras` file, which is replaced whole or not at all."""
        exporting.save(super().save, filepath, overwrite, **kwargs)

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        """As in Keras; a SavedModel that `export` does not write gets the ledger too.

        That is one of `tf.saved_model.save`, or of an `ExportArchive`.
        """
        children = super()._trackable_children(save_type, **kwargs)
        if save_type == "savedmodel" and not self._exports:
            privacy = self.privacy
            privacy.check_weights()
            children["privacy_ledger"] = exporting.LedgerAssets(
                privacy.ledger_to_save(), privacy.delta, privacy.accountant
            )
        return children

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As in the model's own class; ledger and statement lie beside the SavedModel.

        Args:
            filepath: Folder or file to write.
            *args: As in the model's own class.
            **kwargs: As in the model's own class; in Keras `format`, `verbose` and
                `input_signature`.
        """
        privacy, plain_export = self.privacy, super().export
        privacy.check_weights()
        ledger = privacy.ledger_to_save()
        call = inspect.signature(plain_export).bind(filepath, *args, **kwargs)
        verbose = call.arguments.get("verbose")

        def export_to(path):
            # Keras' own message would name a folder that is moved away.
            call.arguments.update(filepath=path, verbose=False)
            plain_export(*call.args, **call.kwargs)

        with keras_internals.instead_of(self, _exports=True):
            place = exporting.export(
                export_to, ledger, privacy.delta, filepath, privacy.accountant
            )
        if verbose is None or verbose:
            print(f"Exported to {filepath}; its privacy ledger is {place}")


def _read(data):
    """Batch, ticket and public divisor; no ticket where the user made the batch.

    The divisor is then the size of this replica's part, which a DP optimizer adds up.
    """
    if isinstance(data, tuple) and feeding.is_fed(data[0]):  # `train_on_batch`
        data = data[0]
    if feeding.is_fed(data):
        return data[feeding.BATCH], data[feeding.TICKET], data[feeding.DIVISOR]
    batch = clipping.as_batch(*keras_internals.unpack_x_y_sample_weight(data))
    return batch, None, tf.shape(tf.nest.flatten(batch["x"])[0])[0]


class _Refusal(BaseException):
    """Ends `load_weights` before a layer is loaded: Keras goes on after `Exception`."""


@functools.cache
def _private_class(plain_class, **options):
    """The subclass of a model class that trains privately, with these options."""
    return mixed_class(PrivateModel, plain_class, "Private", _private_options=options)


def _make_clone_private(model, clone):
    if isinstance(model, PrivateModel):
        make_private(clone, **model._private_options)
        if model.compiled:
            clone.compile_from_config(model.get_compile_config())


keras_internals.after_cloning_sequential(_make_clone_private)
