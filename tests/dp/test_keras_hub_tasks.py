"""KerasHub tasks with their preprocessor, as `from_preset` gives them: raw data in."""

import keras
import keras_hub
import numpy as np
import pytest
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.dp import preprocessing
from tfpriv.support.randomness import Randomness

LENGTH = 5
TEXTS = ["the cat sat", "the dog ran", "good", "bad dog", "the", "cat cat"]
LABELS = [0, 1, 0, 1, 0, 1]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += ["the", "cat", "dog", "sat", "ran", "good", "bad"]


def bert_backbone():
    return keras_hub.models.BertBackbone(
        vocabulary_size=len(WORDS),
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=4,
        dropout=0.0,
        max_sequence_length=LENGTH,
    )


def bert_classifier():
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        keras_hub.models.BertTokenizer(vocabulary=WORDS), sequence_length=LENGTH
    )
    return keras_hub.models.BertTextClassifier(
        bert_backbone(), num_classes=2, preprocessor=preprocessor, dropout=0.0
    )


def bert_masked_lm():
    preprocessor = keras_hub.models.BertMaskedLMPreprocessor(
        keras_hub.models.BertTokenizer(vocabulary=WORDS),
        sequence_length=LENGTH,
        mask_selection_length=2,
    )
    return keras_hub.models.BertMaskedLM(bert_backbone(), preprocessor=preprocessor)


def gpt2():
    words = ["<|endoftext|>", "a", "b", "Ġ", "Ġa", "Ġb"]
    tokenizer = keras_hub.models.GPT2Tokenizer(
        vocabulary={word: i for i, word in enumerate(words)}, merges=["Ġ a", "Ġ b"]
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(words),
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=4,
        dropout=0.0,
        max_sequence_length=LENGTH,
    )
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(
        tokenizer, sequence_length=LENGTH
    )
    return keras_hub.models.GPT2CausalLM(backbone, preprocessor=preprocessor)


def vit():
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(8, 8, 3),
        patch_size=(4, 4),
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        mlp_dim=4,
    )
    converter = keras_hub.layers.ViTImageConverter(image_size=(8, 8), scale=1 / 255)
    preprocessor = keras_hub.models.ViTImageClassifierPreprocessor(converter)
    return keras_hub.models.ViTImageClassifier(
        backbone=backbone, num_classes=2, preprocessor=preprocessor
    )


def images():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 12, 3), "uint8")


def private(task, **options):
    """The task, private and compiled with its own loss and metrics."""
    model = dp.make_private(task, max_occurrences=1)
    model.compile(small.sgd(**options))
    return model


@pytest.fixture(scope="module")
def classifier():
    return private(bert_classifier())


RAW = {
    "texts": (bert_classifier, (TEXTS, LABELS)),
    "pairs of texts": (bert_classifier, ((TEXTS, TEXTS[::-1]), LABELS)),
    "texts to go on with": (gpt2, (["a b a", "b", "", "a a a a a a b"],)),
    "images": (vit, (images(), LABELS)),
}


@pytest.mark.parametrize("kind", RAW)
def test_what_is_drawn_is_what_the_preprocessor_makes(kind):
    build, data = RAW[kind]
    task = build()
    given = dp.PoissonSampler(data, 2)
    sampler = preprocessing.sampler_for(task, given)
    # As KerasHub's own `fit` does: eagerly, images may be rounded in another place.
    batches = tf.data.Dataset.from_tensor_slices(data).batch(100)
    wanted = next(iter(batches.map(task.preprocess_samples)))
    found = sampler._take(np.arange(len(given.source)))
    parts = [found[name] for name in ("x", "y", "sample_weight") if name in found]
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for a, b in zip(tf.nest.flatten(parts), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    none = sampler._take(np.array([], int))
    assert {len(leaf) for leaf in tf.nest.flatten(none)} == {0}
    assert given._rows is None  # the user's sampler is as it was


def test_raw_texts_everywhere(classifier):
    public = dp.Public(TEXTS, LABELS)
    history = classifier.fit(
        TEXTS, LABELS, batch_size=3, validation_data=public, verbose=0
    )
    assert len(classifier.privacy.ledger) == 2
    loss, accuracy = classifier.evaluate(public, verbose=0)
    assert history.history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert accuracy == classifier.evaluate(TEXTS, LABELS, verbose=0)[1]
    assert classifier.predict(TEXTS, verbose=0).shape == (6, 2)
    pairs = list(zip(TEXTS, LABELS, strict=True))
    classifier.fit(dp.PoissonSampler(pairs, 3), verbose=0)
    assert len(classifier.privacy.ledger) == 4


@pytest.mark.slow
def test_training_on_texts_is_training_on_what_they_are_made_into():
    """Everybody in the batch, without noise; by `fit` and by `train_on_batch`."""
    options = {"l2_norm_clip": 0.5, "noise_multiplier": 0.0}
    raw, tokens, batch = (private(bert_classifier(), **options) for _ in range(3))
    tokens.preprocessor = None
    for other in (tokens, batch):
        other.set_weights(raw.get_weights())
    x, y = raw.preprocessor(TEXTS, LABELS)
    raw.fit(TEXTS, LABELS, batch_size=6, verbose=0)
    tokens.fit(x, np.asarray(y), batch_size=6, verbose=0)
    batch.train_on_batch(TEXTS, LABELS)
    for one, other, third in zip(
        raw.get_weights(), tokens.get_weights(), batch.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(one, third, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_language_model_trains_on_texts_and_generates(tmp_path):
    model = private(gpt2())
    texts = ["a b a", "b", "a a a a a a a b"]
    public = dp.Public(["a b", "b"])
    history = model.fit(texts, batch_size=2, validation_data=public, verbose=0)
    assert history.history["val_loss"][-1] == pytest.approx(
        model.evaluate(public, verbose=0)[0], rel=1e-5
    )
    assert model.generate("a", max_length=4).startswith("a")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(texts, verbose=0), model.predict(texts, verbose=0)
    )
    assert again.privacy.epsilon() == model.privacy.epsilon()


@pytest.mark.slow
def test_images_are_converted():
    model = private(vit())
    model.fit(images(), np.array(LABELS), batch_size=3, verbose=0)
    assert len(model.privacy.ledger) == 2


def test_streams_and_groups_of_texts():
    task = bert_classifier()
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(2)
    stream = preprocessing.sampler_for(task, dp.Stream(dataset, 1))
    assert stream.element_spec()["x"]["token_ids"].shape == (LENGTH,)
    _, batch = next(stream.batches(lambda events: 0, None))
    x, y = task.preprocessor(TEXTS[:2], LABELS[:2])
    np.testing.assert_array_equal(batch["x"]["token_ids"], x["token_ids"])
    np.testing.assert_array_equal(batch["y"], y)
    groups = dp.PoissonSampler(
        (TEXTS, LABELS), 3, groups=[0, 0, 1, 1, 2, 2], max_examples_per_group=2
    )
    _, batch = next(
        preprocessing.sampler_for(task, groups).batches(lambda: 0, Randomness())
    )
    assert batch["x"]["token_ids"].shape[1:] == (2, LENGTH)


def test_another_sequence_length_takes_effect():
    task = bert_classifier()
    sampler = dp.PoissonSampler((TEXTS, LABELS), 2)
    lengths = []
    for length in (LENGTH, LENGTH - 1):
        task.preprocessor.sequence_length = length
        spec = preprocessing.sampler_for(task, sampler).element_spec()
        lengths.append(spec["x"]["token_ids"].shape[0])
    assert lengths == [LENGTH, LENGTH - 1]


class Task(keras_hub.models.Task):
    """A task around any preprocessor."""

    def __init__(self, preprocess):
        inputs = keras.Input((2,))
        super().__init__(inputs, keras.layers.Dense(1)(inputs), compile=False)
        self.preprocessor = preprocess


ROWS = np.arange(12, dtype="float32").reshape(6, 2)


def made_by(preprocess, rows=ROWS):
    sampler = preprocessing.sampler_for(Task(preprocess), dp.PoissonSampler(rows, 2))
    return sampler._take(np.arange(len(rows)))["x"]


def test_no_example_has_an_effect_on_the_row_of_another():
    """A preprocessor that subtracts the batch's mean sees one example at a time."""

    def centred(x):
        return x - tf.reduce_mean(x, axis=0)

    np.testing.assert_array_equal(made_by(centred), np.zeros_like(ROWS))
    assert np.any(np.asarray(centred(ROWS)))


def noisy(x):
    return tf.cast(x, tf.float32) + tf.random.normal(tf.shape(x))


def test_a_preprocessor_that_draws_is_refused():
    with pytest.raises(ValueError, match=r"preprocessor = None.*RandomStandardNormal"):
        made_by(noisy)
    with pytest.raises(ValueError, match=r"draws random numbers.*RandomShuffle"):
        preprocessing.sampler_for(
            bert_masked_lm(), dp.PoissonSampler((TEXTS,), 2)
        ).element_spec()


def test_a_preprocessor_that_keeps_state_is_refused():
    count = tf.Variable(0.0)
    with pytest.raises(ValueError, match=r"updates state.*AssignAdd"):
        made_by(lambda x: x + count.assign_add(1.0))


def test_planted_shared_draws_move_the_rows_of_others(monkeypatch):
    """Why it is refused: one example more, and all others have other rows."""
    monkeypatch.setattr(preprocessing, "_check_shared", lambda graph: None)

    def drawn(rows):
        keras.utils.set_random_seed(7)
        return made_by(noisy, rows)

    first_gone = drawn(ROWS)[1:] - drawn(ROWS[1:])
    last_gone = drawn(ROWS)[:-1] - drawn(ROWS[:-1])  # TensorFlow chooses the order
    assert max(np.abs(first_gone).max(), np.abs(last_gone).max()) > 0.1


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (lambda x: tf.repeat(x, 2, axis=0), "one row of an example.*groups="),
        (lambda x: tf.RaggedTensor.from_tensor(x), "to_tensor"),
    ],
)
def test_an_example_must_stay_one_row(preprocess, message):
    with pytest.raises(ValueError, match=message):
        made_by(preprocess)


def test_rows_whose_number_is_known_when_it_runs():
    with pytest.raises(tf.errors.InvalidArgumentError):
        made_by(lambda x: tf.boolean_mask(x, x[:, 0] > 3))


def test_a_task_without_preprocessor_is_left_alone():
    plain = bert_classifier()
    plain.preprocessor = None
    sampler = dp.PoissonSampler((np.zeros((4, LENGTH)), LABELS[:4]), 2)
    assert preprocessing.sampler_for(plain, sampler) is sampler
