"""Puts a normalisation per example where BatchNormalization stood."""

import keras


def replace_batchnorm(model, groups=32):
    """A copy of a model with GroupNormalization in place of BatchNormalization.

    Weights of all other layers are copied; scale and offset go to the new layers,
    whose statistics differ, so that a trained model needs some training again.

    Args:
        model: Sequential or Functional `keras.Model`.
        groups: Largest number of groups; the largest divisor of the number of
            channels that is not larger is used.

    Returns:
        A new, uncompiled model.

    Raises:
        ValueError: If the model is subclassed: replace the layers where it makes
            them.
    """
    if not isinstance(model, (keras.Sequential, keras.Model)) or not (
        isinstance(model, keras.Sequential) or hasattr(model, "operations")
    ):
        raise ValueError(
            "Only Sequential and Functional models can be rebuilt. In a subclassed "
            "model write `keras.layers.GroupNormalization` where it makes "
            f"BatchNormalization. Received: {type(model).__name__}"
        )

    def convert(layer):
        if not isinstance(layer, keras.layers.BatchNormalization):
            return layer.__class__.from_config(layer.get_config())
        channels = layer.gamma.shape[0] if layer.scale else layer.beta.shape[0]
        return keras.layers.GroupNormalization(
            groups=max(g for g in range(1, groups + 1) if channels % g == 0),
            axis=layer.axis,
            epsilon=layer.epsilon,
            center=layer.center,
            scale=layer.scale,
            name=layer.name,
        )

    twin = keras.models.clone_model(model, clone_function=convert)
    for old, new in zip(model._flatten_layers(), twin._flatten_layers()):
        if isinstance(old, keras.layers.BatchNormalization):
            new.set_weights([w.numpy() for w in (old.gamma, old.beta) if w is not None])
        elif old._layers == []:
            new.set_weights(old.get_weights())
    return twin
