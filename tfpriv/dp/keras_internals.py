"""Every private name of Keras and KerasHub that `tfpriv.dp` leans on, in one place.

`tests/dp/test_keras_internals.py` fails when a Keras release moves one of them.
"""

import contextlib
import dataclasses
import functools
import itertools
import sys
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.layers.preprocessing.index_lookup import IndexLookup
from keras.src.losses import loss as loss_module
from keras.src.models import cloning
from keras.src.models.functional import Functional
from keras.src.random import seed_generator as seed_module
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.trainers.data_adapters import data_adapter_utils

unpack_x_y_sample_weight = data_adapter_utils.unpack_x_y_sample_weight
class_weight_to_sample_weights = data_adapter_utils.class_weight_to_sample_weights


def _pipeline_classes():
    """KerasHub's class of models with a preprocessor.

    No class while nothing has imported KerasHub, which takes a second: then no model
    is of it.
    """
    module = sys.modules.get("keras_hub.src.utils.pipeline_model")
    return () if module is None else (module.PipelineModel,)


def is_pipeline(model):
    """Whether a model is a KerasHub task, which may have a preprocessor."""
    return isinstance(model, _pipeline_classes())


def past_preprocessing(model, parent):
    """Keras' own `fit` and `train_on_batch`; `parent` is `super()` in a method.

    Those of KerasHub's tasks preprocess what they are given, and read ahead.
    """
    for pipeline in _pipeline_classes():
        if isinstance(model, pipeline):
            return super(pipeline, model)
    return parent


def flatten_layers(model):
    """The model and every layer below it, each once."""
    return list(model._flatten_layers())


def is_plain_graph(layer):
    """Whether it is a Sequential or Functional model and no subclass of these."""
    return type(layer) in (keras.Sequential, Functional)


@contextlib.contextmanager
def constructed_by(layer_class, make):
    """Inside, `layer_class(...)`, or that of a subclass, returns `make(...)`."""
    before = vars(layer_class).get("__new__")
    layer_class.__new__ = staticmethod(lambda cls, *a, **kwargs: make(*a, **kwargs))
    try:
        yield
    finally:
        del layer_class.__new__
        if before is not None:
            layer_class.__new__ = before


def own_variables(layer):
    """A layer's weights, without those of the layers below it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def loss_tracker(model):
    """The `Mean` metric behind the `loss` entry of the logs."""
    return model._loss_tracker


def compiled_loss(model):
    """The `CompileLoss` made by `compile`, or `None`."""
    return model._compile_loss


def total_loss(model, compile_loss, batch, y_pred, regularised=True):
    """The scalar that Keras would minimise for a batch (dict of x, y, ...).

    Args:
        compile_loss: `CompileLoss` in place of the model's own.
        regularised: Whether weight regularisers are part of it.
    """
    own = {} if regularised else {"_get_regularization_losses": list}
    # Keras divides means, not sums, by the number of replicas; what one example
    # contributes must depend on neither, nor on how many devices share the work.
    whole = instead_of(loss_module, scale_loss_for_distribution=lambda loss: loss)
    with whole, instead_of(model, _compile_loss=compile_loss, **own):
        loss = model._compute_loss(
            x=batch["x"],
            y=batch.get("y"),
            y_pred=y_pred,
            sample_weight=batch.get("sample_weight"),
            training=True,
        )
    return tf.reduce_sum(loss)  # reduction=None gives a vector; Keras sums it too


def build(model, spec):
    """Creates the weights of a model, and of its layers, without running it.

    `spec` is a dict with the nested `tf.TensorSpec` of one example in `x`.
    """
    if all(layer.built for layer in flatten_layers(model)):
        return
    keras.src.backend.compute_output_spec(
        lambda x: call_model(model, x, training=False), symbolic_batch(spec)["x"]
    )


def build_metrics(model, spec):
    """Creates the variables of a compiled model, its metrics' and its optimizer's."""
    batch = symbolic_batch(spec)
    parts = tuple(batch.get(name) for name in ("x", "y", "sample_weight"))
    keras.Model._symbolic_build(model, data_batch=parts)


def symbolic_batch(spec):
    """`KerasTensor`s of a few examples, for Keras' symbolic calls."""

    def symbolic(one):  # 4 examples, and as much of axes that are as long as the data
        shape = [4, *(4 if d is None else d for d in one.shape)]
        return keras.KerasTensor(shape, one.dtype.name)

    return keras.tree.map_structure(symbolic, spec)


def call_model(model, x, training):
    """`model(x)`, with `training` where the model takes it."""
    if model._call_has_training_arg:
        return model(x, training=training)
    return model(x)


class _UntrackedCompileLoss(CompileLoss):
    """A compiled loss that updates no per-output metric.

    Keras' own assigns to `Mean` metrics while it computes; inside a map over
    examples an assignment has no meaning.
    """

    @property
    def metrics(self):
        return [None] * len(self._flat_losses or [None])


def quiet_copy(loss):
    """A `CompileLoss` over the same losses that tracks nothing; `None` for `None`."""
    weights = loss and loss._user_loss_weights
    names = loss and loss.output_names
    return loss and _UntrackedCompileLoss(loss._user_loss, weights, output_names=names)


def wrap_loss(loss, model):
    """A quiet `CompileLoss` for a loss given by name, instance or structure."""
    names = getattr(model, "output_names", None)
    return _UntrackedCompileLoss(loss, None, output_names=names)


def seed_generators(model):
    """The seed generators of all layers (dropout and its like)."""
    generators: list = []
    for layer in flatten_layers(model):
        generators.extend(getattr(layer, "_seed_generators", []))
    return list({id(g): g for g in generators}.values())


class _SeedsOfExample:
    """Stands in for a `SeedGenerator`: each call adds one to the second word."""

    def __init__(self, seed):
        self._seed, self._calls = tf.cast(seed, tf.int32), itertools.count()

    def next(self, ordered=True):
        del ordered
        return self._seed + tf.constant([0, next(self._calls)])


@contextlib.contextmanager
def seeds_of_example(generators, seeds):
    """Inside, all of `keras.random` draws from the seeds of one example.

    Layers such as `Dropout` draw their mask from a counter that they advance by
    assignment. In a map over examples that gives every example the same mask.

    Args:
        generators: List of `keras.random.SeedGenerator`, those of a model's layers.
        seeds: List of integer tensors `(2,)`: one for each generator and, last, one
            for draws without a seed, which Keras takes from a global generator.
    """
    *own, without_seed = map(_SeedsOfExample, seeds)
    for generator, stand_in in zip(generators, own, strict=True):
        generator.next = stand_in.next
    name = seed_module.GLOBAL_SEED_GENERATOR  # of this thread, for draws without a seed
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, without_seed)
    try:
        yield
    finally:
        global_state.set_global_attribute(name, before)
        for generator in generators:
            del generator.next


class AlreadyReduced:
    """Mixin for optimizers whose gradients are the same on all replicas.

    Keras adds up the replicas' gradients last, after `clipnorm` and its like have acted
    on each replica's part; here the parts were added first.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)


def variables_of(optimizer):
    """The variables that an optimizer was built for; none before."""
    return list(optimizer._trainable_variables)


def after_cloning_sequential(finish):
    """Makes `keras.models.clone_model` call `finish(model, clone)` for `Sequential`.

    Keras gives every such clone the class `Sequential`, whatever the model's class is.
    """
    clone_sequential = cloning._clone_sequential_model

    @functools.wraps(clone_sequential)
    def cloned(model, *args, **kwargs):
        clone = clone_sequential(model, *args, **kwargs)
        finish(model, clone)
        return clone

    cloning._clone_sequential_model = cloned


def may_be_adapted(layer):
    """Whether a layer that has `adapt` may hold what that took from data.

    Not if its constants were given when it was made, nor before `adapt`. Statistics
    that were loaded from a file are taken for those of `adapt`.
    """
    if isinstance(layer, keras.layers.Normalization):
        if layer.input_mean is not None or not layer.built:
            return False
        start = ((layer.adapt_mean, 0), (layer.adapt_variance, 1))
        with tf.init_scope():  # values, where a function is being traced too
            return any(bool(tf.reduce_any(v.value != at)) for v, at in start)
    if isinstance(layer, keras.layers.Discretization):
        return layer.num_bins is not None and layer.bin_boundaries is not None
    if isinstance(layer, keras.layers.TextVectorization):
        return may_be_adapted(layer._lookup_layer)
    if isinstance(layer, IndexLookup):
        with tf.init_scope():
            filled = int(layer.lookup_table.size()) > 0
        return filled and not layer._has_input_vocabulary
    if isinstance(layer, keras.utils.FeatureSpace):
        return any(map(may_be_adapted, layer.preprocessors.values()))
    return True


def inner_optimizer_kind(optimizer):
    """'LossScaleOptimizer' or 'MultiOptimizer' for Keras' wrappers, else `None`."""
    for name in ("LossScaleOptimizer", "MultiOptimizer"):
        if isinstance(optimizer, getattr(keras.optimizers, name, ())):
            return name
    return None


def unpickle_model(buffer):
    """The model in the buffer that `Model.__reduce__` wrote."""
    return keras.Model._unpickle_model(buffer)


def forget_resumed_epoch(model):
    """After `fit`: the epoch a backup was resumed from is not the next run's."""
    model._initial_epoch = None


@contextlib.contextmanager
def instead_of(owner, **values):
    """Inside, one object's attributes have these values, unseen by Keras' tracking."""
    attributes = vars(owner)
    before = {name: attributes[name] for name in values if name in attributes}
    attributes.update(values)
    try:
        yield
    finally:
        for name in values:
            del attributes[name]
        attributes.update(before)


@dataclasses.dataclass(frozen=True)
class Output:
    """A model's output, with what Keras' losses look for beside its values.

    Cross-entropies go back to the logits of a softmax or sigmoid where these are at
    hand, and leave out masked entries. Rows of an output must bring both along.
    """

    value: Any
    logits: Any  # tensor or `None`, and so is the mask
    mask: Any
    # Makes the value of the logits, where Keras knows of these from the graph alone:
    # only the loss that fits then goes back to them.
    remade: Any = None

    @classmethod
    def of(cls, output):
        """Looks at an output of a model."""
        logits, remade = getattr(output, "_keras_logits", None), None
        if logits is None and not tf.executing_eagerly():
            remade = _OF_LOGITS.get(output.op.type)
            logits = None if remade is None else output.op.inputs[0]
        return cls(output, logits, get_keras_mask(output), remade)

    @property
    def tensors(self):
        """Dict of the parts that are there."""
        parts = {"value": self.value, "logits": self.logits, "mask": self.mask}
        return {name: part for name, part in parts.items() if part is not None}

    def replaced(self, tensors):
        """Of other `tensors`: the value, with the rest where Keras looks for it."""
        value, logits = tensors["value"], tensors.get("logits")
        if self.remade is not None:
            value = self.remade(logits)
        elif logits is not None:
            value._keras_logits = logits
        if "mask" in tensors:
            set_keras_mask(value, tensors["mask"])
        return value


_OF_LOGITS = {"Softmax": tf.nn.softmax, "Sigmoid": tf.sigmoid}
