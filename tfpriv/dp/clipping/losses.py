"""The losses of examples that went through a model together.

Each is what Keras would compute for a batch of that one example, as in the reference
engine; only the loss, not the model, is mapped over examples.
"""

import dataclasses

import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import vectorized


def per_example_losses(problem, batch, y_pred):
    """Losses of the rows of a batch.

    Args:
        problem: `Problem`.
        batch: Dict of nested tensors with `x` and, where given, `y`, `sample_weight`.
        y_pred: Nested predictions.

    Returns:
        Tensor `(examples,)`.
    """
    outputs = [keras_internals.Output.of(t) for t in tf.nest.flatten(y_pred)]

    def one(row):
        row = tf.nest.map_structure(lambda t: tf.expand_dims(t, 0), row)
        predictions = [
            dataclasses.replace(output, **parts).attach()
            for output, parts in zip(outputs, row["outputs"], strict=True)
        ]
        return problem.loss(row["batch"], tf.nest.pack_sequence_as(y_pred, predictions))

    rows = {"batch": batch, "outputs": [output.tensors for output in outputs]}
    return vectorized.map_examples(one, rows)
