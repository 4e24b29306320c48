"""gaussian_noise under a strategy: each replica gets the noise that it asked for."""

import subprocess
import sys

# Two CPU devices must be made before TensorFlow starts: a process of their own.
PROGRAM = """
import os
import numpy as np
import tensorflow as tf
from tfpriv.ops import gaussian_noise, loader

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
key = tf.constant(list(os.urandom(32)), tf.uint8)

for choice in ("0", "1"):
    os.environ[loader.ENV] = choice

    @tf.function
    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return gaussian_noise(key, [50], stream=replica)

    values = strategy.experimental_local_results(strategy.run(step))
    for stream in (0, 1):
        expected = gaussian_noise(key, [50], stream=stream)
        np.testing.assert_array_equal(values[stream], expected)
"""


def test_two_replicas():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
