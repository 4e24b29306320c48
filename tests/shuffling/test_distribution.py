"""A twin under MirroredStrategy takes the steps of one on a single device."""

import subprocess
import sys

import pytest

PROGRAM = """
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from tfpriv.shuffling import Key, keyed, new_nonces, shuffle

key, nonces = Key.generate(), new_nonces(8)
x = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
y = np.arange(8) % 3
shuffled = shuffle(x, key, nonces)


def weights(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.MaxPooling2D(2),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
        twin = keyed(model, key)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        twin.compile(keras.optimizers.SGD(0.1), loss)
    twin.fit((shuffled, nonces), y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


one = weights(tf.distribute.get_strategy())
two = weights(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
"""


@pytest.mark.slow
def test_two_replicas_train_as_one():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
