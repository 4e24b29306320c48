"""What is stored with a picture: written and read, pinned, and checked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpriv.shuffling.record import ShufflingRecord

NONCE, CHECK = bytes(range(12)), bytes(range(8))
TEXTS = {
    "tfpriv-shuffling": "1",
    "tfpriv-mode": "per picture",
    "tfpriv-size": "480x640",
    "tfpriv-nonce": "000102030405060708090a0b",
    "tfpriv-check": "0001020304050607",
}
SIDE = st.integers(1, 10**8)


def test_texts_are_pinned():
    assert ShufflingRecord((480, 640), NONCE, CHECK).texts() == TEXTS
    assert ShufflingRecord((1, 2)).texts() == {
        "tfpriv-shuffling": "1",
        "tfpriv-mode": "fixed",
        "tfpriv-size": "1x2",
    }


@given(
    st.tuples(SIDE, SIDE),
    st.none() | st.binary(min_size=12, max_size=12),
    st.none() | st.binary(min_size=8, max_size=8),
)
def test_round_trip(size, nonce, check):
    record = ShufflingRecord(size, nonce, check)
    assert ShufflingRecord.of({**record.texts(), "Comment": "mine"}) == record


def test_other_pictures_have_none():
    assert ShufflingRecord.of({"Comment": "a picture"}) is None


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("tfpriv-mode", "fixed"),
        ("tfpriv-mode", "sideways"),
        ("tfpriv-mode", None),
        ("tfpriv-size", "480"),
        ("tfpriv-size", "0x640"),
        ("tfpriv-size", "-1x640"),
        ("tfpriv-size", None),
        ("tfpriv-nonce", "00"),
        ("tfpriv-nonce", "x" * 24),
        ("tfpriv-nonce", None),
        ("tfpriv-check", ""),
        ("tfpriv-check", "00010203040506\u0661\u0662"),
    ],
)
def test_damage_is_found(keyword, text):
    texts = {**TEXTS, keyword: text}
    if text is None:
        del texts[keyword]
    with pytest.raises(ValueError, match="damaged"):
        ShufflingRecord.of(texts)


def test_a_later_version_is_refused():
    with pytest.raises(ValueError, match=r"later version.*'2'"):
        ShufflingRecord.of({**TEXTS, "tfpriv-shuffling": "2"})
