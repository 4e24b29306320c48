"""A `tf.data.Dataset` of single examples, read once for random access."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpriv.dp import tensorflow_internals
from tfpriv.dp.sources import name_parts
from tfpriv.support.warning import warn


def read_dataset(dataset: tf.data.Dataset, is_grouped: bool = False) -> tuple[Any, ...]:
    """Reads a data set into arrays, once.

    Args:
        dataset: Finite `tf.data.Dataset` of single examples `x`, `(x, y)` or
            `(x, y, sample_weight)`, all of one shape.
        is_grouped: Whether the examples of a unit are named by `groups`. If not, a data
            set that makes several examples of one, by `repeat`, is refused.

    Returns:
        `(x, y, sample_weight)`: nested arrays with a leading axis of examples, or
        `None`.

    Raises:
        ValueError: If the data set is batched, infinite, empty or ragged, or makes
            several examples of one unit.

    Warns:
        UserWarning: If `flat_map` may make several examples of one unit.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            f"Expected a `tf.data.Dataset`. Received: {type(dataset).__name__}"
        )
    if tensorflow_internals.is_batched(dataset):
        raise ValueError(
            "Expected a data set of single examples: leave out `batch`, or append "
            "`dataset.unbatch()`. Received: a data set with batches"
        )
    if not is_grouped and tensorflow_internals.has_step(dataset, "Repeat"):
        raise ValueError(
            "The data set makes several examples of one unit. Expected each unit once, "
            "or `groups` that say which examples are one unit's. Received: a data set "
            "with a step `repeat`"
        )
    if not is_grouped and tensorflow_internals.has_flat_map(dataset):
        warn(
            "`flat_map` may make several examples of one unit. Each example is taken "
            "as one unit; if several belong together, say so by `groups`."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("Expected a finite data set. Received: an infinite one")
    elements = [tf.nest.flatten(element) for element in dataset.as_numpy_iterator()]
    if not elements:
        raise ValueError("Expected at least one example. Received: an empty data set")
    columns = [_column(list(values)) for values in zip(*elements, strict=True)]
    data = tf.nest.pack_sequence_as(dataset.element_spec, columns)
    parts = name_parts(data)
    return tuple(parts.get(name) for name in ("x", "y", "sample_weight"))


def _column(values):
    if values[0] is None:
        return None
    shapes = {np.shape(value) for value in values}
    if len(shapes) > 1:
        raise ValueError(
            "Expected examples of one shape; pad or resize them with `map`. Received: "
            f"shapes {sorted(shapes)[:3]}"
        )
    if isinstance(values[0], (bytes, str)):
        return np.array(values, object)
    return np.stack(values)
