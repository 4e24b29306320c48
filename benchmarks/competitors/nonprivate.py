"""An ordinary training step of Keras 3 on TensorFlow, in several forms."""

import keras
import tensorflow as tf

from competitors import keras3_networks, worker, workload

JIT = {"default": "auto", "no-jit": False, "jit": True}


def build(network, batch_size, form):
    """See `worker.main`. Forms: those of JIT by `train_on_batch`, and `tape`."""
    model = keras3_networks.build(network)
    x, y = tf.nest.map_structure(
        tf.convert_to_tensor, workload.batch(network, batch_size)
    )
    optimizer = keras.optimizers.Adam(workload.LEARNING_RATE)
    if form == "tape":
        step = _by_hand(model, optimizer, x, y)
    else:
        model.compile(optimizer, keras3_networks.loss(), jit_compile=JIT[form])

        def step():
            model.train_on_batch(x, y)

    return step, model.count_params()


def _by_hand(model, optimizer, x, y):
    loss = keras3_networks.loss()
    optimizer.build(model.trainable_variables)

    @tf.function
    def update():
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    return lambda: update().numpy()


if __name__ == "__main__":
    worker.main(build)
