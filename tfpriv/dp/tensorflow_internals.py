"""Every private name of TensorFlow that `tfpriv.dp` leans on, in one place.

`tests/dp/test_keras_internals.py` fails when a release moves one of them.
"""

import re

from tensorflow.python.framework import op_def_registry
from tensorflow.python.ops.parallel_for import control_flow_ops, pfor

converters = pfor._pfor_converter_registry  # operation type -> function
call = converters["PartitionedCall"]  # one of these functions
gather = pfor._convert_gather  # one of these functions
vectorizer = pfor  # the module; `_fallback_converter` is for what no converter takes
conv2d_backprop_input = converters["Conv2DBackpropInput"]
for_each = control_flow_ops.pfor  # (function of an index, how many) -> all its results
same_operation = pfor._create_op  # (type, inputs, dtypes, attributes)
op_definition = op_def_registry.get  # (operation type) -> its `OpDef`, or None
wrap = pfor.wrap  # (tensor, whether it has an example axis) -> what converters return


def _steps(dataset):
    """The data sets that a `tf.data.Dataset` is made of, as far as is seen."""
    yield dataset
    for before in dataset._inputs():
        yield from _steps(before)


def has_step(dataset, kind):
    """Whether a step is in a `tf.data.Dataset` whose class name contains `kind`."""
    return any(kind in type(step).__name__ for step in _steps(dataset))


def has_flat_map(dataset):
    """Whether a `tf.data.Dataset` has a `flat_map`.

    That of `from_generator`, over a data set of one tensor, is not counted.
    """
    flat = (step for step in _steps(dataset) if "FlatMap" in type(step).__name__)
    return any(
        all("TensorDataset" not in type(before).__name__ for before in step._inputs())
        for step in flat
    )


def is_batched(dataset):
    """Whether a step that makes batches is in a `tf.data.Dataset`, as far as is seen.

    What a function of the user's returns (`flat_map`, `from_generator`) is not.
    """
    kind = type(dataset).__name__
    if re.search("Unbatch|FlatMap|(?<!Directed)Interleave", kind):
        return False
    if re.search("Batch|Rebatch|GroupByWindow", kind):
        return True
    return any(map(is_batched, dataset._inputs()))
