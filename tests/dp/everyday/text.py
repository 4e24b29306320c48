"""keras.io/examples/nlp."""

import keras
import numpy as np
from keras import layers, ops

from everyday import Case, integers, workflow
from everyday.vision import OwnTrainStep

VOCABULARY = 20
BINARY = {"loss": "binary_crossentropy", "metrics": ["accuracy"]}
TOKENS = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}


class TokenAndPosition(layers.Layer):
    """Embeds tokens and their positions."""

    def __init__(self, width=8, vocabulary=VOCABULARY, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(vocabulary, width)
        self.width = width

    def build(self, shape):
        self.positions = layers.Embedding(shape[-1], self.width)
        self.tokens.build(shape)
        self.positions.build(None)

    def call(self, inputs):
        return self.tokens(inputs) + self.positions(ops.arange(inputs.shape[-1]))


class Block(layers.Layer):
    """A post-norm transformer block."""

    def __init__(self, width=8, heads=2, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.causal = causal
        self.attention = layers.MultiHeadAttention(heads, width)
        self.feed = keras.Sequential(
            [layers.Dense(2 * width, activation="relu"), layers.Dense(width)]
        )
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.drops = [layers.Dropout(0.1) for _ in range(2)]

    def call(self, inputs, training=None):
        y = self.attention(inputs, inputs, use_causal_mask=self.causal)
        x = self.norms[0](inputs + self.drops[0](y, training=training))
        return self.norms[1](x + self.drops[1](self.feed(x), training=training))


def tokens(rng, steps=8):
    return integers(rng, VOCABULARY, steps, start=1)


@workflow("nlp/text_classification_from_scratch", exact=True)
def text_classification_from_scratch(rng):
    inputs = keras.Input((None,), dtype="int64")
    x = layers.Dropout(0.5)(layers.Embedding(VOCABULARY, 8)(inputs))
    for _ in range(2):
        x = layers.Conv1D(8, 3, padding="valid", activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dropout(0.5)(layers.Dense(8, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    return Case(model, tokens(rng), integers(rng, 2, 1), BINARY)


@workflow("nlp/text_classification_from_scratch", refused="takes numbers")
def text_classification_end_to_end(rng):
    vectorize = layers.TextVectorization(
        vocabulary=["good", "bad"], output_sequence_length=4
    )
    inputs = keras.Input((1,), dtype="string")
    x = layers.GlobalMaxPooling1D()(layers.Embedding(4, 8)(vectorize(inputs)))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    texts = np.array([["good film"], ["bad film"]] * 4, dtype=object)
    return Case(model, texts, integers(rng, 2, 1), BINARY)


@workflow("nlp/bidirectional_lstm_imdb", exact=True)
def bidirectional_lstm(rng):
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 8)(inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(4))(x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    return Case(model, tokens(rng, 6), integers(rng, 2, 1), BINARY)


@workflow("nlp/text_classification_with_transformer", exact=True)
def transformer_text_classification(rng):
    inputs = keras.Input((8,))
    x = layers.GlobalAveragePooling1D()(Block()(TokenAndPosition()(inputs)))
    x = layers.Dropout(0.1)(layers.Dense(8, activation="relu")(layers.Dropout(0.1)(x)))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return Case(model, tokens(rng), integers(rng, 2), options)


@workflow("nlp/pretrained_word_embeddings")
def pretrained_word_embeddings(rng):
    table = layers.Embedding(VOCABULARY, 8, trainable=False)
    table.build((1,))
    table.set_weights([rng.normal(size=(VOCABULARY, 8))])
    inputs = keras.Input((None,), dtype="int64")
    x = layers.Conv1D(8, 3, activation="relu")(table(inputs))
    x = layers.GlobalMaxPooling1D()(layers.MaxPooling1D(2)(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["acc"]}
    return Case(model, tokens(rng), integers(rng, 3), options)


@workflow("nlp/fnet_classification_with_keras_hub")
def fnet_text_classification(rng):
    inputs = keras.Input((8,), dtype="int64")
    x = TokenAndPosition()(inputs)
    real, _ = ops.fft2((x, ops.zeros_like(x)))
    x = layers.LayerNormalization()(x + real)
    y = layers.Dense(8)(layers.Dense(16, activation="relu")(x))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x + y))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    return Case(model, tokens(rng), integers(rng, 2, 1), BINARY)


@workflow("nlp/lstm_seq2seq")
def character_sequences_by_lstm(rng):
    source, target = keras.Input((None, 6)), keras.Input((None, 6))
    _, h, c = layers.LSTM(8, return_state=True)(source)
    x, _, _ = layers.LSTM(8, return_sequences=True, return_state=True)(
        target, initial_state=[h, c]
    )
    model = keras.Model([source, target], layers.Dense(6, activation="softmax")(x))
    one_hot = np.eye(6, dtype="float32")
    x = [one_hot[integers(rng, 6, 5)], one_hot[integers(rng, 6, 4)]]
    options = {"loss": "categorical_crossentropy", "metrics": ["accuracy"]}
    return Case(model, x, one_hot[integers(rng, 6, 4)], options)


@workflow("nlp/addition_rnn")
def addition_by_lstm(rng):
    model = keras.Sequential([keras.Input((7, 12)), layers.LSTM(8)])
    model.add(layers.RepeatVector(4))
    model.add(layers.LSTM(8, return_sequences=True))
    model.add(layers.Dense(12, activation="softmax"))
    one_hot = np.eye(12, dtype="float32")
    x, y = one_hot[integers(rng, 12, 7)], one_hot[integers(rng, 12, 4)]
    return Case(model, x, y, {"loss": "categorical_crossentropy"})


class Decoder(layers.Layer):
    """A transformer's decoder block with two attentions and a padding mask."""

    def __init__(self, width=8, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.own = layers.MultiHeadAttention(heads, width)
        self.cross = layers.MultiHeadAttention(heads, width)
        self.feed = layers.Dense(width, activation="relu")
        self.norms = [layers.LayerNormalization() for _ in range(3)]

    def call(self, inputs, mask=None):
        x, encoded = inputs
        padding = None if mask is None else mask[1]
        y = self.own(x, x, use_causal_mask=True)
        x = self.norms[0](x + y)
        y = self.cross(x, encoded, encoded, key_mask=padding)
        x = self.norms[1](x + y)
        return self.norms[2](x + self.feed(x))


@workflow("nlp/neural_machine_translation_with_transformer")
def translation_by_transformer(rng):
    source = keras.Input((None,), dtype="int64", name="encoder_inputs")
    target = keras.Input((None,), dtype="int64", name="decoder_inputs")
    encoded = layers.Embedding(VOCABULARY, 8, mask_zero=True)(source)
    y = layers.MultiHeadAttention(2, 8)(encoded, encoded)
    encoded = layers.LayerNormalization()(encoded + y)
    x = layers.Embedding(VOCABULARY, 8)(target)
    x = layers.Dropout(0.5)(Decoder()([x, encoded]))
    x = layers.Dense(VOCABULARY, activation="softmax")(x)
    model = keras.Model({"encoder_inputs": source, "decoder_inputs": target}, x)
    x = {"encoder_inputs": tokens(rng, 6), "decoder_inputs": tokens(rng, 5)}
    x["encoder_inputs"][:, 4:] = 0
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=0)
    return Case(model, x, tokens(rng, 5), {"loss": loss})


@workflow("nlp/masked_language_modeling", refused="`train_step` of its own")
def masked_language_model_with_a_train_step(rng):
    model = keras.Sequential(
        [layers.Embedding(VOCABULARY, 8), layers.Dense(VOCABULARY)]
    )
    return Case(OwnTrainStep(model), tokens(rng), tokens(rng), TOKENS)


@workflow("nlp/masked_language_modeling")
def masked_language_model_with_sample_weights(rng):
    inputs = keras.Input((8,), dtype="int64")
    x = Block()(TokenAndPosition()(inputs))
    model = keras.Model(inputs, layers.Dense(VOCABULARY, activation="softmax")(x))
    y, chosen = tokens(rng), integers(rng, 2, 8)
    chosen[:, 0] = 1
    x = np.where(chosen, VOCABULARY - 1, y)
    options = {"loss": "sparse_categorical_crossentropy"}
    weights = {"sample_weight": chosen.astype("float32")}
    return Case(model, x, y, options, weights)


@workflow("generative/text_generation_with_miniature_gpt", exact=True)
def miniature_gpt(rng):
    inputs = keras.Input((8,), dtype="int32")
    x = Block(causal=True)(TokenAndPosition()(inputs))
    model = keras.Model(inputs, layers.Dense(VOCABULARY)(x))
    ids = tokens(rng, 9)
    return Case(model, ids[:, :-1], ids[:, 1:], TOKENS)


@workflow("generative/text_generation_with_miniature_gpt")
def miniature_gpt_that_returns_its_embeddings(rng):
    inputs = keras.Input((8,), dtype="int32")
    x = Block(causal=True)(TokenAndPosition()(inputs))
    model = keras.Model(inputs, [layers.Dense(VOCABULARY)(x), x])
    ids = tokens(rng, 9)
    return Case(model, ids[:, :-1], ids[:, 1:], {"loss": [TOKENS["loss"], None]})


class NonPaddingLoss(keras.losses.Loss):
    """Cross-entropy over the tokens that are not padding."""

    def call(self, y_true, y_pred):
        loss = keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
        mask = ops.cast(y_true > 0, "float32")
        return ops.sum(loss * mask) / ops.maximum(ops.sum(mask), 1.0)


@workflow("nlp/ner_transformers")
def named_entities_with_a_loss_over_the_batch(rng):
    return named_entities(rng, NonPaddingLoss())


class NonPaddingLossPerExample(NonPaddingLoss):
    """The same, for each sentence."""

    def call(self, y_true, y_pred):
        loss = keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
        mask = ops.cast(y_true > 0, "float32")
        return ops.sum(loss * mask, -1) / ops.maximum(ops.sum(mask, -1), 1.0)


@workflow("nlp/ner_transformers")
def named_entities_with_a_loss_per_sentence(rng):
    return named_entities(rng, NonPaddingLossPerExample())


class Tagger(keras.Model):
    """A subclassed model, built by its first call."""

    def __init__(self):
        super().__init__()
        self.embed, self.block = TokenAndPosition(), Block()
        self.hidden = layers.Dense(8, activation="relu")
        self.out = layers.Dense(5, activation="softmax")
        self.drop = layers.Dropout(0.1)

    def call(self, inputs, training=False):
        x = self.block(self.embed(inputs), training=training)
        x = self.hidden(self.drop(x, training=training))
        return self.out(self.drop(x, training=training))


def named_entities(rng, loss):
    x, y = tokens(rng), integers(rng, 5, 8)
    x[:, 6:] = y[:, 6:] = 0
    y[:, 0] = 1
    return Case(Tagger(), x, y, {"loss": loss})


@workflow("nlp/semantic_similarity_with_bert")
def similarity_of_two_sentences(rng):
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [keras.Input((8,), dtype="int32", name=name) for name in names]
    ids, mask, kinds = inputs
    x = layers.Embedding(VOCABULARY, 8)(ids) + layers.Embedding(2, 8)(kinds)
    allowed = ops.cast(mask, "bool")[:, None, :]
    x = x + layers.MultiHeadAttention(2, 4)(x, x, attention_mask=allowed)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    pooled = [layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)]
    x = layers.Dropout(0.3)(layers.Concatenate()(pooled))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    ones = np.ones((len(tokens(rng)), 8), "int32")
    y = keras.utils.to_categorical(integers(rng, 3), 3)
    x = [tokens(rng), ones, integers(rng, 2, 8)]
    return Case(model, x, y, {"loss": "categorical_crossentropy", "metrics": ["acc"]})


@workflow("nlp/text_extraction_with_bert")
def span_of_an_answer(rng):
    inputs = keras.Input((8,), dtype="int32")
    x = Block()(TokenAndPosition()(inputs))
    spans = [
        layers.Activation("softmax")(
            layers.Flatten()(layers.Dense(1, use_bias=False)(x))
        )
        for _ in ("start", "end")
    ]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=False)
    y = [integers(rng, 8), integers(rng, 8)]
    return Case(keras.Model(inputs, spans), tokens(rng), y, {"loss": [loss, loss]})


class Switch(layers.Layer):
    """Sends each token to the one expert that its router prefers."""

    def __init__(self, experts=2, width=8, **kwargs):
        super().__init__(**kwargs)
        self.count = experts
        self.experts = [layers.Dense(width, activation="relu") for _ in range(experts)]
        self.router = layers.Dense(experts)

    def call(self, inputs):
        chances = ops.softmax(self.router(inputs))
        chosen = ops.one_hot(ops.argmax(chances, -1), self.count)
        shares = ops.mean(chosen, axis=1) * ops.mean(chances, axis=1)
        self.add_loss(0.01 * ops.mean(ops.sum(shares, -1)) * self.count)
        outputs = ops.stack([expert(inputs) for expert in self.experts], axis=-2)
        return ops.sum(outputs * (chosen * chances)[..., None], axis=-2)


@workflow("nlp/text_classification_with_switch_transformer")
def switch_transformer(rng):
    inputs = keras.Input((8,))
    x = TokenAndPosition()(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    x = layers.LayerNormalization()(x + Switch()(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return Case(model, tokens(rng), integers(rng, 2), options)


@workflow("nlp/multi_label_classification")
def several_labels_per_text(rng):
    model = keras.Sequential(
        [
            keras.Input((VOCABULARY,)),
            layers.Dense(16, activation="relu"),
            layers.Dense(8, activation="relu"),
            layers.Dense(5, activation="sigmoid"),
        ]
    )
    x, y = integers(rng, 2, VOCABULARY), integers(rng, 2, 5)
    options = {"loss": "binary_crossentropy", "metrics": ["binary_accuracy"]}
    return Case(model, x.astype("float32"), y.astype("float32"), options)
