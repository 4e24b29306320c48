"""The text encoder of CLIP, KerasHub's, with the weights' names of transformers."""

from collections.abc import Iterator

import keras_hub

from tfpriv.networks.diffusion import configs
from tfpriv.networks.diffusion.names import Weight, weights

DEFAULTS = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
# Fields of transformers that say nothing about what the network computes here.
IGNORED = {
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "bos_token_id",
    "dropout",
    "dtype",
    "eos_token_id",
    "initializer_factor",
    "initializer_range",
    "model_type",
    "pad_token_id",
    "projection_dim",
    "torch_dtype",
    "transformers_version",
}
FIXED = {"return_dict": (True,), "is_decoder": (False,)}


def text_encoder(config: dict, dtype=None):
    """CLIP's text encoder, from the fields of transformers' `CLIPTextConfig`.

    Args:
        config: The fields.
        dtype: Of weights and computations, as Keras has it.

    Returns:
        A `keras_hub.models.CLIPTextEncoder`: from token numbers `(n, tokens)` to
        `(n, tokens, hidden_size)`, behind the last norm.

    Raises:
        ValueError: A field has a value that is not built here.
    """
    told = {name: value for name, value in config.items() if name not in IGNORED}
    fields = configs.checked("The text encoder", told, DEFAULTS, FIXED)
    epsilon = fields["layer_norm_eps"]
    if epsilon != 1e-5 or fields["hidden_act"] not in ("quick_gelu", "gelu"):
        raise ValueError(
            "The text encoder is built with layer_norm_eps=1e-05 and hidden_act "
            f"'quick_gelu' or 'gelu'. Received: layer_norm_eps={epsilon}, "
            f"hidden_act={fields['hidden_act']!r}"
        )
    encoder = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=fields["vocab_size"],
        embedding_dim=fields["hidden_size"],
        hidden_dim=fields["hidden_size"],
        num_layers=fields["num_hidden_layers"],
        num_heads=fields["num_attention_heads"],
        intermediate_dim=fields["intermediate_size"],
        intermediate_activation=fields["hidden_act"],
        max_sequence_length=fields["max_position_embeddings"],
        dtype=dtype,
    )
    encoder.layer_norm.epsilon = epsilon  # KerasHub has a tenth of it
    encoder.config = fields
    return encoder


def text_weights(encoder, prefix: str = "text_model.") -> Iterator[Weight]:
    """The weights with their names in transformers' files.

    Args:
        encoder: What `text_encoder` returned.
        prefix: Put before each name.
    """
    embeddings = encoder.embedding
    at = f"{prefix}embeddings."
    tokens = embeddings.token_embedding.embeddings
    positions = embeddings.position_embedding.position_embeddings
    yield Weight(f"{at}token_embedding.weight", tokens)
    yield Weight(f"{at}position_embedding.weight", positions)
    for number, layer in enumerate(encoder.encoder_layers):
        at = f"{prefix}encoder.layers.{number}."
        yield from _attention(f"{at}self_attn.", layer.attention)
        yield from weights(layer.layer_norm_1, f"{at}layer_norm1.")
        yield from weights(layer.layer_norm_2, f"{at}layer_norm2.")
        yield from weights(layer.dense_1, f"{at}mlp.fc1.")
        yield from weights(layer.dense_2, f"{at}mlp.fc2.")
    yield from weights(encoder.layer_norm, f"{prefix}final_layer_norm.")


def _attention(at, layer):
    """Products that Keras keeps by head, `(inputs, heads, d)`."""
    for name in ("query", "key", "value"):
        dense = getattr(layer, f"{name}_dense")
        inputs, heads, size = dense.kernel.shape
        shape, file = (inputs, heads * size), f"{at}{name[0]}_proj."
        yield Weight(f"{file}weight", dense.kernel, (1, 0), shape)
        yield Weight(f"{file}bias", dense.bias, None, (heads * size,))
    dense = layer.output_dense
    heads, size, outputs = dense.kernel.shape
    shape = (heads * size, outputs)
    yield Weight(f"{at}out_proj.weight", dense.kernel, (1, 0), shape)
    yield Weight(f"{at}out_proj.bias", dense.bias)
