"""keras.io/examples/structured_data."""

import keras
import numpy as np
from keras import layers, ops

import tfpriv.dp as dp
from everyday import EXAMPLES, Case, integers, normal, workflow

BINARY = {"loss": "binary_crossentropy", "metrics": ["accuracy"]}
CLASSES = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def table(rng):
    """Columns of a table: two numbers and two categories."""
    return {
        "age": normal(rng, 1),
        "hours": normal(rng, 1),
        "job": integers(rng, 5, 1),
        "home": integers(rng, 3, 1),
    }


def inputs_of_table():
    kinds = {"age": "float32", "hours": "float32", "job": "int32", "home": "int32"}
    return {name: keras.Input((1,), name=name, dtype=d) for name, d in kinds.items()}


def embedded(inputs, width=4):
    """Embeddings of the categories, each `(batch, width)`."""
    sizes = {"job": 5, "home": 3}
    return [
        layers.Flatten()(layers.Embedding(size, width)(inputs[name]))
        for name, size in sizes.items()
    ]


@workflow("structured_data/structured_data_classification_from_scratch")
def columns_with_preprocessing_layers(rng):
    x, inputs = table(rng), inputs_of_table()
    scale = layers.Normalization(mean=0.0, variance=1.0)
    encode = layers.CategoryEncoding(num_tokens=5, output_mode="one_hot")
    crossed = layers.HashedCrossing(num_bins=8, output_mode="one_hot")
    features = [
        scale(inputs["age"]),
        inputs["hours"],
        encode(inputs["job"]),
        crossed((inputs["job"], inputs["home"])),
    ]
    y = layers.Dropout(0.5)(layers.Dense(8, "relu")(layers.Concatenate()(features)))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(y))
    return Case(model, x, integers(rng, 2, 1), BINARY)


@workflow(
    "structured_data/structured_data_classification_from_scratch",
    refused="takes numbers",
)
def columns_of_text(rng):
    inputs = {
        "age": keras.Input((1,), name="age"),
        "job": keras.Input((1,), name="job", dtype="string"),
    }
    lookup = layers.StringLookup(vocabulary=["cook", "clerk"], output_mode="one_hot")
    y = layers.Concatenate()([inputs["age"], lookup(inputs["job"])])
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(y))
    x = {"age": normal(rng, 1), "job": np.array([["cook"], ["clerk"]] * 4)}
    return Case(model, x, integers(rng, 2, 1), BINARY)


@workflow("structured_data/imbalanced_classification")
def imbalanced_classification(rng):
    model = keras.Sequential([keras.Input((6,))])
    for _ in range(2):
        model.add(layers.Dense(8, activation="relu"))
        model.add(layers.Dropout(0.3))
    model.add(layers.Dense(1, activation="sigmoid"))
    metrics = [keras.metrics.FalseNegatives(name="fn"), keras.metrics.Recall()]
    options = {"loss": "binary_crossentropy", "metrics": metrics}
    y = integers(rng, 2, 1)
    return Case(model, normal(rng, 6), y, options, {"class_weight": {0: 0.1, 1: 2.0}})


@workflow("structured_data/wide_deep_cross_networks")
def wide_deep_and_cross(rng):
    inputs = inputs_of_table()
    x0 = layers.Concatenate()([inputs["age"], inputs["hours"], *embedded(inputs)])
    cross = x0
    for _ in range(2):
        cross = x0 * layers.Dense(10)(cross) + cross
    cross = layers.BatchNormalization()(cross)
    deep = layers.BatchNormalization()(layers.Dense(8)(x0))
    deep = layers.Dropout(0.1)(layers.ReLU()(deep))
    merged = layers.Concatenate()([cross, deep])
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(merged))
    return Case(dp.replace_batchnorm(model), table(rng), integers(rng, 3), CLASSES)


@workflow("structured_data/tabtransformer")
def tab_transformer(rng):
    inputs = inputs_of_table()
    x = ops.stack(embedded(inputs, 8), axis=1)
    x = x + layers.Embedding(2, 8)(ops.arange(2))
    y = layers.MultiHeadAttention(2, 8, dropout=0.1)(x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(x + y)
    y = layers.Dropout(0.1)(layers.Dense(8, activation="gelu")(x))
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x + y))
    numbers = layers.Concatenate()([inputs["age"], inputs["hours"]])
    numbers = layers.LayerNormalization(epsilon=1e-6)(numbers)
    x = layers.Concatenate()([x, numbers])
    x = layers.Dropout(0.2)(layers.Dense(8, activation="selu")(x))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    weights = {"sample_weight": rng.uniform(0.5, 2.0, (EXAMPLES,))}
    return Case(model, table(rng), integers(rng, 2, 1), BINARY, weights)


class GatedResidual(layers.Layer):
    """Gated linear units with a skip connection."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(units, activation="elu")
        self.second, self.linear = layers.Dense(units), layers.Dense(units)
        self.gate = layers.Dense(units, activation="sigmoid")
        self.project = layers.Dense(units)
        self.drop, self.normalise = layers.Dropout(0.1), layers.LayerNormalization()

    def call(self, inputs):
        x = self.drop(self.second(self.first(inputs)))
        return self.normalise(self.project(inputs) + self.gate(x) * self.linear(x))


class VariableSelection(layers.Layer):
    """Weighs features by a softmax over all of them."""

    def __init__(self, count, units, **kwargs):
        super().__init__(**kwargs)
        self.single = [GatedResidual(units) for _ in range(count)]
        self.joint = GatedResidual(units)
        self.softmax = layers.Dense(count, activation="softmax")

    def call(self, inputs):
        weights = self.softmax(self.joint(ops.concatenate(inputs, axis=-1)))
        pairs = zip(self.single, inputs, strict=True)
        features = ops.stack([grn(x) for grn, x in pairs], axis=1)
        return ops.sum(weights[..., None] * features, axis=1)


@workflow("structured_data/classification_with_grn_and_vsn")
def gated_residual_and_variable_selection(rng):
    inputs = inputs_of_table()
    numbers = [layers.Dense(4)(inputs["age"]), layers.Dense(4)(inputs["hours"])]
    x = VariableSelection(4, 4)([*numbers, *embedded(inputs)])
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    return Case(model, table(rng), integers(rng, 2, 1), BINARY)


class DecisionTree(layers.Layer):
    """A soft decision tree of depth 2 over some of the features."""

    def __init__(self, used, classes=3, **kwargs):
        super().__init__(**kwargs)
        self.mask = np.eye(10, dtype="float32")[used]
        self.decide = layers.Dense(4, activation="sigmoid")
        self.classes = classes

    def build(self, shape):
        self.leaves = self.add_weight(shape=(4, self.classes), name="leaves")
        self.decide.build((shape[0], len(self.mask)))

    def call(self, features):
        x = ops.matmul(features, self.mask.T)
        decisions = ops.expand_dims(self.decide(x), 2)
        decisions = ops.concatenate([decisions, 1 - decisions], axis=2)
        mu = ops.ones_like(features[:, :1])[..., None]
        begin = 1
        for level in range(2):
            mu = ops.repeat(ops.reshape(mu, (-1, begin, 1)), 2, axis=2)
            mu = mu * decisions[:, begin : 2 * begin]
            begin *= 2
            del level
        mu = ops.reshape(mu, (-1, 4))
        return ops.matmul(mu, ops.softmax(self.leaves))


@workflow("structured_data/deep_neural_decision_forests")
def neural_decision_forest(rng):
    inputs = inputs_of_table()
    x = layers.Concatenate()([inputs["age"], inputs["hours"], *embedded(inputs)])
    x = layers.BatchNormalization()(x)
    used = [rng.choice(10, 6, replace=False) for _ in range(3)]
    model = dp.replace_batchnorm(keras.Model(inputs, x))
    trees = [DecisionTree(features)(model.output) for features in used]
    model = keras.Model(model.inputs, layers.Average()(trees))
    model = keras.Model(inputs, model([inputs[i.name] for i in model.inputs]))
    return Case(model, table(rng), integers(rng, 3), CLASSES)


@workflow("structured_data/movielens_recommendations_transformers")
def behaviour_sequence_transformer(rng):
    inputs = {
        "user": keras.Input((1,), name="user", dtype="int32"),
        "movies": keras.Input((4,), name="movies", dtype="int32"),
        "ratings": keras.Input((4,), name="ratings"),
    }
    movies = layers.Embedding(9, 8)(inputs["movies"])
    positions = layers.Embedding(4, 8)(ops.arange(4))
    x = (movies + positions) * inputs["ratings"][..., None]
    y = layers.Dropout(0.1)(layers.MultiHeadAttention(2, 8, dropout=0.1)(x, x))
    x = layers.LayerNormalization()(x + y)
    y = layers.LeakyReLU()(layers.Dense(8)(x))
    x = layers.Flatten()(layers.LayerNormalization()(x + layers.Dropout(0.1)(y)))
    user = layers.Flatten()(layers.Embedding(7, 4)(inputs["user"]))
    x = layers.Dense(8)(layers.Concatenate()([x, user]))
    x = layers.Dropout(0.1)(layers.LeakyReLU()(layers.BatchNormalization()(x)))
    model = dp.replace_batchnorm(keras.Model(inputs, layers.Dense(1)(x)))
    x = {
        "user": integers(rng, 7, 1),
        "movies": integers(rng, 9, 4),
        "ratings": normal(rng, 4),
    }
    options = {"loss": "mse", "metrics": [keras.metrics.MeanAbsoluteError()]}
    return Case(model, x, normal(rng, 1), options)


class Recommender(keras.Model):
    """A dot product of two embeddings with biases, and a regulariser."""

    def __init__(self, users=6, movies=9, width=4):
        super().__init__()
        options = {"embeddings_regularizer": keras.regularizers.l2(1e-6)}
        self.user = layers.Embedding(users, width, **options)
        self.movie = layers.Embedding(movies, width, **options)
        self.user_bias = layers.Embedding(users, 1)
        self.movie_bias = layers.Embedding(movies, 1)

    def call(self, inputs):
        user, movie = self.user(inputs[:, 0]), self.movie(inputs[:, 1])
        dot = ops.sum(user * movie, axis=1, keepdims=True)
        bias = self.user_bias(inputs[:, 0]) + self.movie_bias(inputs[:, 1])
        return ops.sigmoid(dot + bias)


@workflow("structured_data/collaborative_filtering_movielens", exact=True)
def collaborative_filtering(rng):
    x = np.stack([integers(rng, 6), integers(rng, 9)], axis=1)
    y = rng.uniform(size=(EXAMPLES, 1)).astype("float32")
    return Case(Recommender(), x, y, {"loss": keras.losses.BinaryCrossentropy()})


class InBatchSoftmax(keras.losses.Loss):
    """Every other example of the batch is a negative."""

    def call(self, y_true, y_pred):
        users, movies = y_pred[:, :4], y_pred[:, 4:]
        scores = ops.matmul(users, ops.transpose(movies))
        return keras.losses.categorical_crossentropy(
            ops.eye(ops.shape(scores)[0]), scores, from_logits=True
        )


@workflow("keras_rs/basic_retrieval", refused="compares the examples")
def two_towers_with_negatives_from_the_batch(rng):
    ids = keras.Input((2,), dtype="int32")
    user = layers.Embedding(6, 4)(ids[:, 0])
    movie = layers.Embedding(9, 4)(ids[:, 1])
    model = keras.Model(ids, layers.Concatenate()([user, movie]))
    x = np.stack([integers(rng, 6), integers(rng, 9)], axis=1)
    return Case(model, x, normal(rng, 1), {"loss": InBatchSoftmax()})


@workflow("keras_rs/basic_ranking")
def two_towers_that_rank(rng):
    user = keras.Input((1,), dtype="int32", name="user")
    movie = keras.Input((1,), dtype="int32", name="movie")
    both = [
        layers.Flatten()(layers.Embedding(6, 4)(user)),
        layers.Flatten()(layers.Embedding(9, 4)(movie)),
    ]
    x = layers.Dense(8, activation="relu")(layers.Concatenate()(both))
    model = keras.Model({"user": user, "movie": movie}, layers.Dense(1)(x))
    x = {"user": integers(rng, 6, 1), "movie": integers(rng, 9, 1)}
    return Case(model, x, normal(rng, 1), {"loss": "mse"})


@workflow("structured_data/feature_space")
def feature_space(rng):
    space = keras.utils.FeatureSpace(
        features={
            "age": keras.utils.FeatureSpace.float_rescaled(scale=0.5),
            "home": keras.utils.FeatureSpace.integer_hashed(num_bins=4),
        },
        output_mode="concat",
    )
    x = table(rng)
    x = {"age": x["age"], "home": x["home"]}
    space.adapt(_as_dataset(x))
    encoded = space.get_encoded_features()
    y = layers.Dropout(0.5)(layers.Dense(8, activation="relu")(encoded))
    model = keras.Model(encoded, layers.Dense(1, activation="sigmoid")(y))
    features = np.asarray(space({name: column[:, 0] for name, column in x.items()}))
    return Case(model, features, integers(rng, 2, 1), BINARY)


def _as_dataset(x):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices({k: v[:, 0] for k, v in x.items()})
