"""Greedy and beam search against slow loops, and the rules of a caption."""

import numpy as np
import pytest

from tfpriv.captioning import decode
from tfpriv.captioning.vocabulary import END_ID, PAD_ID, START_ID, UNKNOWN_ID


def features(model, pictures=4):
    rng = np.random.default_rng(0)
    size = model.image_size
    return model.encode(
        rng.uniform(0, 255, (pictures, size, size, 3)).astype("float32")
    )


def log_probabilities(model, features, row):
    """Of the word after `row` (a list that begins with START), under the rules."""
    tokens = np.zeros((1, 1, model.max_tokens), "int32")
    tokens[0, 0, : len(row)] = row
    logits = model({"features": features, "tokens": tokens}).numpy()
    scores = logits[0, 0, len(row) - 1].astype("float64")
    scores[[PAD_ID, START_ID, UNKNOWN_ID]] = -np.inf
    scores -= scores.max()
    return scores - np.log(np.exp(scores).sum())


def slow_search(model, features, beams):
    """Beam search with Python lists; a finished beam keeps its score."""
    kept = [([START_ID], 0.0)]
    for _ in range(model.max_tokens):
        longer = []
        for row, score in kept:
            if row[-1] == END_ID:
                longer.append((row, score))
                continue
            following = log_probabilities(model, features, row)
            longer += [([*row, w], score + p) for w, p in enumerate(following)]
        kept = sorted(longer, key=lambda item: -item[1])[:beams]
    return kept[0][0][1:]


@pytest.mark.parametrize("beams", [1, 3])
def test_search_equals_the_slow_loop(captioner, beams):
    given = features(captioner, 3)
    found = decode.search(captioner, given, beams).numpy()
    for i in range(3):
        expected = slow_search(captioner, given[i : i + 1], beams)
        row = list(found[i][: len(expected)])
        assert row == expected
        assert (found[i][len(expected) :] == PAD_ID).all()


def test_one_beam_is_greedy(captioner, monkeypatch):
    import keras_hub

    given = features(captioner)
    greedy = decode.search(captioner, given, 1).numpy()
    monkeypatch.setattr(
        decode, "sampler_for", lambda beams: keras_hub.samplers.BeamSampler(num_beams=1)
    )
    np.testing.assert_array_equal(decode.search(captioner, given, 1), greedy)


def test_nothing_follows_the_end(build_captioner):
    model = build_captioner()
    end = np.zeros(len(model.tokenizer.vocabulary), "float32")
    end[END_ID] = 6.0
    model.decoder.head.bias.assign(end)
    for beams in (1, 3):
        rows = decode.search(model, features(model), beams).numpy()
        for row in rows:
            assert END_ID in row
            assert (row[list(row).index(END_ID) + 1 :] == PAD_ID).all()


def test_a_batch_is_captioned_like_its_pictures(captioner):
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 255, (3, 16, 16, 3)).astype("float32")
    together = decode.caption_pictures(captioner, pictures, batch_size=2)
    alone = [decode.caption_pictures(captioner, p[None])[0] for p in pictures]
    assert together == alone


def test_wrong_arguments(build_captioner):
    model = build_captioner()
    for beams in (0, 1000):
        with pytest.raises(ValueError, match=f"beams={beams}"):
            decode.make_captioner(model, beams)
    with pytest.raises(ValueError, match="shape"):
        decode.caption_pictures(model, np.zeros((2, 8, 8, 3)))
