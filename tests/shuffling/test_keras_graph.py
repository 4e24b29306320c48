"""The private names of Keras are where `keras_graph` looks for them."""

import keras
import numpy as np
from keras import layers

from tfpriv.shuffling import keras_graph


def run(graph, x):
    """Runs a graph call by call."""
    values = {id(graph.inputs[0]): x}
    for call in keras_graph.calls(graph):
        args, kwargs = call.fill_in(values)
        outputs = keras.tree.flatten(call.operation(*args, **kwargs))
        values.update(zip(map(id, call.outputs), outputs, strict=True))
    return keras_graph.pack_outputs(graph, [values[id(y)] for y in graph.outputs])


def test_calls_in_order_make_the_model():
    inputs = keras.Input((4,))
    x = layers.Dense(3)(inputs)
    y = keras.ops.relu(x) + np.ones(3, "float32")
    model = keras.Model(inputs, {"sum": layers.Add()([x, y]), "y": y})
    data = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    found, wanted = run(keras_graph.graph_of(model), data), model(data)
    assert sorted(found) == ["sum", "y"]
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])
    constants = [c for call in keras_graph.calls(model) for c in call.constants]
    assert [np.shape(c) for c in constants if np.ndim(c)] == [(3,)]


def test_sequential_models_have_a_graph_once_built():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    assert len(keras_graph.calls(keras_graph.graph_of(model))) == 1


class OfOnesOwn(keras.Model):
    def call(self, x):
        return x


class WithAnotherCall(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x)


def test_models_that_run_code_of_their_own_have_none():
    assert keras_graph.graph_of(OfOnesOwn()) is None
    assert keras_graph.graph_of(WithAnotherCall([keras.Input((2,))])) is None
    assert keras_graph.graph_of(layers.Dense(1)) is None
