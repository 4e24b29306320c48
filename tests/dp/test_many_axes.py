"""Layers whose inputs have so many axes that one more is too many for a kernel."""

import small

AXIAL = """
import keras
import numpy as np
import oracle
from keras import layers

class Axial(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, inputs):
        logits = keras.ops.matmul(inputs, self.kernel)
        weights = keras.ops.softmax(logits)
        return weights + keras.ops.log_softmax(logits)

rng = np.random.default_rng(0)
model = keras.Sequential(
    [keras.Input((2, 2, 2, 3)), Axial(), layers.Flatten(), layers.Dense(2)]
)
x = rng.normal(size=(4, 2, 2, 2, 3)).astype("float32")
y = rng.normal(size=(4, 2)).astype("float32")
for engine in ("ghost", "vectorized"):
    oracle.assert_exact(
        model, x, y, loss=keras.losses.MeanSquaredError(), engine=engine
    )
print("exact")
"""


def test_softmax_over_five_axes(monkeypatch):
    """That of oneDNN, which TensorFlow takes on many processors, allows no sixth."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert "exact" in small.run_script(AXIAL)
