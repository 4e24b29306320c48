"""The captioner: encoder, bridge to a memory, decoder; and its loss."""

import keras
from keras import ops

from tfpriv import dp
from tfpriv.captioning import encoders
from tfpriv.captioning.decoders import DECODERS
from tfpriv.captioning.vocabulary import Tokenizer


@keras.saving.register_keras_serializable("tfpriv")
class Captioner(keras.Model):
    """Encodes a picture once and gives logits for each word of all its captions.

    Args:
        vocabulary: List of tokens (see `vocabulary.load_vocabulary`), V of them.
        image_size: Height and width of the pictures, in pixels.
        max_tokens: Longest caption, T, the end mark included.
        encoder: `"cnn"`, or a name of `encoders.BACKBONES` (frozen, public weights).
        decoder: `"transformer"` or `"gru"`.
        width: Size of the hidden vectors, D.
        layers: Decoder layers (transformer only).
        heads: Attention heads (transformer only).
        filters: Channels of each stage of the `"cnn"` encoder.
        backbone_weights: `"imagenet"`, a file, or `None`; not kept.

    Call arguments:
        inputs: Dict with `tokens`, ints `(B, K, T)` (what the decoder reads), and
            either `image`, `(B, H, W, 3)` with values 0 to 255, or `features`,
            `(B, positions, channels)`, what `encode` gave.

    Returns:
        Logits `(B, K, T, V)`.
    """

    def __init__(
        self,
        vocabulary,
        image_size=64,
        max_tokens=16,
        encoder="cnn",
        decoder="transformer",
        width=64,
        layers=1,
        heads=4,
        filters=(16, 32, 64, 96),
        backbone_weights=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if decoder not in DECODERS:
            raise ValueError(
                f"`decoder` must be one of {list(DECODERS)}. Received: {decoder!r}"
            )
        self.tokenizer = Tokenizer(vocabulary, max_tokens)
        self.arguments = {
            "vocabulary": list(vocabulary),
            "image_size": image_size,
            "max_tokens": max_tokens,
            "encoder": encoder,
            "decoder": decoder,
            "width": width,
            "layers": layers,
            "heads": heads,
            "filters": list(filters),
        }
        if encoder == "cnn":
            self.encoder = encoders.ConvEncoder(filters, name="encoder")
        else:
            self.encoder = encoders.BackboneEncoder(
                encoder, image_size, backbone_weights, layer_name="encoder"
            )
            self.encoder.trainable = False
        self.bridge = keras.layers.Dense(width, name="bridge")
        self.places = _Places(name="places")
        self.bridge_norm = keras.layers.LayerNormalization(name="bridge_norm")
        sizes = {"layers": layers, "heads": heads} if decoder == "transformer" else {}
        self.decoder = DECODERS[decoder](
            len(vocabulary), max_tokens, width, name="decoder", **sizes
        )
        self.build()

    def build(self, input_shape=None):
        """Makes all weights at once; their shapes follow from the arguments."""
        if self.built:
            return
        size, width = self.arguments["image_size"], self.arguments["width"]
        picture = (None, size, size, 3)
        self.encoder.build(picture)
        features = self.encoder.compute_output_shape(picture)
        memory = (None, features[1], width)
        self.bridge.build(features)
        self.places.build(memory)
        self.bridge_norm.build(memory)
        self.decoder.build((None, None, self.arguments["max_tokens"]), memory)
        self.built = True

    @property
    def image_size(self) -> int:
        return self.arguments["image_size"]

    @property
    def max_tokens(self) -> int:
        return self.arguments["max_tokens"]

    def encode(self, pictures):
        """(B, H, W, 3), values 0 to 255 -> features (B, positions, channels)."""
        return self.encoder(pictures)

    def remember(self, features):
        """Features -> memory (B, positions, D), what the decoder attends to."""
        return self.bridge_norm(self.places(self.bridge(features)))

    def call(self, inputs):
        features = inputs.get("features")
        if features is None:
            features = self.encode(inputs["image"])
        return self.decoder(inputs["tokens"], self.remember(features))

    def get_config(self):
        return super().get_config() | self.arguments


@keras.saving.register_keras_serializable("tfpriv")
class _Places(keras.layers.Layer):
    """Adds a learned vector for each position of the grid."""

    def build(self, input_shape):
        self.vectors = self.add_weight(
            shape=input_shape[1:], initializer="random_normal", name="vectors"
        )

    def call(self, x):
        return x + self.vectors


@dp.register_clipping_rule(_Places)
def _clip_places(layer, call, record, x):
    """Every example adds to each vector just what comes back to it."""
    return record(call(x), lambda g: [(layer.vectors, dp.per_example.Dense(g))])


@keras.saving.register_keras_serializable("tfpriv")
class CaptionLoss(keras.losses.Loss):
    """Per picture: the mean cross-entropy over all real tokens of all its captions.

    A picture's weight does not depend on how many captions it has or how long they
    are; rows and places of padding (token 0) weigh nothing.
    """

    def __init__(self, name="caption_loss", reduction="sum_over_batch_size", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true, y_pred):
        """Targets (B, K, T) and logits (B, K, T, V) -> losses (B,)."""
        targets = ops.cast(y_true, "int32")
        weights = ops.cast(targets > 0, y_pred.dtype)
        losses = ops.sparse_categorical_crossentropy(targets, y_pred, from_logits=True)
        total = ops.sum(losses * weights, axis=(1, 2))
        return total / ops.maximum(ops.sum(weights, axis=(1, 2)), 1.0)
