"""keras-cv's blocks of Stable Diffusion, with random weights, on given inputs."""

import sys

import numpy as np
import tensorflow as tf
from keras_cv.src.models.stable_diffusion import diffusion_model
from keras_cv.src.models.stable_diffusion.attention_block import AttentionBlock
from keras_cv.src.models.stable_diffusion.resnet_block import ResnetBlock

inputs = dict(np.load(sys.argv[1]))
picture, wide, time, context = (
    inputs[n] for n in ("picture", "wide", "time", "context")
)
channels = wide.shape[-1]
random = np.random.default_rng(int(inputs["seed"]))
outputs = {}


def record(name, layer, given, parts):
    """The answer, and the weights of the parts in this order."""
    layer(given)  # builds it
    for variable in layer.weights:
        variable.assign(random.normal(0, 0.2, variable.shape))
    outputs[name] = np.asarray(layer(given))
    arrays = [np.asarray(w) for part in parts(layer) for w in part.weights]
    assert len(arrays) == len(layer.weights)
    for number, array in enumerate(arrays):
        outputs[f"{name}/{number:02}"] = array


def timed_parts(block):
    flows = (block.entry_flow, block.embedding_flow, block.exit_flow)
    return [*(layer for flow in flows for layer in flow), block.residual_projection]


def attention_parts(attention):
    return [attention.to_q, attention.to_k, attention.to_v, attention.out_proj]


def transformer_parts(block):
    inner = block.transformer_block
    return [
        block.norm,
        block.proj1,
        inner.norm1,
        inner.norm2,
        inner.norm3,
        *attention_parts(inner.attn1),
        *attention_parts(inner.attn2),
        inner.geglu.dense,
        inner.dense,
        block.proj2,
    ]


def residual_parts(block):
    return [
        block.norm1,
        block.conv1,
        block.norm2,
        block.conv2,
        block.residual_projection,
    ]


picture, wide = tf.constant(picture), tf.constant(wide)
time, context = tf.constant(time), tf.constant(context)
record("timed", diffusion_model.ResBlock(channels), [picture, time], timed_parts)
transformer = diffusion_model.SpatialTransformer(2, channels // 2)
record("transformer", transformer, [wide, context], transformer_parts)
upsample = diffusion_model.Upsample(channels)
record("upsample", upsample, wide, lambda block: [block.conv])
record("residual", ResnetBlock(channels), picture, residual_parts)
attention = AttentionBlock(channels)
record(
    "attention",
    attention,
    wide,
    lambda block: [block.q, block.k, block.v, block.proj_out, block.norm],
)
np.savez(sys.argv[2], **outputs)
