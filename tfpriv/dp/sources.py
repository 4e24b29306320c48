"""Random access to examples: arrays in memory, or anything with items."""

import os

import keras
import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.support.randomness import KEY_BYTES, restored_generators, seed_generators

_SCALARS = (bool, int, float, str, bytes, np.generic)
_ROWS = (
    "Expected arrays with one row per example, or nested dicts, tuples and lists of "
    "such arrays; `np.asarray` makes an array of nested lists of numbers. Received: "
)


def as_source(data, load=None):
    """Wraps data for samplers.

    Args:
        data: A tuple `(x,)`, `(x, y)` or `(x, y, sample_weight)` of nested arrays
            (see `as_arrays`) with one leading axis; a single array or dict, taken as
            `x`; or an object with `__len__` and `__getitem__(int)`: a list of files,
            `tfds.data_source`, a `keras.utils.PyDataset` whose batches hold one
            example.
        load: Function from an item to `(x,)`, `(x, y)` or `(x, y, sample_weight)`
            of one example, for data with items.

    Raises:
        ValueError: If the leading axes disagree or the data has no random access.
    """
    if load is not None:
        _check_items(data)
    if isinstance(data, keras.utils.PyDataset):
        if load is None and len(data):
            _single_example(data[0])
        return ItemSource(data, load or _single_example)
    if load is None and (isinstance(data, (tuple, dict)) or hasattr(data, "shape")):
        return ArraySource(data)
    if isinstance(data, tf.data.Dataset) or not hasattr(data, "__getitem__"):
        raise ValueError(
            "Poisson and fixed-size sampling need random access to examples. "
            "Expected arrays, or an object with `__len__` and `__getitem__`; "
            "for a `tf.data.Dataset` use `PoissonSampler.from_dataset`. "
            f"Received: data of type {type(data).__name__}"
        )
    return ItemSource(data, load)


def name_parts(data):
    """`(x, y, sample_weight)` or fewer -> dict of the parts that are not `None`."""
    if not isinstance(data, tuple):
        data = (data,)
    if not 1 <= len(data) <= 3 or data[0] is None:
        raise ValueError(
            "Expected data as (x,), (x, y) or (x, y, sample_weight). "
            f"Received: {tuple(type(part).__name__ for part in data[:4])}"
        )
    named = zip(("x", "y", "sample_weight"), data, strict=False)
    absent = "NoneType", "NoneTensorSpec"  # the latter in an `element_spec`
    return {name: part for name, part in named if type(part).__name__ not in absent}


def as_arrays(data):
    """Makes NumPy arrays of the leaves of nested data; of dtype object for strings.

    Lists of arrays become tuples, as in Keras' own `fit`: `tf.data` would make one
    tensor of a list. A list of numbers or of strings becomes one array.

    Args:
        data: Array, tensor, pandas `DataFrame` or `Series`, list of numbers or
            strings, or nested dicts, tuples and lists of these.

    Raises:
        ValueError: For what has no rows of one shape, or is not numbers or strings.
    """
    return keras.tree.lists_to_tuples(keras.tree.traverse(_array_or_none, data))


def as_tensors(data):
    """As `as_arrays`, for one batch: tensors stay tensors, and lists stay lists."""

    def convert(part):
        if not isinstance(part, (tf.Tensor, tf.Variable, keras.Variable)):
            part = _array_or_none(part)
        return None if part is None else tf.convert_to_tensor(part)

    return keras.tree.traverse(convert, data)


def _array_or_none(part):
    """The array of a leaf; `None` for what has leaves."""
    if not keras.tree.is_nested(part):
        return _as_array(part)
    if is_column(part):
        return _of_objects(np.array(part, object))
    if isinstance(part, list) and any(map(is_column, part)):
        raise ValueError(f"{_ROWS}nested lists of numbers or strings")
    return None


def is_column(data):
    """Whether data is a list of numbers or strings, one for each example."""
    filled = isinstance(data, list) and bool(data)
    return filled and all(isinstance(element, _SCALARS) for element in data)


def _as_array(leaf):
    check_dense(leaf)
    array = np.asarray(leaf)
    if array.dtype == object:
        array = _of_objects(array)
    elif hasattr(leaf, "iloc") and array.ndim == 1:
        return array[:, np.newaxis]  # Keras adds this axis to a `Series`
    try:
        tf.as_dtype(array.dtype)
    except TypeError:
        raise ValueError(
            "Expected arrays of numbers. Of dates, for instance, take differences: "
            "`(dates - start) / np.timedelta64(1, 'D')`. "
            f"Received: an array of dtype {array.dtype}"
        ) from None
    return array


def check_dense(leaf):
    """Raises `ValueError` for a ragged or sparse tensor."""
    kind = type(leaf)
    of_scipy = kind.__module__.startswith("scipy.sparse")
    if of_scipy or isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)):
        raise ValueError(
            "Examples must be dense and of one shape, so that each can be drawn and "
            "differentiated alone. Use `.to_tensor(shape=...)`, `tf.sparse.to_dense` "
            f"or `.toarray()`. Received: {kind.__name__}"
        )


def _of_objects(array):
    """The numbers in an array of dtype object; one of strings is returned as it is."""
    elements = array.ravel().tolist()
    if all(isinstance(element, (str, bytes)) for element in elements):
        return array
    try:
        numbers = np.array(array.tolist())
    except ValueError:
        raise ValueError(
            "The rows of an array of dtype object have different shapes. Pad them, "
            "for instance by `keras.utils.pad_sequences`, or resize them, to one "
            f"shape. Received: rows of shapes {_some(map(np.shape, elements))}"
        ) from None
    if numbers.dtype.kind not in "biufc":
        kinds = _some(type(element).__name__ for element in elements)
        raise ValueError(f"{_ROWS}elements of types {kinds}")
    return numbers


def _some(values):
    """A few of the different values, for a message."""
    return sorted(set(values))[:5]


class ArraySource:
    """Nested arrays that share their leading axis."""

    def __init__(self, data):
        self._parts = as_arrays(name_parts(data))
        leaves = tf.nest.flatten(self._parts)
        if not leaves or any(leaf.ndim == 0 for leaf in leaves):
            kinds = _some(type(v).__name__ for v in tf.nest.flatten(data))
            raise ValueError(f"{_ROWS}a structure with leaves of types {kinds}")
        lengths = {len(leaf) for leaf in leaves}
        if len(lengths) != 1:
            raise ValueError(
                "All arrays must have the same number of examples. A list of arrays is "
                "taken as several inputs or outputs; `np.stack` makes one array of a "
                f"list of examples. Received: leading axes of {_some(lengths)}"
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
    """Items fetched one by one, each turned into one example.

    Each item finds the global generators of Python and NumPy seeded from the operating
    system, for it alone.
    """

    def __init__(self, items, load=None):
        self._items, self._load, self._empty = items, load, None

    def __len__(self):
        return len(self._items)

    def take(self, indices):
        """The examples at `indices`, as a dict of nested arrays."""
        if len(indices) == 0:
            if self._empty is None:
                self._empty = self.take(np.array([0]))
            return tf.nest.map_structure(lambda a: a[:0], self._empty)
        with restored_generators():
            examples = [self._example(int(i)) for i in indices]
        return tf.nest.map_structure(_stack, *examples)

    def arrays(self):
        """None: items are fetched when they are drawn."""
        return {}

    def _example(self, index):
        # What an item draws must not depend on who was drawn before it.
        seed_generators(os.urandom(KEY_BYTES))
        item = self._items[index]
        if self._load is not None:
            item = self._load(item)
        return as_arrays(name_parts(item))


def _stack(*rows):
    if len({row.shape for row in rows}) > 1:
        raise ValueError(
            "Every example must have the same shape. Resize or pad them, for instance "
            f"in `load`. Received: shapes {_some(row.shape for row in rows)}"
        )
    return np.stack(rows)


def _check_items(data):
    """Raises `ValueError` for the arrays `(x, y)` where a list of items is expected."""
    columns = isinstance(data, tuple) and len(data) <= 3
    if isinstance(data, dict) or (
        columns and all(isinstance(p, list) or getattr(p, "ndim", 0) for p in data)
    ):
        raise ValueError(
            "`load` is given one item of the data: expected a list of items. Pass "
            "`list(zip(x, y))` for pairs, such as a path and its label. "
            f"Received: a {type(data).__name__} of {len(data)} with `load`"
        )


def _single_example(batch):
    """The one example of a PyDataset's batch."""
    parts = keras_internals.unpack_x_y_sample_weight(batch)
    arrays = as_arrays(name_parts(parts))
    sizes = {len(leaf) for leaf in tf.nest.flatten(arrays)}
    if sizes != {1}:
        raise ValueError(
            "The elements of a `PyDataset` are its batches, and examples are sampled "
            "from it one by one. Make it with batches of one example (batch_size=1), "
            f"or pass the arrays. Received: a batch of {max(sizes)} examples"
        )
    one = tf.nest.map_structure(lambda a: a[0], arrays)
    return tuple(one.get(name) for name in ("x", "y", "sample_weight"))
