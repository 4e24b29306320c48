"""Fisher-Yates from a ChaCha20 stream, word by word, with another ChaCha20."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms


def keystream(key: bytes, nonce: bytes, words: int) -> list[int]:
    """The first 64-bit words of RFC 8439's stream, counter from 0."""
    start = bytes(4) + bytes(nonce)
    cipher = Cipher(algorithms.ChaCha20(bytes(key), start), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(8 * words)), "<u8").tolist()


def place(first: int, second: int, choices: int) -> int:
    """Which of some places two words choose."""
    accepted = first < 2**64 - 2**64 % choices
    return (first if accepted else second) % choices


def fisher_yates(places: list[int]) -> list[int]:
    """Swaps i with places[i] for i = size - 1, ..., 1."""
    values = list(range(len(places)))
    for i in range(len(places) - 1, 0, -1):
        j = places[i]
        values[i], values[j] = values[j], values[i]
    return values


def permutation(key: bytes, nonce: bytes, size: int, place=place) -> list[int]:
    """The permutation that belongs to a key, a nonce and a size."""
    words = keystream(key, nonce, 2 * size)
    places = [0] * size
    for step in range(size - 1):
        i = size - 1 - step
        places[i] = place(words[2 * step], words[2 * step + 1], i + 1)
    return fisher_yates(places)
