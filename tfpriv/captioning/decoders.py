"""Features and the words so far to the next word: a transformer, or the classic GRU.

Both take `(B, K, T)` tokens, all captions of a picture together, and a memory
`(B, N, D)`, and give logits `(B, K, T, V)`. Captions of a picture do not see each
other, and no layer mixes pictures.
"""

import keras
import keras_hub
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tfpriv")
class TransformerCaptions(keras.layers.Layer):
    """KerasHub's embedding and decoder layers; causal within each caption.

    Args:
        vocabulary_size: Number of tokens, V.
        max_tokens: Longest caption, T.
        width: Size of the hidden vectors, D.
        layers: Number of decoder layers.
        heads: Attention heads; must divide `width`.
    """

    def __init__(
        self, vocabulary_size, max_tokens, width=64, layers=1, heads=4, **kwargs
    ):
        super().__init__(**kwargs)
        self.arguments = {
            "vocabulary_size": vocabulary_size,
            "max_tokens": max_tokens,
            "width": width,
            "layers": layers,
            "heads": heads,
        }
        self.embedding = keras_hub.layers.TokenAndPositionEmbedding(
            vocabulary_size, max_tokens, width, name="embedding"
        )
        self.blocks = [
            keras_hub.layers.TransformerDecoder(
                2 * width,
                heads,
                activation="gelu",
                normalize_first=True,
                name=f"block_{i}",
            )
            for i in range(layers)
        ]
        self.norm = keras.layers.LayerNormalization(name="norm")
        self.head = keras.layers.Dense(vocabulary_size, name="head")

    def build(self, tokens_shape, memory_shape):
        width = self.arguments["width"]
        self.embedding.build((None, tokens_shape[-1]))
        for block in self.blocks:
            block.build((None, None, width), memory_shape)
        self.norm.build((None, None, width))
        self.head.build((None, None, width))

    def call(self, tokens, memory):
        _, captions, length = tokens.shape
        width = self.arguments["width"]
        x = self.embedding(ops.reshape(tokens, (-1, length)))
        # The captions of a picture lie end to end in one sequence: so the memory is
        # projected to keys and values once, not once a caption. The mask keeps them
        # apart.
        x = ops.reshape(x, (-1, captions * length, width))
        own = np.kron(np.eye(captions), np.tril(np.ones((length, length))))
        mask = ops.convert_to_tensor(own[None].astype("bool"))
        for block in self.blocks:
            x = block(x, memory, decoder_attention_mask=mask, use_causal_mask=False)
        logits = self.head(self.norm(x))
        size = self.arguments["vocabulary_size"]
        return ops.reshape(logits, (-1, captions, length, size))

    def compute_output_shape(self, tokens_shape, memory_shape):
        return (*tokens_shape, self.arguments["vocabulary_size"])

    def get_config(self):
        return super().get_config() | self.arguments


@keras.saving.register_keras_serializable("tfpriv")
class RecurrentCaptions(keras.layers.Layer):
    """GRU with Bahdanau's additive attention, stepped by hand.

    `keras.layers.GRU` behind a mask cannot be vectorised over examples; a plain loop
    over the steps of one `GRUCell` can.

    Args:
        vocabulary_size: Number of tokens, V.
        max_tokens: Longest caption, T.
        width: Size of the hidden vectors, D.

    Reference:
        Bahdanau, Cho, Bengio, "Neural machine translation by jointly learning to align
        and translate", 2015; Xu et al., "Show, attend and tell", 2015.
    """

    def __init__(self, vocabulary_size, max_tokens, width=64, **kwargs):
        super().__init__(**kwargs)
        self.arguments = {
            "vocabulary_size": vocabulary_size,
            "max_tokens": max_tokens,
            "width": width,
        }
        self.embedding = keras.layers.Embedding(
            vocabulary_size, width, name="embedding"
        )
        self.start = keras.layers.Dense(width, activation="tanh", name="start")
        self.query = keras.layers.Dense(width, use_bias=False, name="query")
        self.key = keras.layers.Dense(width, name="key")
        self.score = keras.layers.Dense(1, use_bias=False, name="score")
        self.cell = keras.layers.GRUCell(width, reset_after=False, name="cell")
        self.head = keras.layers.Dense(vocabulary_size, name="head")

    def build(self, tokens_shape, memory_shape):
        width = self.arguments["width"]
        self.embedding.build((None, None))
        for layer in (self.start, self.query, self.score):
            layer.build((None, width))
        self.key.build(memory_shape)
        self.cell.build((None, 2 * width))
        self.head.build((None, 2 * width))

    def call(self, tokens, memory):
        _, captions, length = tokens.shape
        width = self.arguments["width"]
        words = self.embedding(tokens)  # (B, K, T, D)
        keys = self.key(memory)[:, None]  # (B, 1, N, D)
        state = self.start(ops.mean(memory, axis=1))[:, None]
        state = ops.repeat(state, captions, axis=1)  # (B, K, D)
        outputs = []
        for t in range(length):
            context = self.attend(state, keys, memory)
            step = ops.concatenate([words[:, :, t], context], axis=-1)
            flat, _ = self.cell(
                ops.reshape(step, (-1, 2 * width)), [ops.reshape(state, (-1, width))]
            )
            state = ops.reshape(flat, (-1, captions, width))
            outputs.append(ops.concatenate([state, context], axis=-1))
        return self.head(ops.stack(outputs, axis=2))

    def attend(self, state, keys, memory):
        """State (B, K, D), keys (B, 1, N, D), memory (B, N, D) -> context (B, K, D)."""
        energy = self.score(ops.tanh(keys + self.query(state)[:, :, None]))
        return ops.matmul(ops.softmax(energy[..., 0], axis=-1), memory)

    def compute_output_shape(self, tokens_shape, memory_shape):
        return (*tokens_shape, self.arguments["vocabulary_size"])

    def get_config(self):
        return super().get_config() | self.arguments


DECODERS = {"transformer": TransformerCaptions, "gru": RecurrentCaptions}
