"""The preprocessor of a KerasHub task, applied to one example at a time.

KerasHub's own `fit` maps it over batches that are read ahead. Here an example goes
through it alone, when it is drawn: no other example has an effect on its row, and one
example stays one row.
"""

import copy
import re
from typing import Any

import keras
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.sources import ArraySource, as_arrays, check_dense, name_parts

_ROWS = "_tfpriv_preprocessed_rows"  # where a model keeps what was traced
_SHARED = {
    "Random|Multinomial|CandidateSampler|Truncated|NonDeterministic": (
        "draws random numbers from a sequence that all examples share"
    ),
    "Assign|ResourceScatter": "updates state as it runs",
}


def function_of(model):
    """What a KerasHub task does with `(x, y, sample_weight)`; `None` if nothing."""
    is_on = getattr(model, "preprocessor", True) is not None
    return (
        model.preprocess_samples
        if keras_internals.is_pipeline(model) and is_on
        else None
    )


def sampler_for(model, sampler):
    """A copy of the sampler that draws what the task's preprocessor makes of examples.

    Any model but a KerasHub task has no preprocessor.

    Raises:
        ValueError: If the preprocessor draws at random, or updates state.
    """
    preprocess = function_of(model)
    if preprocess is None:
        return sampler
    sampler = copy.copy(sampler)
    sampler.preprocess_by(_rows_of(model, preprocess))
    return sampler


def batch_for(model, x, y, sample_weight):
    """`(x, y, sample_weight)` as the task's preprocessor makes it."""
    preprocess = function_of(model)
    if preprocess is None:
        return x, y, sample_weight
    batch = ArraySource((x, y, sample_weight)).arrays()
    return _in_order(_rows_of(model, preprocess)(batch))


def validation_data_for(model, data, batch_size):
    """Public data, in batches that the task's preprocessor was applied to."""
    preprocess = function_of(model)
    if preprocess is None or data is None:
        return data
    if not isinstance(data, tf.data.Dataset):
        parts = keras_internals.unpack_x_y_sample_weight(data)
        arrays = as_arrays(tuple(part for part in parts if part is not None))
        data = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size or 32)
    return data.map(tf.autograph.experimental.do_not_convert(preprocess))


def _rows_of(model, preprocess):
    """The model's `_Rows`; another where its preprocessor was changed."""
    preprocessor: Any = getattr(model, "preprocessor", None)
    config = preprocessor.get_config() if hasattr(preprocessor, "get_config") else None
    key = id(preprocessor), repr(config)
    found = vars(model).get(_ROWS)
    if found is None or found[0] != key:
        found = vars(model)[_ROWS] = key, _Rows(preprocess)
    return found[1]


class _Rows:
    """Applies a function of `(x, y, sample_weight)` to every row of a batch alone.

    Raises:
        ValueError: When called, if the preprocessor draws at random or updates state.
    """

    def __init__(self, preprocess):
        self._preprocess = preprocess
        self._traced = {}

    def __call__(self, batch):
        """A batch as a dict of nested arrays, for one such dict."""
        any_size = tf.nest.map_structure(
            lambda a: tf.TensorSpec([None, *a.shape[1:]], tf.as_dtype(a.dtype)), batch
        )
        options = {"input_signature": [any_size], "autograph": False}
        if (key := repr(any_size)) not in self._traced:
            self._traced[key] = tf.function(self._every_row, **options)
        return tf.nest.map_structure(lambda t: t.numpy(), self._traced[key](batch))

    def over(self, dataset):
        """A data set of batches, for one such data set."""

        @tf.autograph.experimental.do_not_convert
        def preprocess(*parts):
            made = _in_order(self._every_row(name_parts(parts)))
            return tuple(part for part in made if part is not None)

        return dataset.map(preprocess)

    def _every_row(self, batch):
        example = tf.nest.map_structure(
            lambda t: tf.TensorSpec(t.shape[1:], t.dtype), batch
        )
        row = tf.function(self._one_row, autograph=False)
        traced = row.get_concrete_function(example)
        _check_shared(traced.graph)
        outputs = traced.structured_outputs
        made = tf.nest.map_structure(tf.TensorSpec.from_tensor, outputs)
        return tf.map_fn(traced, batch, fn_output_signature=made)

    def _one_row(self, example):
        batch = tf.nest.map_structure(lambda t: t[tf.newaxis], example)
        made = name_parts(self._preprocess(*_in_order(batch)))
        return keras.tree.map_structure(_only_row, keras.tree.lists_to_tuples(made))


def _only_row(tensor):
    check_dense(tensor)
    tensor = tf.convert_to_tensor(tensor)
    if tensor.shape.rank == 0 or tensor.shape[0] not in (1, None):
        raise ValueError(
            "A preprocessor must make one row of an example, which is what is sampled, "
            "clipped and protected. Split long examples before, and declare the unit "
            "of each part: `dp.PoissonSampler(..., groups=)`. "
            f"Received: a row of shape {tensor.shape} for one example"
        )
    return tf.ensure_shape(tensor, [1, *tensor.shape[1:]])[0]


def _in_order(parts):
    return tuple(parts.get(name) for name in ("x", "y", "sample_weight"))


def _check_shared(graph):
    """Raises `ValueError` for a graph whose examples share draws or state."""
    functions = graph.as_graph_def().library.function
    kinds = {operation.type for operation in graph.get_operations()}
    kinds |= {node.op for function in functions for node in function.node_def}
    for pattern, problem in _SHARED.items():
        if found := sorted(kind for kind in kinds if re.search(pattern, kind)):
            raise ValueError(
                f"The task's preprocessor {problem}: one example may change the rows "
                "of others. Apply one that does not to the data yourself, and take it "
                "out of the task, `task.preprocessor = None`. "
                f"Received: a preprocessor with operations {found}"
            )
