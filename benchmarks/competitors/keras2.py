"""A training step of Keras 2: ordinary, and by tensorflow-privacy."""

import tensorflow as tf
from tensorflow_privacy import DPModel
from tensorflow_privacy.privacy.fast_gradient_clipping import layer_registry
from tensorflow_privacy.privacy.fast_gradient_clipping.registry_functions import (
    layer_normalization,
    multi_head_attention,
)

from competitors import keras_networks, worker, workload

keras = tf.keras


def build(network, batch_size, form):
    """See `worker.main`. Forms: `plain`, `tape`; private `vectorized`, `fast`."""
    x, y = workload.batch(network, batch_size)
    if network == "cnn":
        inputs, logits = keras_networks.cnn(keras)
    else:
        inputs, logits = keras_networks.plain_decoder(keras)
        x["places"] = keras_networks.places(batch_size)
    x, y = tf.nest.map_structure(tf.convert_to_tensor, (x, y))
    model = _model(form, inputs=inputs, outputs=logits)
    if form == "tape":
        return _by_hand(model, x, y), model.count_params()
    model.compile(keras.optimizers.Adam(workload.LEARNING_RATE), Loss())
    return lambda: model.train_on_batch(x, y), model.count_params()


def _model(form, **ends):
    if form in ("plain", "tape"):
        return keras.Model(**ends)
    # Its XLA step is slower on a CPU.
    options = {
        "l2_norm_clip": workload.L2_NORM_CLIP,
        "noise_multiplier": workload.NOISE_MULTIPLIER,
        "use_xla": False,
    }
    if form == "vectorized":
        return DPModel(**options, **ends)
    model = DPModel(**options, layer_registry=_registry(), **ends)
    # It would go on with the other algorithm, and not say so.
    assert model._enable_fast_peg_computation
    return model


def _registry():
    registry = layer_registry.make_default_layer_registry()
    registry.insert(
        keras.layers.LayerNormalization,
        layer_normalization.layer_normalization_computation,
    )
    registry.insert(
        keras.layers.MultiHeadAttention,
        multi_head_attention.multi_head_attention_layer_computation,
    )
    return registry


class Loss(keras.losses.Loss):
    """One cross-entropy an example, the mean over its words, as fast clipping wants."""

    def call(self, y_true, y_pred):
        losses = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )
        return tf.reduce_mean(tf.reshape(losses, (tf.shape(y_pred)[0], -1)), axis=1)


def _by_hand(model, x, y):
    loss, optimizer = Loss(), keras.optimizers.Adam(workload.LEARNING_RATE)

    @tf.function
    def update():
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )
        return value

    return lambda: update().numpy()


if __name__ == "__main__":
    worker.main(build)
