"""BLEU, ROUGE-L and CIDEr with pycocoevalcap's scorers, without Java.

pycocoevalcap's own evaluation tokenizes with Stanford's PTB tokenizer, a Java program.
Ours follows the same rules for the plain English of captions; every result says so,
since published figures were computed with the other.
"""

import contextlib
import io
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from tfpriv.captioning.scripts import LONE_LETTER, WORD_CHARACTER, normalized
from tfpriv.support import extras

TOKENIZER = "tfpriv (PTB-like, no Java)"
# What the PTB tokenizer of the COCO evaluation leaves out of captions.
PUNCTUATION = {
    "''", "'", "``", "`", "-lrb-", "-rrb-", "-lcb-", "-rcb-",
    ".", "?", "!", ",", ":", "-", "--", "...", ";",
}  # fmt: skip
_CONTRACTION = re.compile(r"(?<=\w)('s|'re|'ve|'ll|'d|'m|n't)\b")
_WORD = rf"{WORD_CHARACTER}+(?:[-./&]{WORD_CHARACTER}+)*"
_TOKEN = re.compile(
    rf"'(?:s|re|ve|ll|d|m)\b|n't\b|{LONE_LETTER}|{_WORD}|\.\.\.|--|[^\w\s]"
)


def tokenize(caption: str) -> str:
    """Lower-case tokens with blanks between them, punctuation left out.

    Clitics are split off ("man's" -> "man 's", "isn't" -> "is n't") and compounds
    kept whole ("t-shirt"). Words of other scripts are those of `scripts.words`.
    """
    text = normalized(caption).replace("\u2019", "'").replace("cannot", "can not")
    text = _CONTRACTION.sub(r" \1", text)
    return " ".join(t for t in _TOKEN.findall(text) if not _is_left_out(t))


def _is_left_out(token):
    if len(token) > 1 or token.isascii():
        return token in PUNCTUATION
    return unicodedata.category(token).startswith("P")


def score(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float | str | int]:
    """Corpus scores of one caption per picture against each picture's references.

    Args:
        candidates: One caption per picture.
        references: For each picture its captions, at least one.

    Returns:
        Dict with `BLEU-1` to `BLEU-4` and `ROUGE-L` (0 to 1), `CIDEr` (0 to 10; its
        word weights come from these references, so it depends on the set),
        `pictures` and `tokenizer`.

    Raises:
        ValueError: The lengths differ, nothing to score, or a picture without
            references.

    Reference:
        Papineni et al. 2002 (BLEU); Lin 2004 (ROUGE); Vedantam et al. 2015 (CIDEr);
        Chen et al., "Microsoft COCO captions: data collection and evaluation server".
    """
    if len(candidates) != len(references) or not len(candidates):
        raise ValueError(
            "There must be one caption per picture, and at least one picture. "
            f"Received: {len(candidates)} captions, {len(references)} pictures"
        )
    if any(not len(group) for group in references):
        raise ValueError(
            "Every picture needs at least one reference caption. Received: none for "
            f"picture {next(i for i, g in enumerate(references) if not len(g))}"
        )
    with extras.needs("captioning"):
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge

    found = {i: [tokenize(text)] for i, text in enumerate(candidates)}
    truth = {i: [tokenize(t) for t in group] for i, group in enumerate(references)}
    with contextlib.redirect_stdout(io.StringIO()):  # Bleu prints its lengths
        bleu, _ = Bleu(4).compute_score(truth, found)
        rouge, _ = Rouge().compute_score(truth, found)
        cider, _ = Cider().compute_score(truth, found)
    result = {f"BLEU-{n}": float(value) for n, value in enumerate(bleu, 1)}
    result |= {"ROUGE-L": float(rouge), "CIDEr": float(np.nan_to_num(cider))}
    return result | {"pictures": len(candidates), "tokenizer": TOKENIZER}
