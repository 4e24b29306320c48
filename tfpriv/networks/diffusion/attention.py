"""Attention that never holds the weights of all heads and queries at once."""

import math

import keras
from keras import ops

from tfpriv.networks.diffusion.blocks import Block, GroupNorm

# Attention weights held at a time: 64 MiB in float32. Those of a 512-pixel picture's
# first level, all heads together, would be eight times that for each picture.
MAX_WEIGHTS = 1 << 24


def attend(queries, keys, values, max_weights: int = MAX_WEIGHTS):
    """Scaled dot-product attention, so many queries at a time that memory suffices.

    Args:
        queries: `(n, heads, t, d)`.
        keys: `(n, heads, s, d)`.
        values: `(n, heads, s, d)`.
        max_weights: How many attention weights may be held at a time, for one picture
            if n is not known, where t and s are; one query's are held in any case.

    Returns:
        `(n, heads, t, d)`.
    """
    keys = ops.transpose(keys, (0, 1, 3, 2)) * (1 / math.sqrt(queries.shape[-1]))

    def attended(chosen):
        weights = ops.softmax(ops.cast(ops.matmul(chosen, keys), "float32"))
        return ops.matmul(ops.cast(weights, values.dtype), values)

    chunks = _chunks(queries.shape, keys.shape[-1], max_weights)
    if chunks == 1:
        return attended(queries)
    _, heads, count, size = queries.shape
    split = ops.reshape(queries, (-1, heads, chunks, count // chunks, size))
    result = _one_by_one(attended, ops.transpose(split, (2, 0, 1, 3, 4)))
    result = ops.transpose(result, (1, 2, 0, 3, 4))
    return ops.reshape(result, (-1, heads, count, size))


def _chunks(shape, keys, max_weights):
    """Into how many equal parts the queries are cut."""
    batch, heads, count, _ = shape
    if count is None or keys is None:
        return 1
    wanted = (batch or 1) * heads * count * keys / max_weights
    return next(
        n for n in range(1, count + 1) if count % n == 0 and n >= min(wanted, count)
    )


def _one_by_one(function, chunks):
    """Maps chunks in turn: side by side they would all be held."""
    if keras.backend.backend() != "tensorflow":
        return ops.map(function, chunks)
    import tensorflow as tf

    shape = tf.TensorSpec(chunks.shape[1:], chunks.dtype)
    return tf.map_fn(function, chunks, parallel_iterations=1, fn_output_signature=shape)


class Attention(Block):
    """Attention of several heads, to the places themselves or to a context.

    Args:
        channels: That come in and go out.
        heads: Of the attention.
        biased: Whether queries, keys and values have biases (as in the VAE).
    """

    def __init__(self, channels: int, heads: int, biased: bool = False, **options):
        super().__init__(**options)
        if channels % heads:
            raise ValueError(
                f"The channels must be a multiple of the heads. Received: "
                f"{channels} channels and {heads} heads"
            )
        self.channels, self.heads = channels, heads

        def dense(name, use_bias):
            layer = keras.layers.Dense(
                channels, use_bias=use_bias, dtype=self.dtype_policy
            )
            return self.add(name, layer)

        self.to_queries = dense("to_q", biased)
        self.to_keys = dense("to_k", biased)
        self.to_values = dense("to_v", biased)
        self.to_output = dense("to_out.0", True)

    def build(self, shape, context_shape=None):
        """Builds the four products."""
        self.to_queries.build(shape)
        self.to_keys.build(context_shape or shape)
        self.to_values.build(context_shape or shape)
        self.to_output.build((*shape[:-1], self.channels))

    def call(self, x, context=None):
        """Maps `(n, t, channels)`, looking at a context `(n, s, c)` or at itself."""
        context = x if context is None else context
        queries = self._by_head(self.to_queries(x))
        keys = self._by_head(self.to_keys(context))
        values = self._by_head(self.to_values(context))
        result = ops.transpose(attend(queries, keys, values), (0, 2, 1, 3))
        count = -1 if x.shape[1] is None else x.shape[1]
        return self.to_output(
            ops.reshape(result, (ops.shape(x)[0], count, self.channels))
        )

    def _by_head(self, x):
        count = -1 if x.shape[1] is None else x.shape[1]
        shape = (ops.shape(x)[0], count, self.heads, self.channels // self.heads)
        return ops.transpose(ops.reshape(x, shape), (0, 2, 1, 3))


class PictureAttention(Attention):
    """The VAE's: one head over all places of a picture, beside a shortcut.

    Args:
        channels: That come in and go out.
        groups: Of the norm.
        epsilon: Of the norm.
    """

    def __init__(self, channels: int, groups: int, epsilon: float, **options):
        super().__init__(channels, heads=1, biased=True, **options)
        norm = GroupNorm(groups, epsilon, dtype=self.dtype_policy)
        self.norm = self.add("group_norm", norm)

    def build(self, shape):
        """Builds the norm and the products."""
        self.norm.build(shape)
        super().build((shape[0], None, shape[-1]))

    def call(self, x):
        """Maps `(n, h, w, channels)`."""
        places = super().call(_places(self.norm(x)))
        return x + ops.reshape(places, ops.shape(x))


def _places(x):
    """Pictures `(n, h, w, c)` as sequences `(n, h w, c)`."""
    _, height, width, channels = x.shape
    count = -1 if None in (height, width) else height * width
    return ops.reshape(x, (ops.shape(x)[0], count, channels))


class TransformerLayer(Block):
    """Self-attention, attention to the context and two dense layers.

    Args:
        channels: That come in and go out.
        heads: Of the attentions.
    """

    def __init__(self, channels: int, heads: int, **options):
        super().__init__(**options)
        self.channels = channels
        dtype = self.dtype_policy

        def norm(number):
            layer = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype)
            return self.add(f"norm{number}", layer)

        self.norm1, self.norm2, self.norm3 = norm(1), norm(2), norm(3)
        self.attention = self.add("attn1", Attention(channels, heads, dtype=dtype))
        self.cross = self.add("attn2", Attention(channels, heads, dtype=dtype))
        self.widen = keras.layers.Dense(8 * channels, dtype=dtype)
        self.narrow = keras.layers.Dense(channels, dtype=dtype)
        self.add("ff.net.0.proj", self.widen)
        self.add("ff.net.2", self.narrow)

    def build(self, shape, context_shape):
        """Builds the parts."""
        for layer in (self.norm1, self.norm2, self.norm3, self.attention, self.widen):
            layer.build(shape)
        self.cross.build(shape, context_shape)
        self.narrow.build((*shape[:-1], 4 * self.channels))

    def call(self, x, context):
        """Maps `(n, t, channels)` with a context `(n, s, c)`."""
        x = x + self.attention(self.norm1(x))
        x = x + self.cross(self.norm2(x), context)
        values, gates = ops.split(self.widen(self.norm3(x)), 2, axis=-1)
        return x + self.narrow(values * ops.gelu(gates, approximate=False))


class Transformer(Block):
    """A transformer layer over the places of a picture, beside a shortcut.

    Args:
        channels: That come in and go out.
        heads: Of the attentions.
        groups: Of the norm.
        linear: Whether the projections are stored as dense layers rather than as
            convolutions of one pixel.
    """

    def __init__(self, channels: int, heads: int, groups: int, linear: bool, **options):
        super().__init__(**options)
        self.channels, self.linear = channels, linear
        dtype = self.dtype_policy
        self.norm = self.add("norm", GroupNorm(groups, 1e-6, dtype=dtype))
        self.project_in = self.add("proj_in", self._projection())
        layer = TransformerLayer(channels, heads, dtype=dtype)
        self.layer = self.add("transformer_blocks.0", layer)
        self.project_out = self.add("proj_out", self._projection())

    def _projection(self):
        if self.linear:
            return keras.layers.Dense(self.channels, dtype=self.dtype_policy)
        return keras.layers.Conv2D(self.channels, 1, dtype=self.dtype_policy)

    def build(self, shape, context_shape):
        """Builds the parts."""
        self.norm.build(shape)
        self.project_in.build(shape)
        self.layer.build((shape[0], None, self.channels), context_shape)
        self.project_out.build(shape)

    def call(self, x, context):
        """Maps `(n, h, w, channels)` with a context `(n, s, c)`."""
        places = _places(self.project_in(self.norm(x)))
        places = self.layer(places, context)
        return x + self.project_out(ops.reshape(places, ops.shape(x)))
