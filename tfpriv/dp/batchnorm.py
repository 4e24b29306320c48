"""Puts a normalisation per example where BatchNormalization stood."""

import keras

from tfpriv.dp import keras_internals, lineage
from tfpriv.dp.model import PrivateModel


def replace_batchnorm(model, groups=32):
    """A copy of a model with GroupNormalization in place of BatchNormalization.

    Weights of all other layers are copied, and layers with `adapt` shared; scale and
    offset go to the new layers, whose statistics differ, so that a trained model needs
    some training again.

    Args:
        model: Sequential or Functional `keras.Model`, built. Models nested in it are
            copied likewise.
        groups: Largest number of groups. The largest divisor of the number of
            channels is used that is not larger and leaves two channels in a group;
            one group after a `Dense` layer, where a group has nothing but channels.

    Returns:
        A new, uncompiled model.

    Raises:
        ValueError: If the model, or a layer that holds BatchNormalization, is
            subclassed: replace it where it is made. Or if it is private already.
    """
    if not _can_be_rebuilt(model):
        raise ValueError(
            "Only Sequential and Functional models can be rebuilt. In a subclassed "
            "model write `keras.layers.GroupNormalization` where it makes "
            f"BatchNormalization. Received: {type(model).__name__}"
        )

    layers = keras_internals.flatten_layers(model)
    if any(isinstance(layer, PrivateModel) for layer in layers):
        raise ValueError(
            "A copy would leave the ledger behind. Call `replace_batchnorm` on the "
            "plain model, before `make_private`. Received: a private model, "
            f"'{model.name}'"
        )
    twin = _rebuild(model, groups)
    if lineage.was_trained(model):
        lineage.remember_training(twin)
    pairs = zip(
        layers,
        keras_internals.flatten_layers(twin),
        strict=True,
    )
    for old, new in pairs:
        _copy_weights(old, new)
    return twin


def _rebuild(model, groups):
    def convert(layer):
        if isinstance(layer, keras.layers.BatchNormalization):
            return _group_normalization(layer, groups)
        if _can_be_rebuilt(layer):
            return _rebuild(layer, groups)
        if hasattr(layer, "adapt"):  # a copy would not know what it was adapted to
            return layer
        return layer.__class__.from_config(layer.get_config())

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.layers.GroupNormalization):
            kwargs = {}  # a mask and `training` are BatchNormalization's alone
        return layer(*args, **kwargs)

    if isinstance(model, keras.Sequential):
        return keras.models.clone_model(model, clone_function=convert)
    return keras.models.clone_model(model, clone_function=convert, call_function=call)


def _can_be_rebuilt(layer):
    """Whether it is a Sequential or Functional model."""
    return isinstance(layer, keras.Model) and (
        isinstance(layer, keras.Sequential) or hasattr(layer, "operations")
    )


def _group_normalization(layer, groups):
    channels = layer.moving_mean.shape[0]
    only_channels = layer.input_spec.ndim == 2
    most = 1 if only_channels else max(1, min(groups, channels // 2))
    return keras.layers.GroupNormalization(
        groups=max(g for g in range(1, most + 1) if channels % g == 0),
        axis=layer.axis,
        epsilon=layer.epsilon,
        center=layer.center,
        scale=layer.scale,
        beta_regularizer=layer.beta_regularizer,
        gamma_regularizer=layer.gamma_regularizer,
        beta_constraint=layer.beta_constraint,
        gamma_constraint=layer.gamma_constraint,
        name=layer.name,
        dtype=layer.dtype_policy,
    )


def _copy_weights(old, new):
    if isinstance(new, keras.layers.BatchNormalization):
        raise ValueError(
            "A layer that makes BatchNormalization itself cannot be rebuilt from "
            "outside. Write `keras.layers.GroupNormalization` there. "
            f"Received: layer '{old.name}'"
        )
    if isinstance(old, keras.layers.BatchNormalization):
        for name in ("gamma", "beta"):
            if getattr(old, name) is not None:
                getattr(new, name).assign(getattr(old, name))
        return
    variables = zip(
        keras_internals.own_variables(old),
        keras_internals.own_variables(new),
        strict=True,
    )
    for source, target in variables:
        target.assign(source)
