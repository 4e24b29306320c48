"""keras.io/examples/audio."""

import keras
from keras import layers, ops

import tfpriv.dp as dp
from everyday import Case, integers, normal, workflow
from everyday.text import Decoder
from everyday.vision import OwnTrainStep


def ctc(y_true, y_pred):
    """Connectionist temporal classification, one value per example."""
    size = ops.shape(y_true)[0]
    return ops.ctc_loss(
        ops.cast(y_true, "int32"),
        ops.log(y_pred + 1e-7),
        ops.full((size,), y_true.shape[1], dtype="int32"),
        ops.full((size,), y_pred.shape[1], dtype="int32"),
        mask_index=0,
    )


@workflow("audio/ctc_asr")
def speech_recognition_with_ctc(rng):
    inputs = keras.Input((8, 9))
    x = layers.Reshape((8, 9, 1))(inputs)
    for _ in range(2):
        x = layers.Conv2D(2, 3, strides=(1, 2), padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape((8, 6))(x)
    recurrent = layers.GRU(4, return_sequences=True, reset_after=True)
    x = layers.Dropout(0.5)(layers.Bidirectional(recurrent)(x))
    x = layers.Dense(7, activation="softmax")(layers.Dense(8, activation="relu")(x))
    model = dp.replace_batchnorm(keras.Model(inputs, x))
    return Case(model, normal(rng, 8, 9), integers(rng, 7, 3, start=1), {"loss": ctc})


@workflow("audio/speaker_recognition_using_cnn", exact=True)
def speaker_recognition(rng):
    inputs = keras.Input((32, 1))
    x = inputs
    for width in (4, 8):
        shortcut = layers.Conv1D(width, 1, padding="same")(x)
        x = layers.Conv1D(width, 3, padding="same", activation="relu")(x)
        x = layers.Conv1D(width, 3, padding="same")(x)
        x = layers.MaxPool1D(2, 2)(layers.Activation("relu")(x + shortcut))
    x = layers.Flatten()(layers.AveragePooling1D(3, 3)(x))
    x = layers.Dense(8, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return Case(model, normal(rng, 32, 1), integers(rng, 3), options)


@workflow("audio/transformer_asr", refused="`train_step` of its own")
def transformer_speech_recognition_with_a_train_step(rng):
    model = keras.Sequential([layers.Dense(4)])
    return Case(OwnTrainStep(model), normal(rng, 8, 4), None, {"loss": "mse"})


@workflow("audio/transformer_asr")
def transformer_speech_recognition(rng):
    source = keras.Input((16, 6), name="source")
    target = keras.Input((5,), dtype="int32", name="target")
    x = source
    for _ in range(2):
        x = layers.Conv1D(8, 5, strides=2, padding="same", activation="relu")(x)
    y = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.LayerNormalization()(x + y)
    y = layers.Embedding(9, 8)(target)
    x = layers.Dense(9)(Decoder()([y, x]))
    model = keras.Model({"source": source, "target": target}, x)
    ids = integers(rng, 9, 6, start=1)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    y = keras.utils.to_categorical(ids[:, 1:], 9)
    x = {"source": normal(rng, 16, 6), "target": ids[:, :-1]}
    return Case(model, x, y, {"loss": loss})


@workflow("audio/stft")
def spectrogram_in_the_model(rng):
    inputs = keras.Input((256,))
    x = layers.MelSpectrogram(
        fft_length=64,
        sequence_stride=32,
        num_mel_bins=8,
        sampling_rate=1000,
        max_freq=500,
    )(inputs)
    x = layers.Conv2D(4, 3, activation="relu")(ops.expand_dims(x, -1))
    x = layers.GlobalMaxPooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return Case(model, normal(rng, 256), integers(rng, 3), options)


@workflow("audio/uk_ireland_accent_recognition")
def accent_from_embeddings(rng):
    inputs = keras.Input((12,), name="embedding")
    x = inputs
    for width in (16, 8):
        x = layers.Dropout(0.2)(layers.Dense(width, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
    loss = keras.losses.CategoricalCrossentropy()
    y = keras.utils.to_categorical(integers(rng, 4), 4)
    weights = {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0}}
    metrics = ["accuracy", keras.metrics.AUC(name="auc")]
    return Case(model, normal(rng, 12), y, {"loss": loss, "metrics": metrics}, weights)


@workflow("audio/melgan_spectrogram_inversion", refused="`train_step` of its own")
def melgan(rng):
    return Case(OwnTrainStep(keras.Sequential([layers.Dense(4)])), normal(rng, 8, 4))
