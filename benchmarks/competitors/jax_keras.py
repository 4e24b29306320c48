"""A private step of JAX-Privacy's Keras API, on Keras 3 with the JAX backend."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
from jax_privacy import keras_api

from competitors import keras_networks, worker, workload

STEPS = 1000  # declared for the accountant, as are the sizes made from it


def build(network, batch_size, form):
    """See `worker.main`. There is one form, `vmap`."""
    del form
    x, y = workload.batch(network, batch_size)
    if network == "cnn":
        model = keras.Model(*keras_networks.cnn(keras))
    else:
        model = keras.Model(*keras_networks.plain_decoder(keras))
        x["places"] = keras_networks.places(batch_size)
    parameters = model.count_params()
    x, y = jax.tree.map(jax.numpy.asarray, (x, y))
    private = keras_api.DPKerasConfig(
        epsilon=10.0,
        delta=1e-6,
        clipping_norm=workload.L2_NORM_CLIP,
        noise_multiplier=workload.NOISE_MULTIPLIER,
        batch_size=batch_size,
        gradient_accumulation_steps=1,
        train_steps=STEPS,
        train_size=STEPS * batch_size,
    )
    model = keras_api.make_private(model, private)
    model.compile(
        keras.optimizers.Adam(workload.LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return lambda: model.train_on_batch(x, y), parameters


if __name__ == "__main__":
    worker.main(build)
