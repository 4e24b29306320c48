"""Logits to captions: greedy and beam search with KerasHub's samplers."""

import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops

from tfpriv.captioning.vocabulary import END_ID, PAD_ID, START_ID, UNKNOWN_ID


def sampler_for(beams: int):
    """KerasHub's greedy sampler for one beam, its beam sampler for more."""
    if beams == 1:
        return keras_hub.samplers.GreedySampler()
    return keras_hub.samplers.BeamSampler(num_beams=beams)


def check_beams(model, beams: int) -> None:
    """Raises `ValueError` unless there are at least 1, and no more than words."""
    words = len(model.tokenizer.vocabulary)
    if not 1 <= beams <= words:
        raise ValueError(
            f"Expected `beams` to lie between 1 and the number of words, {words}. "
            f"Received: beams={beams}"
        )


def search(model, features, beams: int = 1):
    """The best token row found for each picture; runs eagerly and in graphs.

    Args:
        model: `Captioner`.
        features: `(B, positions, channels)`, what `model.encode` gives.
        beams: 1 is greedy.

    Returns:
        Tokens `(B, T)`, START left out, END and padding included.
    """
    memory = model.remember(features)
    prompt = ops.full((ops.shape(features)[0], 1), START_ID, dtype="int32")
    rest = ops.full((ops.shape(features)[0], model.max_tokens), PAD_ID, dtype="int32")
    prompt = ops.concatenate([prompt, rest], axis=1)

    def following(prompt, cache, index):
        """The sampler's view of the model: logits of position `index`."""
        logits = model.decoder(prompt[:, None, :-1], cache["memory"])[:, 0]
        here = ops.take(logits, index - 1, axis=1)
        before = ops.take(prompt, index - 1, axis=1)
        return allowed(here, before), None, cache

    rows = sampler_for(beams)(
        following,
        prompt,
        # The memory travels as the sampler's cache, so that each beam keeps its own.
        cache={"memory": memory},
        index=1,
        # Without stop tokens: KerasHub's beam search would stop at a beam's *first*
        # END and go on scoring what follows it; `allowed` makes END final instead.
    )
    return rows[:, 1:]


def allowed(logits, before):
    """Logits under the rules of a caption.

    After END comes padding with certainty, so that a finished beam keeps its score;
    before it neither padding, START nor the unknown mark can be said.
    """
    size = logits.shape[-1]
    never = np.zeros(size, "float32")
    never[[PAD_ID, START_ID, UNKNOWN_ID]] = -1e9
    only_padding = np.full(size, -1e9, "float32")
    only_padding[PAD_ID] = 0.0
    finished = ops.logical_or(ops.equal(before, END_ID), ops.equal(before, PAD_ID))
    return ops.where(
        finished[:, None], ops.convert_to_tensor(only_padding), logits + never
    )


def make_captioner(model, beams: int = 1):
    """A compiled function from pictures `(B, S, S, 3)` to token rows `(B, T)`."""
    check_beams(model, beams)
    size = model.image_size

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32)])
    def run(pictures):
        return search(model, model.encode(pictures), beams)

    return run


def caption_pictures(
    model, pictures: np.ndarray, *, beams: int = 1, batch_size: int = 64, progress=None
) -> list[str]:
    """Captions of pictures.

    Args:
        model: `Captioner`.
        pictures: `(n, S, S, 3)`, values 0 to 255, at the model's size.
        beams: 1 is greedy.
        batch_size: Pictures at a time.
        progress: `None` or a function called with `(done, total)`.
    """
    size = model.image_size
    if pictures.ndim != 4 or pictures.shape[1:] != (size, size, 3):
        raise ValueError(
            f"Pictures must have the shape (n, {size}, {size}, 3). "
            f"Received: shape={pictures.shape}"
        )
    run, texts = make_captioner(model, beams), []
    for start in range(0, len(pictures), batch_size):
        batch = tf.constant(pictures[start : start + batch_size], tf.float32)
        texts += model.tokenizer.decode(run(batch).numpy())
        if progress:
            progress(len(texts), len(pictures))
    return texts
