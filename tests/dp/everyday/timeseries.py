"""keras.io/examples/timeseries."""

import keras
import numpy as np
from keras import layers, ops

import tfpriv.dp as dp
from everyday import Case, integers, normal, workflow

CLASSES = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


@workflow("timeseries/timeseries_classification_from_scratch")
def convolutional_timeseries_classification(rng):
    inputs = keras.Input((24, 1))
    x = inputs
    for _ in range(2):
        x = layers.Conv1D(4, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model = dp.replace_batchnorm(model)
    return Case(model, normal(rng, 24, 1), integers(rng, 2), CLASSES)


@workflow("timeseries/timeseries_classification_transformer", exact=True)
def transformer_timeseries_classification(rng):
    inputs = keras.Input((16, 1))
    x = inputs
    for _ in range(2):
        y = layers.MultiHeadAttention(2, 4, dropout=0.25)(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Dropout(0.25)(y)) + x
        y = layers.Dropout(0.25)(layers.Conv1D(4, 1, activation="relu")(x))
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv1D(1, 1)(y)) + x
    x = layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    x = layers.Dropout(0.4)(layers.Dense(8, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    return Case(model, normal(rng, 16, 1), integers(rng, 2), CLASSES)


@workflow("timeseries/timeseries_anomaly_detection")
def anomalies_by_reconstruction(rng):
    options = {"strides": 2, "padding": "same"}
    model = keras.Sequential(
        [
            keras.Input((24, 1)),
            layers.Conv1D(4, 7, activation="relu", **options),
            layers.Dropout(0.2),
            layers.Conv1D(4, 7, activation="relu", **options),
            layers.Conv1DTranspose(4, 7, activation="relu", **options),
            layers.Dropout(0.2),
            layers.Conv1DTranspose(4, 7, activation="relu", **options),
            layers.Conv1DTranspose(1, 7, padding="same"),
        ]
    )
    x = normal(rng, 24, 1)
    return Case(model, x, x, {"loss": "mse"})


@workflow("timeseries/timeseries_weather_forecasting", exact=True)
def weather_by_lstm(rng):
    inputs = keras.Input((10, 4))
    model = keras.Model(inputs, layers.Dense(1)(layers.LSTM(8)(inputs)))
    return Case(model, normal(rng, 10, 4), normal(rng, 1), {"loss": "mse"})


@workflow(
    "timeseries/timeseries_weather_forecasting", refused="batches that are already made"
)
def weather_by_windows_of_one_series(rng):
    windows = keras.utils.timeseries_dataset_from_array(
        rng.normal(size=(40, 4)).astype("float32"),
        rng.normal(size=(40,)).astype("float32"),
        sequence_length=10,
        batch_size=4,
    )
    inputs = keras.Input((10, 4))
    model = keras.Model(inputs, layers.Dense(1)(layers.LSTM(8)(inputs)))
    return Case(model, windows, None, {"loss": "mse"})


class GraphConvolution(layers.Layer):
    """Sums what neighbours send, for every time step, on a fixed road network."""

    def __init__(self, edges, nodes, units, **kwargs):
        super().__init__(**kwargs)
        self.edges, self.nodes, self.units = edges, nodes, units

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1], self.units), name="weight")

    def call(self, features):
        x = ops.transpose(features, (2, 0, 1, 3))  # nodes first
        sent = ops.take(x, self.edges[1], axis=0)
        gathered = ops.segment_sum(sent, self.edges[0], num_segments=self.nodes)
        x = ops.concatenate(
            [ops.matmul(x, self.weight), ops.matmul(gathered, self.weight)], axis=-1
        )
        return ops.transpose(ops.relu(x), (1, 2, 0, 3))


class LSTMGraph(layers.Layer):
    """The graph convolution, and an LSTM over each road's series."""

    def __init__(self, edges, nodes, horizon=2, **kwargs):
        super().__init__(**kwargs)
        self.convolve = GraphConvolution(edges, nodes, 3)
        self.recurrent, self.out = layers.LSTM(4), layers.Dense(horizon)
        self.nodes, self.horizon = nodes, horizon

    def call(self, inputs):
        x = self.convolve(inputs)
        _, steps, _, width = x.shape
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, steps, width))
        x = ops.reshape(self.out(self.recurrent(x)), (-1, self.nodes, self.horizon))
        return ops.transpose(x, (0, 2, 1))


@workflow("timeseries/timeseries_traffic_forecasting")
def traffic_by_graph_and_lstm(rng):
    edges = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])
    inputs = keras.Input((6, 3, 1))
    model = keras.Model(inputs, LSTMGraph(edges, 3)(inputs))
    return Case(model, normal(rng, 6, 3, 1), normal(rng, 2, 3), {"loss": "mse"})


@workflow("timeseries/eeg_signal_classification")
def eeg_classification(rng):
    inputs = keras.Input((64, 1))
    x = inputs
    for width in (4, 8):
        x = layers.Conv1D(width, 3, strides=2, activation="relu")(x)
        x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Flatten()(layers.Conv1D(8, 3, strides=2, activation="relu")(x))
    x = layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2())(
        x
    )
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model = dp.replace_batchnorm(model)
    loss = keras.losses.CategoricalCrossentropy()
    y = keras.utils.to_categorical(integers(rng, 3), 3)
    return Case(model, normal(rng, 64, 1), y, {"loss": loss})
