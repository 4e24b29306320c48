"""Words to numbers and back, from a fixed, public list of words and word pieces.

A vocabulary learned from private captions is itself a release of them: it can be had
by asking for it (`learn`), and then the ledger says that epsilon is infinite.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from tfpriv.captioning import grammar
from tfpriv.captioning.scripts import normalized, without_accents, words
from tfpriv.support.warning import warn

PAD, START, END, UNKNOWN = "[PAD]", "[START]", "[END]", "[UNK]"
SPECIAL = (PAD, START, END, UNKNOWN)
PAD_ID, START_ID, END_ID, UNKNOWN_ID = range(4)
BUILT_IN = ("scenes", "english")
_PIECES = tuple("abcdefghijklmnopqrstuvwxyz0123456789")


def load_vocabulary(name: str | Path) -> list[str]:
    """A public vocabulary: built in, or a file that the user declares public.

    Args:
        name: `"scenes"` (the words of the scene grammar), `"english"` (everyday
            words, and letters to spell the others), or a file with one token a line,
            read as lower case; word pieces start with `##`, as in BERT's `vocab.txt`.

    Returns:
        Tokens; the first four are [PAD], [START], [END], [UNK].
    """
    if name == "scenes":
        return [*SPECIAL, *grammar.vocabulary()]
    if name == "english":
        text = resources.files("tfpriv.captioning").joinpath("words.txt").read_text()
        lines = [w for w in text.splitlines() if not w.startswith("#")]
        return with_letters(" ".join(lines).split())
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"A vocabulary is one of {BUILT_IN} or a file with one token a line. "
            f"Received: {name}"
        )
    try:
        tokens = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The vocabulary is not UTF-8 text. Received: {name}"
        ) from error
    known = [t if t in SPECIAL else normalized(t) for t in map(str.strip, tokens) if t]
    return check_tokens(known, name)


def check_tokens(tokens: Sequence[str], name="tokens") -> list[str]:
    """Puts the special tokens first and refuses what cannot be a vocabulary."""
    ordered = [*SPECIAL, *(t for t in dict.fromkeys(tokens) if t not in SPECIAL)]
    bad = [t for t in ordered if len(t.split()) != 1]
    if bad or len(ordered) == len(SPECIAL):
        raise ValueError(
            "A vocabulary must hold at least one token, and tokens no blanks. "
            f"Received: {name} (bad tokens: {bad[:3]})"
        )
    return ordered


def with_letters(words: Sequence[str]) -> list[str]:
    """Words, then letters and letters inside words: any word can be spelt."""
    endings = ["##s", "##es", "##ed", "##ing", "##er", "##ly", "##y"]
    return check_tokens(
        [*words, *endings, *_PIECES, *(f"##{letter}" for letter in _PIECES)]
    )


def learn(captions: Sequence[Sequence[str]], *, minimum_count: int = 2) -> list[str]:
    """The words of these captions, most frequent first. NOT private.

    Whoever trains with it on private captions must record
    `accounting.non_private(...)`; `train` does.
    """
    counts = Counter(w for group in captions for text in group for w in words(text))
    frequent = [w for w, c in counts.most_common() if c >= minimum_count]
    return with_letters(sorted(frequent, key=lambda w: (-counts[w], w)))


class Tokenizer:
    """Captions to rows of token numbers, through KerasHub's `WordPieceTokenizer`.

    Words are those of `scripts.words`, in any script. Where the vocabulary lacks an
    accented letter, the word is spelled without its accents.

    Args:
        vocabulary: Tokens, the first four as in `load_vocabulary`.
        max_tokens: Length of a row, the end mark included; longer captions are cut.
    """

    def __init__(self, vocabulary: Sequence[str], max_tokens: int):
        if tuple(vocabulary[:4]) != SPECIAL or max_tokens < 2:
            raise ValueError(
                f"A vocabulary must begin with {SPECIAL} and max_tokens be at least 2. "
                f"Received: {list(vocabulary[:4])}, max_tokens={max_tokens}"
            )
        self.vocabulary = list(vocabulary)
        self.max_tokens = max_tokens
        self._letters = frozenset("".join(vocabulary))

    @functools.cached_property
    def _pieces(self):
        import keras_hub

        return keras_hub.tokenizers.WordPieceTokenizer(
            vocabulary=self.vocabulary,
            oov_token=UNKNOWN,
            special_tokens=list(SPECIAL),
            lowercase=False,
            split=True,
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Token numbers `(n, max_tokens)`: words, end mark, padding with 0."""
        rows = np.zeros((len(texts), self.max_tokens), "int32")
        if not len(texts):
            return rows
        ragged = self._pieces([" ".join(map(self._spelled, words(t))) for t in texts])
        for row, numbers in zip(rows, ragged, strict=True):
            kept = np.asarray(numbers)[: self.max_tokens - 1]
            row[: len(kept)] = kept
            row[len(kept)] = END_ID
        return rows

    def _spelled(self, word):
        return word if self._letters.issuperset(word) else without_accents(word)

    def encode_groups(
        self, groups: Sequence[Sequence[str]], captions_per_picture: int
    ) -> np.ndarray:
        """All captions of each picture: `(n, captions_per_picture, max_tokens)`.

        Fewer captions are filled up with rows of padding, which weigh nothing; of
        more, the first (by caption id) are kept.
        """
        result = np.zeros((len(groups), captions_per_picture, self.max_tokens), "int32")
        kept = [group[:captions_per_picture] for group in groups]
        counts = np.array([len(group) for group in kept])
        filled = np.arange(captions_per_picture) < counts.reshape(-1, 1)
        result[filled] = self.encode([text for group in kept for text in group])
        return result

    def decode(self, rows: np.ndarray) -> list[str]:
        """Captions of token rows `(n, any)`, up to the end mark."""
        return [self._decode_row(row) for row in np.asarray(rows)]

    def _decode_row(self, row):
        said = itertools.takewhile(lambda number: number != END_ID, row)
        pieces = (self.vocabulary[n] for n in said if n not in (PAD_ID, START_ID))
        return " ".join(pieces).replace(" ##", "")


def check_known(targets: np.ndarray) -> None:
    """Warns of captions in which no word is known: they teach a model nothing.

    Args:
        targets: Token rows of captions, `(..., max_tokens)`; rows of padding are none.

    Raises:
        ValueError: There is no known word in any caption.
    """
    captions = (targets != PAD_ID).any(-1)
    unknown = int((captions & (targets <= UNKNOWN_ID).all(-1)).sum())
    if not unknown:
        return
    finding = (
        "no word of the vocabulary, and are trained as empty or unknown. Expected a "
        "vocabulary in the captions' language: `load_vocabulary(FILE)`, "
        "`--public-vocabulary FILE`. Received: captions without a known word: "
        f"{unknown} of {int(captions.sum())}"
    )
    if unknown == captions.sum():
        raise ValueError(f"The captions have {finding}")
    warn(f"Some captions have {finding}")


def teacher_inputs(targets: np.ndarray) -> np.ndarray:
    """What the decoder reads while it says `targets`: START, then all but the last."""
    inputs = np.roll(targets, 1, axis=-1)
    inputs[..., 0] = START_ID
    return inputs
