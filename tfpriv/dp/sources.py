"""Random access to examples: arrays in memory, or anything with items."""

import keras
import numpy as np
import tensorflow as tf


def as_source(data, load=None):
    """Wraps data for samplers.

    Args:
        data: A tuple `(x,)`, `(x, y)` or `(x, y, sample_weight)` of nested arrays
            with one leading axis; a single array or dict, taken as `x`; or an
            object with `__len__` and `__getitem__(int)`: a list of files,
            `tfds.data_source`, a `keras.utils.PyDataset` whose batches hold one
            example.
        load: Function from an item to `(x,)`, `(x, y)` or `(x, y, sample_weight)`
            of one example, for data with items.

    Raises:
        ValueError: If the leading axes disagree or the data has no random access.
    """
    if isinstance(data, keras.utils.PyDataset):
        return ItemSource(data, load or _single_example)
    if load is None and (isinstance(data, (tuple, dict)) or hasattr(data, "shape")):
        return ArraySource(data)
    if isinstance(data, tf.data.Dataset) or not hasattr(data, "__getitem__"):
        raise ValueError(
            "Poisson and fixed-size sampling need random access to examples. "
            "Expected arrays, or an object with `__len__` and `__getitem__`; "
            "give a `tf.data.Dataset` to `tfpriv.dp.Stream`. "
            f"Received: data of type {type(data).__name__}"
        )
    return ItemSource(data, load)


def name_parts(data):
    """`(x, y, sample_weight)` or fewer -> dict of the parts that are there."""
    if not isinstance(data, tuple):
        data = (data,)
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "Expected data as (x,), (x, y) or (x, y, sample_weight). "
            f"Received: a tuple of {len(data)}"
        )
    named = zip(("x", "y", "sample_weight"), data, strict=False)
    return {name: part for name, part in named if part is not None}


class ArraySource:
    """Nested arrays that share their leading axis."""

    def __init__(self, data):
        parts = name_parts(data)
        self._parts = {
            k: tf.nest.map_structure(np.asarray, v) for k, v in parts.items()
        }
        leaves = tf.nest.flatten(self._parts)
        if not leaves or any(leaf.ndim == 0 for leaf in leaves):
            raise ValueError(
                "Expected arrays with one row per example, or nested dicts, tuples "
                "and lists of such arrays; `np.asarray` makes an array of a list of "
                "numbers. Received: a structure with leaves of type "
                f"{sorted({type(v).__name__ for v in tf.nest.flatten(parts)})}"
            )
        lengths = {len(leaf) for leaf in leaves}
        if len(lengths) != 1:
            raise ValueError(
                "All arrays must have the same number of examples. "
                f"Received: leading axes of {sorted(lengths)}"
            )
        self._length = lengths.pop()

    def __len__(self):
        return self._length

    def take(self, indices):
        """The examples at `indices`, as a dict of nested arrays."""
        return tf.nest.map_structure(lambda a: a[indices], self._parts)

    def arrays(self):
        """The nested arrays themselves."""
        return self._parts


class ItemSource:
    """Items fetched one by one, each turned into one example."""

    def __init__(self, items, load=None):
        self._items = items
        self._load = load
        self._empty = None

    def __len__(self):
        return len(self._items)

    def take(self, indices):
        """The examples at `indices`, as a dict of nested arrays."""
        if len(indices) == 0:
            if self._empty is None:
                self._empty = self.take(np.array([0]))
            return tf.nest.map_structure(lambda a: a[:0], self._empty)
        examples = [self._example(int(i)) for i in indices]
        return tf.nest.map_structure(lambda *leaves: np.stack(leaves), *examples)

    def arrays(self):
        """None: items are fetched when they are drawn."""
        return {}

    def _example(self, index):
        item = self._items[index]
        if self._load is not None:
            item = self._load(item)
        return {
            name: tf.nest.map_structure(np.asarray, part)
            for name, part in name_parts(item).items()
        }


def _single_example(batch):
    """The one example of a PyDataset's batch."""
    sizes = {len(np.asarray(leaf)) for leaf in tf.nest.flatten(batch)}
    if sizes != {1}:
        raise ValueError(
            "A PyDataset is sampled example by example. Expected batches of one "
            f"example (batch_size=1). Received: leading axes of {sorted(sizes)}"
        )
    return tf.nest.map_structure(lambda a: np.asarray(a)[0], tuple(batch))
