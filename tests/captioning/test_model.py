"""The captioner: one loss per picture, nothing mixed, exact per-picture gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpriv import dp
from tfpriv.captioning.model import CaptionLoss
from tfpriv.captioning.vocabulary import teacher_inputs


def batch(model, pictures=3, captions=2, seed=None):
    """Random pictures and caption rows of every length, empty rows among them."""
    rng = np.random.default_rng(seed)
    length, size = model.max_tokens, model.image_size
    vocabulary_size = len(model.tokenizer.vocabulary)
    y = rng.integers(4, vocabulary_size, (pictures, captions, length), dtype="int32")
    ends = rng.integers(1, length + 1, (pictures, captions))
    ends[-1, -1] = 0
    y[np.arange(length) >= ends[..., None]] = 0
    image = rng.integers(0, 256, (pictures, size, size, 3)).astype("float32")
    return {"image": image, "tokens": teacher_inputs(y)}, y


def slow_loss(targets, logits):
    """Loops over captions and tokens of one picture."""
    total, count = 0.0, 0
    for caption, scores in zip(targets, logits, strict=True):
        for word, row in zip(caption, scores, strict=True):
            if word != 0:
                row = row.astype("float64")
                shifted = row - row.max()
                total -= shifted[word] - np.log(np.exp(shifted).sum())
                count += 1
    return total / max(count, 1)


def test_loss_equals_the_slow_loop():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 7, (4, 3, 5))
    targets[2] = 0  # a picture without any word: its loss is zero, not NaN
    logits = rng.normal(0, 3, (4, 3, 5, 7)).astype("float32")
    expected = [slow_loss(t, z) for t, z in zip(targets, logits, strict=True)]
    each = CaptionLoss(reduction="none")(targets, logits)
    np.testing.assert_allclose(each, expected, rtol=1e-5)
    np.testing.assert_allclose(CaptionLoss()(targets, logits), np.mean(expected), 1e-5)


def test_padding_weighs_nothing(captioner):
    x, y = batch(captioner)
    more = np.concatenate([y, np.zeros_like(y[:, :1])], axis=1)
    loss = CaptionLoss(reduction="none")
    np.testing.assert_allclose(
        loss(y, captioner(x)),
        loss(more, captioner(x | {"tokens": teacher_inputs(more)})),
        rtol=1e-5,
    )


def test_pictures_do_not_see_each_other(captioner):
    x, _ = batch(captioner, pictures=4)
    together = captioner(x).numpy()
    for i in range(4):
        alone = captioner({k: v[i : i + 1] for k, v in x.items()}).numpy()
        np.testing.assert_allclose(together[i : i + 1], alone, atol=2e-5)


def test_captions_do_not_see_each_other_nor_the_future(captioner):
    x, _ = batch(captioner, pictures=1, captions=3)
    before = captioner(x).numpy()
    changed = x["tokens"].copy()
    changed[0, 1, 5] = (changed[0, 1, 5] + 1) % len(captioner.tokenizer.vocabulary)
    after = captioner(x | {"tokens": changed}).numpy()
    np.testing.assert_allclose(before[0, [0, 2]], after[0, [0, 2]], atol=2e-5)
    np.testing.assert_allclose(before[0, 1, :5], after[0, 1, :5], atol=2e-5)
    assert np.abs(before[0, 1, 5:] - after[0, 1, 5:]).max() > 1e-3


def test_features_stand_for_the_picture(captioner):
    x, _ = batch(captioner)
    features = captioner.encode(x["image"])
    np.testing.assert_allclose(
        captioner(x),
        captioner({"features": features, "tokens": x["tokens"]}),
        atol=1e-6,
    )


def test_the_picture_matters(captioner):
    x, _ = batch(captioner)
    other = captioner(x | {"image": 255 - x["image"]}).numpy()
    assert np.abs(captioner(x).numpy() - other).max() > 1e-3


def test_save_and_load(captioner, tmp_path):
    x, _ = batch(captioner)
    captioner.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(x), captioner(x), atol=1e-6)
    assert loaded.arguments == captioner.arguments


def slow_clipped_sum(model, x, y, clip):
    """One picture after the other, in plain eager Keras."""
    total = [np.zeros(v.shape) for v in model.trainable_variables]
    norms = []
    for i in range(len(y)):
        with tf.GradientTape() as tape:
            logits = model({k: v[i : i + 1] for k, v in x.items()})
            loss = CaptionLoss()(y[i : i + 1], logits)
        grads = tape.gradient(loss, [v.value for v in model.trainable_variables])
        grads = [tf.convert_to_tensor(g).numpy().astype("float64") for g in grads]
        norms.append(np.sqrt(sum((g**2).sum() for g in grads)))
        scale = min(1.0, clip * (1 - 2.0**-8) / max(norms[-1], 1e-30))
        total = [t + scale * g for t, g in zip(total, grads, strict=True)]
    return total, norms


def test_clipped_gradients_equal_the_loop(captioner):
    x, y = batch(captioner, pictures=5)
    sums, norms = dp.clipped_gradients(
        captioner, x, y, loss=CaptionLoss(), l2_norm_clip=0.7
    )
    expected, expected_norms = slow_clipped_sum(captioner, x, y, 0.7)
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-4)
    error = np.sqrt(
        sum(((a.numpy() - b) ** 2).sum() for a, b in zip(sums, expected, strict=True))
    )
    assert error < 1e-4 * 0.7 * len(y)


def contribution(model, x, y):
    """Norm of what these examples add to the clipped sum, at clip norm 0.1."""
    sums, _ = dp.clipped_gradients(model, x, y, loss=CaptionLoss(), l2_norm_clip=0.1)
    return np.sqrt(sum(float(tf.reduce_sum(g**2)) for g in sums))


def test_the_unit_is_the_picture_with_all_its_captions(build_captioner):
    """One picture moves the sum by at most one clip norm; five would be the fault.

    The planted fault makes its five captions five examples of the same picture. All
    five are alike here: the worst case.
    """
    model = build_captioner()
    x, y = batch(model, pictures=1, captions=5, seed=0)
    y[:] = y[:, :1]
    x["tokens"] = teacher_inputs(y)
    assert contribution(model, x, y) <= 0.1 * (1 + 1e-4)
    flat = y.reshape(5, 1, -1)
    image = np.repeat(x["image"], 5, axis=0)
    faulty = {"image": image, "tokens": teacher_inputs(flat)}
    assert contribution(model, faulty, flat) > 4 * 0.1


def test_wrong_decoder(build_captioner):
    with pytest.raises(ValueError, match="decoder"):
        build_captioner("lstm")


def test_a_backbone_is_frozen_and_saved_with_the_captioner(build_captioner, tmp_path):
    model = build_captioner(encoder="MobileNetV3Small", image_size=32)
    assert not model.encoder.trainable_variables
    pictures = (
        np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    )
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(
        loaded.encode(pictures), model.encode(pictures), atol=1e-5
    )
    with pytest.raises(ValueError, match="must be one of"):
        build_captioner(encoder="VGG99")
