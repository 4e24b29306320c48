"""What makes a word, in any script.

A word is a run of letters and decimal digits with their marks. In scripts that are
written without blanks between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) each
letter with its marks is a word.
"""

import itertools
import re
import unicodedata

# Hyphens and joiners that are not seen, and variants of the same character.
_INVISIBLE = dict.fromkeys([0xAD, 0x200C, 0x200D, 0x2060, *range(0xFE00, 0xFE10)])
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u30ff"  # Japanese kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)


def _ranges(*categories):
    """All characters of these categories, as ranges of a class of `re`."""
    runs = itertools.groupby(
        map(chr, range(0x20000)), lambda c: unicodedata.category(c) in categories
    )
    found = (list(run) for inside, run in runs if inside)
    return "".join(f"{run[0]}-{run[-1]}" for run in found)


_MARKS = _ranges("Mn", "Mc")
_SMALL_NUMBERS = _ranges("No")  # superscripts, fractions
# For `re`: one letter that is a word; one character of a longer word. A class of many
# characters is slow with `\w` inside.
LONE_LETTER = rf"(?=\w)[{_UNSPACED}][{_MARKS}]*"
WORD_CHARACTER = rf"(?:(?![{_UNSPACED}])\w|[{_MARKS}])"
_LETTERS = rf"(?:[a-z0-9]+|(?![{_UNSPACED}_{_SMALL_NUMBERS}])\w)[{_MARKS}]*"
_WORD = re.compile(rf"{LONE_LETTER}|(?:{_LETTERS})+")


def normalized(text: str) -> str:
    """Lower case, in Unicode's composed form (NFC), without invisible characters."""
    return unicodedata.normalize("NFC", text.lower()).translate(_INVISIBLE)


def words(text: str) -> list[str]:
    """Normalized words of a text; apostrophes and punctuation are left out."""
    return _WORD.findall(normalized(text).replace("'", ""))


def without_accents(text: str) -> str:
    """A text without the marks of its letters: "café" becomes "cafe"."""
    parts = unicodedata.normalize("NFD", text)
    kept = "".join(c for c in parts if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", kept)
