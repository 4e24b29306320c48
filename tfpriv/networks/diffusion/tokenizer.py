"""Prompts to token numbers: KerasHub's CLIP tokenizer, padded for Stable Diffusion."""

import os
from pathlib import Path

import keras_hub
import numpy as np

from tfpriv.support.files import read_json
from tfpriv.support.outputs import atomic_file, write_json

VOCABULARY, MERGES, WHOLE = "vocab.json", "merges.txt", "tokenizer.json"
SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")
LENGTH = 77  # of CLIP's prompts
_END = "<|endoftext|>"
_SHOWN = 100  # characters of what is wrong


class Tokenizer:
    """From prompts to numbers of one length.

    Args:
        vocabulary: Token to number.
        merges: Pairs `"a b"` that are joined, in their order.
        length: Numbers to a prompt; what is longer is cut.
        pad_token: Fills what is shorter.

    Raises:
        ValueError: Tokens have no numbers of their own, a pair or what it is joined to
            is not in the vocabulary, or the pad token is not.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: list[str],
        length: int = LENGTH,
        pad_token: str = _END,
    ):
        _check(vocabulary, merges)
        if not isinstance(pad_token, str) or pad_token not in vocabulary:
            raise ValueError(
                f"The pad token must be in the vocabulary. Received: {pad_token!r}"
            )
        self.vocabulary, self.merges = vocabulary, merges
        self.length, self.pad_token = length, pad_token
        self._tokenizer = keras_hub.tokenizers.CLIPTokenizer(vocabulary, merges)

    def __call__(self, prompts: list[str]) -> np.ndarray:
        """The numbers, int32 `(len(prompts), length)`, from a start to an end mark."""
        start, end = self._tokenizer.start_token_id, self._tokenizer.end_token_id
        pad = self.vocabulary[self.pad_token]
        result = np.full((len(prompts), self.length), pad, np.int32)
        for row, prompt in zip(result, prompts, strict=True):
            found = [int(number) for number in self._tokenizer(prompt)]
            found = found[: self.length - 2]
            row[: len(found) + 2] = [start, *found, end]
        return result

    def save(self, folder: str | os.PathLike) -> None:
        """Writes transformers' files into a folder that is there."""
        folder = Path(folder)
        write_json(folder / VOCABULARY, self.vocabulary)
        with atomic_file(folder / MERGES) as file:
            lines = ["#version: 0.2", *self.merges]
            file.write(("\n".join(lines) + "\n").encode())
        settings = {
            "model_max_length": self.length,
            "pad_token": self.pad_token,
            "tokenizer_class": "CLIPTokenizer",
        }
        write_json(folder / SETTINGS[1], settings)


def read_tokenizer(folder: str | os.PathLike) -> Tokenizer:
    """The tokenizer in a folder of transformers.

    Args:
        folder: With `vocab.json` and `merges.txt`, or `tokenizer.json`; and perhaps
            settings.

    Raises:
        FileNotFoundError: The files are missing.
        ValueError: They are damaged.
    """
    folder = Path(folder)
    settings = {}
    for name in SETTINGS:
        if (folder / name).is_file():
            settings |= read_json(folder / name)
    pad = settings.get("pad_token") or _END
    if isinstance(pad, dict):  # a token with its properties
        pad = pad.get("content")
    length = settings.get("model_max_length", LENGTH)
    if not isinstance(length, int | float) or not length >= 2:
        raise ValueError(
            "`model_max_length` must be a number from 2, for a start and an end mark. "
            f"Received: {length!r} in {folder}"
        )
    return Tokenizer(*_vocabulary(folder), int(min(length, LENGTH)), pad)


def _check(vocabulary, merges):
    """Refuses what KerasHub and TensorFlow have all kinds of errors for."""
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else [None]
    if not all(type(n) is int and 0 <= n < 2**31 for n in numbers) or (
        len(set(numbers)) < len(numbers)
    ):
        raise ValueError(
            "A vocabulary gives each token a whole number of its own, from 0. "
            f"Received: {str(vocabulary)[:_SHOWN]}"
        )
    wrong = [pair for pair in merges if not _is_pair(pair, vocabulary)]
    if wrong or not merges or len(set(merges)) < len(merges):
        raise ValueError(
            "Merges must be pairs of tokens of the vocabulary that make another, each "
            f"once and at least one. Received: {str(wrong[:1] or merges)[:_SHOWN]}"
        )


def _is_pair(pair, vocabulary):
    parts = pair.split(" ")
    return len(parts) == 2 and {*parts, "".join(parts)} <= vocabulary.keys()


def _vocabulary(folder):
    """Token to number, and the pairs, from either form of the files."""
    if not (folder / VOCABULARY).is_file() and (folder / WHOLE).is_file():
        model = read_json(folder / WHOLE).get("model", {})
        try:
            return model.get("vocab", {}), [
                pair if isinstance(pair, str) else " ".join(pair)
                for pair in model.get("merges", [])
            ]
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"The file holds no tokenizer ({error}). Received: {folder / WHOLE}"
            ) from error
    vocabulary = read_json(folder / VOCABULARY)
    if not (folder / MERGES).is_file():
        raise FileNotFoundError(f"There is no such file. Received: {folder / MERGES}")
    lines = (folder / MERGES).read_text(encoding="utf-8").splitlines()
    return vocabulary, [
        line for line in lines if line and not line.startswith("#version")
    ]
