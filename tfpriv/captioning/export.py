"""A SavedModel from picture to caption that loads with TensorFlow alone."""

from pathlib import Path

import keras
import tensorflow as tf

from tfpriv.accounting.ledger import Ledger
from tfpriv.captioning.arguments import DEFAULT_DELTA
from tfpriv.captioning.decode import check_beams, search
from tfpriv.captioning.model import Captioner
from tfpriv.captioning.vocabulary import END_ID, PAD_ID, START_ID
from tfpriv.dp import exporting
from tfpriv.support.outputs import check_new


def export(
    model: Captioner,
    path: str | Path,
    *,
    ledger: Ledger,
    delta: float | None = None,
    beams: int = 1,
) -> None:
    """Writes a SavedModel; its ledger and statement lie in `assets.extra/`.

        loaded = tf.saved_model.load(path)
        loaded.serve(pictures)          # uint8 (B, height, width, 3) -> strings (B,)
        loaded.caption_file(contents)   # bytes of a JPEG, PNG, GIF or BMP file

    The middle of each picture is cut out and brought to the model's size inside.

    Args:
        model: `Captioner`.
        path: Folder to make; it must not exist or be empty.
        ledger: What the weights have cost.
        delta: For the statement; `None` takes `model.privacy.delta`, which is that of
            the budget, and 1e-5 for a model without privacy.
        beams: 1 is greedy decoding.

    Raises:
        OSError: There is something at `path` already, or it cannot be written.
        ValueError: Beams of a number that there cannot be.
    """
    check_new(path)
    check_beams(model, beams)
    privacy = getattr(model, "privacy", None)
    if delta is None:
        delta = DEFAULT_DELTA if privacy is None else privacy.delta
    accountant = "rdp" if privacy is None else privacy.accountant
    words = tf.constant(model.tokenizer.vocabulary)

    def serve(image):
        features = model.encode(to_model_size(image, model.image_size))
        return join_words(search(model, features, beams), words)

    def caption_file(contents):
        image = tf.io.decode_image(contents, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        return serve(image[tf.newaxis])

    archive = keras.export.ExportArchive()
    archive.track(model)
    picture = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
    archive.add_endpoint("serve", serve, [picture])
    contents = tf.TensorSpec([], tf.string, name="contents")
    archive.add_endpoint("caption_file", caption_file, [contents])
    exporting.export(
        lambda folder: archive.write_out(folder, verbose=False),
        ledger,
        delta,
        path,
        accountant,
    )


def to_model_size(image, size):
    """As `tfpriv.support.images.load`: the middle square, scaled to `size`, uint8."""
    shape = tf.shape(image)
    side = tf.minimum(shape[1], shape[2])
    top, left = (shape[1] - side) // 2, (shape[2] - side) // 2
    middle = image[:, top : top + side, left : left + side]
    scaled = tf.image.resize(middle, [size, size], antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0.0, 255.0), tf.uint8)


def join_words(tokens, words):
    """Token rows (B, T) up to the end mark -> captions (B,)."""
    ended = tf.cumsum(tf.cast(tf.equal(tokens, END_ID), tf.int32), axis=1) > 0
    silent = ended | tf.equal(tokens, PAD_ID) | tf.equal(tokens, START_ID)
    spoken = tf.where(silent, "", tf.gather(words, tokens))
    text = tf.strings.reduce_join(spoken, axis=1, separator=" ")
    return tf.strings.strip(tf.strings.regex_replace(text, " ##", ""))
