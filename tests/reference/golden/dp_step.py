"""One noise-free DP-SGD step by tensorflow-privacy 0.9.0 under Keras 2.

In: `cases`, a JSON list; case i says `layers` (name and config of each Keras layer),
`input_shape`, `input_dtype`, `loss` (name and config), `l2_norm_clip`,
`learning_rate`; arrays `i/x`, `i/y` and `i/w0`, `i/w1`, ...: data and weights.
Out: `i/norms`: each example's gradient norm; `i/g0`, ...: sums of clipped gradients;
`i/v0`, ...: weights after one step.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from tensorflow_privacy import DPKerasSGDOptimizer

keras = tf.keras


def build(case):
    model = keras.Sequential(
        [keras.Input(case["input_shape"], dtype=case["input_dtype"])]
        + [getattr(keras.layers, name)(**config) for name, config in case["layers"]]
    )
    name, config = case["loss"]
    loss = getattr(keras.losses, name)(**config, reduction=keras.losses.Reduction.NONE)
    return model, loss


def gradient_norms(model, loss, x, y):
    with tf.GradientTape() as tape:
        losses = tf.reshape(loss(y, model(x, training=True)), (len(x), -1))
        losses = tf.reduce_mean(losses, axis=1)
    jacobians = tape.jacobian(losses, model.trainable_variables)
    rows = [tf.reshape(jacobian, (len(x), -1)) for jacobian in jacobians]
    return tf.norm(tf.concat(rows, axis=1), axis=1)


def one_case(case, x, y, weights):
    model, loss = build(case)
    model.set_weights(weights)
    optimizer = DPKerasSGDOptimizer(
        l2_norm_clip=case["l2_norm_clip"],
        noise_multiplier=0.0,
        num_microbatches=len(x),
        learning_rate=case["learning_rate"],
    )
    norms = gradient_norms(model, loss, x, y)
    pairs = optimizer._compute_gradients(
        lambda: loss(y, model(x, training=True)),
        model.trainable_variables,
        tape=tf.GradientTape(persistent=True),
    )
    optimizer.apply_gradients(pairs)
    return (
        {"norms": norms}
        | {f"g{index}": len(x) * mean for index, (mean, _) in enumerate(pairs)}
        | {f"v{index}": value for index, value in enumerate(model.get_weights())}
    )


def main(inputs, outputs):
    results = {}
    with np.load(inputs) as arrays:
        for number, case in enumerate(json.loads(arrays["cases"].item())):
            count = sum(name.startswith(f"{number}/w") for name in arrays)
            weights = [arrays[f"{number}/w{index}"] for index in range(count)]
            x, y = arrays[f"{number}/x"], arrays[f"{number}/y"]
            for name, value in one_case(case, x, y, weights).items():
                results[f"{number}/{name}"] = np.asarray(value)
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
