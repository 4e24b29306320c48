"""Puts a normalisation per example where BatchNormalization stood."""

import tempfile

import keras

from tfpriv.dp import group_normalization, keras_internals, provenance
from tfpriv.dp.model import PrivateModel


def replace_batchnorm(model: keras.Model, groups: int = 32) -> keras.Model:
    """A copy of a model with GroupNormalization in place of BatchNormalization.

    Weights of all other layers are copied. Scale and offset go to the new layers, whose
    statistics differ, so that a trained model needs some training again. Layers with
    `adapt` that stand in a Sequential or Functional model are shared.

    Layers and models that make BatchNormalization in their own code (blocks and
    backbones of KerasHub, wrappers, subclassed models) are made again from
    `get_config`, and keep their class. To load a saved copy, `import tfpriv.dp` first.

    Args:
        model: `keras.Model`, built: Sequential, Functional, or with a `get_config`.
        groups: Largest number of groups. The largest divisor of the number of
            channels is used that is not larger and leaves two channels in a group;
            one group after a `Dense` layer, where a group has nothing but channels.

    Returns:
        A new, uncompiled model.

    Raises:
        ValueError: If the model is not built, is private already, or cannot be made
            again from its configuration.
    """
    if not model.built:
        raise ValueError(
            "`replace_batchnorm` copies weights. Build the model first, such as by "
            f"calling it on an example. Received: {type(model).__name__}, not built"
        )
    layers = keras_internals.flatten_layers(model)
    if any(isinstance(layer, PrivateModel) for layer in layers):
        raise ValueError(
            "A copy would leave the ledger behind. Call `replace_batchnorm` before "
            f"`make_private`. Received: a private model, '{model.name}'"
        )
    copier = _Copier(groups)
    copy = copier.copy(model)
    copier.copy_states(copy)
    group_normalization.remember_groups(copy, groups)
    if provenance.was_trained(model):
        provenance.remember_training(copy)
    return copy


class _Copier:
    """Copies layers, and knows for each copy what it was made from.

    Args:
        groups: Largest number of groups.
    """

    def __init__(self, groups):
        self._groups, self._rebuilt = groups, []
        self._copies: dict = {}
        self._originals: dict = {}

    def copy(self, layer):
        """The copy of a layer, always the same one; without weights' values."""
        if id(layer) not in self._copies:
            self._copies[id(layer)] = self._make(layer)
        return self._copies[id(layer)]

    def _make(self, layer):
        if not isinstance(layer, keras.Layer):  # an operation, which has no state
            return layer
        if hasattr(layer, "adapt"):  # a copy would not know what it was adapted to
            return layer
        if isinstance(layer, keras.layers.BatchNormalization):
            copy = group_normalization.of_batchnorm(layer, self._groups)
        elif keras_internals.is_plain_graph(layer):
            is_functional = not isinstance(layer, keras.Sequential)
            options = {"call_function": _call} if is_functional else {}
            # A layer that is built when it is called makes BatchNormalization only now.
            with group_normalization.replacing_batchnorm(self._groups):
                copy = keras.models.clone_model(
                    layer, clone_function=self.copy, **options
                )
        else:
            copy = group_normalization.rebuild(layer, self._groups)
            self._rebuilt.append((layer, copy))
        self._originals[id(copy)] = layer
        return copy

    def copy_states(self, copy):
        """Gives the copy and the layers below it the state of their originals."""
        for layer, rebuilt in self._rebuilt:
            # Made by the same code: they hold their layers in the same order.
            old, new = map(keras_internals.flatten_layers, (layer, rebuilt))
            if [*map(_kind, old)] != [*map(_kind, new)]:
                raise ValueError(
                    "This layer holds other layers than a new one of its config. "
                    "Write `keras.layers.GroupNormalization` where it makes "
                    "BatchNormalization, or let `get_config` and `build` bring all "
                    "of them back. Received: layer "
                    f"'{layer.name}' ({type(layer).__name__})"
                )
            self._originals.update(zip(map(id, new), old, strict=True))
        for new in keras_internals.flatten_layers(copy):
            old = self._originals.get(id(new), new)
            if old is not new:
                new.trainable = old.trainable
                _copy_state(old, new)


def _call(layer, *args, **kwargs):
    if isinstance(layer, keras.layers.GroupNormalization):
        kwargs = {}  # a mask and `training` are BatchNormalization's alone
    return layer(*args, **kwargs)


def _kind(layer):
    """Class and shapes of weights; of BatchNormalization, those of its copy."""
    kind, weights = type(layer), keras_internals.own_variables(layer)
    if isinstance(layer, keras.layers.BatchNormalization):
        kind = group_normalization.GroupNormalization
        weights = [w for w in (layer.gamma, layer.beta) if w is not None]
    return kind, [tuple(w.shape) for w in weights]


def _copy_state(old, new):
    if isinstance(old, keras.layers.BatchNormalization):
        for name in ("gamma", "beta"):
            if getattr(old, name) is not None:
                getattr(new, name).assign(getattr(old, name))
        return
    store: dict = {}
    old.save_own_variables(store)
    new.load_own_variables(store)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
