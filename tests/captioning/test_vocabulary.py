"""Words to numbers and back."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.captioning import coco, grammar, vocabulary
from tfpriv.captioning.score import tokenize
from tfpriv.captioning.vocabulary import END_ID, PAD_ID, START_ID, Tokenizer


@pytest.fixture(scope="module")
def english():
    return Tokenizer(vocabulary.load_vocabulary("english"), 60)


WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6))
def test_any_word_can_be_spelt(english, parts):
    text = " ".join(parts)
    rows = english.encode([text])
    assert english.decode(rows) == [text]
    assert vocabulary.UNKNOWN_ID not in rows


def test_scene_captions_need_a_token_a_word():
    tokenizer = Tokenizer(vocabulary.load_vocabulary("scenes"), 16)
    text = "a red circle to the left of a blue square"
    (row,) = tokenizer.encode([text])
    assert list(row[10:]) == [END_ID] + [PAD_ID] * 5
    assert tokenizer.decode([row]) == [text]
    assert set(grammar.vocabulary()) < set(tokenizer.vocabulary)


def test_punctuation_and_case_are_left_out(english):
    assert vocabulary.words("A man's hat, on (his) HEAD!") == [
        "a",
        "mans",
        "hat",
        "on",
        "his",
        "head",
    ]
    np.testing.assert_array_equal(
        english.encode(["A red hat."]), english.encode(["a red hat"])
    )


def english_words(text):
    """Words of a to z and digits alone, which the included checkpoints know."""
    return re.findall(r"[a-z0-9]+", text.lower().replace("'", ""))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_english_words_are_what_they_were(text):
    assert vocabulary.words(text) == english_words(text)


def test_words_of_real_captions_are_what_they_were(tiny_coco):
    for split in ("train", "val"):
        for group in coco.load_coco(tiny_coco, split).captions:
            for text in group:
                assert vocabulary.words(text) == english_words(text)


# ruff: noqa: RUF001 (letters of other scripts)
SCRIPTS = {
    "Ein M\u00e4dchen, \u00dcBER der Stra\u00dfe!": "ein mädchen über der straße",
    "cafe\u0301 (de\u0301ja\u0300_vu)": "café déjà vu",
    "Кот «Барсик» сидит.": "кот барсик сидит",
    "Η ΓΑΤΑ τρώει": "η γατα τρώει",
    "हिन्दी में बिल्ली।": "हिन्दी में बिल्ली",
    "قطة صغيرة، وكلب": "قطة صغيرة وكلب",
    "می\u200cخواهم": "میخواهم",
    "고양이 두 마리": "고양이 두 마리",
    "一只猫在iPad上。": "一 只 猫 在 ipad 上",
    "ねこが、2匹": "ね こ が 2 匹",
    "แมวน้ำ 2 ตัว": "แ ม ว น้ ำ 2 ตั ว",
    "I \u2764\ufe0f m\u00b2, \u00bd": "i m",
}


@pytest.mark.parametrize("text", SCRIPTS)
def test_words_of_any_script(text):
    """Expected words are written with composed letters and blanks between words."""
    words = vocabulary.words(text)
    assert words == SCRIPTS[text].split()
    tokenizer = Tokenizer([*vocabulary.SPECIAL, *dict.fromkeys(words)], 12)
    (decoded,) = tokenizer.decode(tokenizer.encode([text]))
    assert decoded == SCRIPTS[text]
    # What a model says word for word is what the scores compare it with.
    if "\u2764" not in text:
        assert tokenize(text.replace("_", " ").replace("(", "").replace(")", "")) == (
            tokenize(decoded)
        )


def test_accents_that_no_token_has_are_left_out(english):
    for text in ("a caf\u00e9 na\u00efve", "a cafe\u0301 nai\u0308ve"):
        assert english.decode(english.encode([text])) == ["a cafe naive"]


def test_long_captions_are_cut_and_ended():
    tokenizer = Tokenizer(vocabulary.load_vocabulary("scenes"), 4)
    (row,) = tokenizer.encode(["a red circle and a blue square"])
    assert row[-1] == END_ID
    assert tokenizer.decode([row]) == ["a red circle"]


def test_groups_are_padded_and_cut_in_order():
    tokenizer = Tokenizer(vocabulary.load_vocabulary("scenes"), 5)
    groups = [["a red star"], ["one", "two", "three", "four"]]
    tokens = tokenizer.encode_groups(groups, 3)
    assert tokens.shape == (2, 3, 5)
    assert (tokens[0, 1:] == PAD_ID).all()
    assert tokenizer.decode(tokens[1]) == ["one", "two", "three"]
    inputs = vocabulary.teacher_inputs(tokens)
    assert (inputs[..., 0] == START_ID).all()
    np.testing.assert_array_equal(inputs[..., 1:], tokens[..., :-1])


def test_a_public_file(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("[PAD]\n[UNK]\ncat\ndog\n##s\n\ncat\n")
    tokens = vocabulary.load_vocabulary(file)
    assert tokens == [*vocabulary.SPECIAL, "cat", "dog", "##s"]
    assert Tokenizer(tokens, 6).decode(Tokenizer(tokens, 6).encode(["cats dog"])) == [
        "cats dog"
    ]
    file.write_text("Hund\ncafe\u0301\nhund\n")
    assert vocabulary.load_vocabulary(file)[4:] == ["hund", "caf\u00e9"]
    file.write_text("two words\n")
    with pytest.raises(ValueError, match="no blanks"):
        vocabulary.load_vocabulary(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="UTF-8"):
        vocabulary.load_vocabulary(file)
    with pytest.raises(FileNotFoundError, match="vocabulary"):
        vocabulary.load_vocabulary(tmp_path / "none.txt")


def test_learned_words_are_the_captions_words():
    tokens = vocabulary.learn([["a zebra", "a zebra runs"], ["a cat"]])
    assert tokens[4:6] == ["a", "zebra"]
    assert "cat" not in tokens


def test_english_holds_the_scenes():
    english = vocabulary.load_vocabulary("english")
    assert set(grammar.vocabulary()) <= set(english)
    assert len(set(english)) == len(english)
