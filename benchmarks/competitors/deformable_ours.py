"""tfpriv's deformable convolution, and TensorFlow's plain one for a measure."""

import tensorflow as tf

from competitors import worker, workload
from tfpriv.ops import deformable_conv2d


def build(network, batch_size, form):
    """See `worker.main`. The form is `"plain"` or `"deformable"`, and what of it."""
    kind, offsets, work = form.split("-")
    arrays = workload.layer(network, batch_size, whole=offsets == "whole")
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    if kind == "plain":
        del tensors["offsets"]

    def forward(tensors):
        if kind == "deformable":
            return deformable_conv2d(**tensors, padding="same")
        outputs = tf.nn.conv2d(tensors["inputs"], tensors["filters"], 1, "SAME")
        return tf.nn.bias_add(outputs, tensors["bias"])

    @tf.function(autograph=False)
    def step():
        if work == "forward":
            return forward(tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = forward(tensors)
        return tape.gradient(outputs, tensors)

    weights = tensors["filters"].shape.num_elements() + len(arrays["bias"])
    return step, weights


if __name__ == "__main__":
    worker.main(build)
