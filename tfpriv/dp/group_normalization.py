"""GroupNormalization wherever Keras code makes BatchNormalization."""

import contextlib
import functools
import inspect
from typing import Any

import keras

from tfpriv.dp import keras_internals
from tfpriv.dp.mixed_classes import MixedIn, mixed_class


def of_batchnorm(layer, groups):
    """A `keras.layers.GroupNormalization` in place of a built BatchNormalization."""
    config = {k: v for k, v in layer.get_config().items() if k in _OPTIONS}
    channels = layer.moving_mean.shape[0]
    config["groups"] = _number_of_groups(channels, layer.input_spec.ndim, groups)
    return keras.layers.GroupNormalization.from_config(config)


def _number_of_groups(channels, rank, most):
    most = 1 if rank == 2 else max(1, min(most, channels // 2))
    return max(g for g in range(1, most + 1) if channels % g == 0)


@keras.saving.register_keras_serializable("tfpriv")
class GroupNormalization(keras.layers.GroupNormalization):
    """`keras.layers.GroupNormalization`, built and called like BatchNormalization.

    Args:
        groups: Largest number of groups. When the layer is built, it becomes the
            largest divisor of the number of channels that is not larger and leaves
            two channels in a group; 1 for inputs `(batch, channels)`.
        **kwargs: As in `keras.layers.GroupNormalization`.
    """

    groups: int

    def build(self, input_shape):
        channels = input_shape[self.axis] or 1  # Keras refuses an unknown number
        self.groups = _number_of_groups(channels, len(input_shape), self.groups)
        super().build(input_shape)

    def call(self, inputs, training=None, mask=None):
        """Normalises each example alone; `training` and `mask` change nothing."""
        del training, mask
        return super().call(inputs)


_BATCHNORM = inspect.signature(keras.layers.BatchNormalization.__init__)
_GROUPNORM = inspect.signature(keras.layers.GroupNormalization.__init__)
_OPTIONS = _GROUPNORM.parameters.keys() - {"self"} | {"name", "trainable", "dtype"}


@contextlib.contextmanager
def replacing_batchnorm(groups):
    """Inside, `BatchNormalization(...)` makes a `GroupNormalization`."""

    def make(*args, **kwargs):
        given = _BATCHNORM.bind(None, *args, **kwargs).arguments
        common = given.pop("kwargs", {})  # name, dtype, trainable
        own = {k: v for k, v in given.items() if k in _OPTIONS}
        return GroupNormalization(groups, **own, **common)

    with keras_internals.constructed_by(keras.layers.BatchNormalization, make):
        yield


def rebuild(layer, groups):
    """A new layer of the same `get_config`, with GroupNormalization inside."""
    with replacing_batchnorm(groups):
        copy = type(layer).from_config(layer.get_config())
        build_config = layer.get_build_config()
        if layer.built and not copy.built and build_config:
            copy.build_from_config(build_config)
    return copy


def remember_groups(layer, groups):
    """Changes the classes of layers that make their normalisation themselves.

    Their configuration would bring BatchNormalization back. Layers that hold a
    `GroupNormalization` of this module become a `Regrouped`.
    """
    for part in keras_internals.flatten_layers(layer):
        known = isinstance(part, (GroupNormalization, Regrouped))
        if known or keras_internals.is_plain_graph(part):
            continue
        below = keras_internals.flatten_layers(part)
        if any(isinstance(one, GroupNormalization) for one in below):
            vars(part)["_normalisation_groups"] = groups
            plain_class: Any = type(part)
            part.__class__ = _regrouped_class(plain_class)


@keras.saving.register_keras_serializable("tfpriv", "Regrouped")
class Regrouped(MixedIn):
    """Mixed into the class of a layer whose own code makes BatchNormalization."""

    _normalisation_groups: int

    def get_config(self):
        return {"layer": self.plain_config(), "groups": self._normalisation_groups}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        with replacing_batchnorm(config["groups"]):
            layer = keras.saving.deserialize_keras_object(
                config["layer"], custom_objects=custom_objects
            )
        remember_groups(layer, config["groups"])
        return layer


@functools.cache
def _regrouped_class(plain_class):
    """The `Regrouped` subclass of a layer class."""
    return mixed_class(Regrouped, plain_class, "Regrouped")
