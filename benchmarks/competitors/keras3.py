"""A training step of Keras 3 on TensorFlow: ordinary in several forms, and tfpriv's."""

import keras
import tensorflow as tf

from competitors import worker, workload, zoo_networks
from tfpriv import dp

# Ordinary training by `train_on_batch`: what `jit_compile` is set to.
JIT = {"default": "auto", "no-jit": False}
TAPE = "tape"  # ordinary training in a `tf.function` of one's own


def build(network, batch_size, form):
    """See `worker.main`. Forms: of JIT, TAPE, and the clipping engines' names."""
    model, x, y = zoo_networks.build(network, batch_size)
    x, y = tf.nest.map_structure(tf.convert_to_tensor, (x, y))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if form == TAPE:
        return _by_hand(model, loss, x, y), model.count_params()
    if form in JIT:
        optimizer = keras.optimizers.Adam(workload.LEARNING_RATE)
        model.compile(optimizer, loss, jit_compile=JIT[form])
    else:
        _compile_private(model, loss, engine=form, batch_size=batch_size)
    return lambda: model.train_on_batch(x, y), model.count_params()


def _compile_private(model, loss, engine, batch_size):
    # The whole batch at once, as the others have it; the ledger's entry is included.
    dp.make_private(model, max_occurrences=1, engine=engine, microbatch_size=batch_size)
    optimizer = dp.DPAdam(
        workload.LEARNING_RATE,
        l2_norm_clip=workload.L2_NORM_CLIP,
        noise_multiplier=workload.NOISE_MULTIPLIER,
    )
    model.compile(optimizer, loss)


def _by_hand(model, loss, x, y):
    optimizer = keras.optimizers.Adam(workload.LEARNING_RATE)
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
