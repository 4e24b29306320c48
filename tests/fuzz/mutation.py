"""Inputs that are almost right: bytes changed, and values of JSON exchanged."""

import copy
import json
import random
import re

_VALUES = [
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**63, -(2**63) - 1, 10**400),
    *(0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf")),
    *("", "a", "0", "\0", "../a", "\ud800", "a b", "ä", "9" * 5000),
    *([], [[]], [None], [0, 1], {}, {"a": 1}, {"": None}),
]
_NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"nan",
    b"2147483648",
    b"9223372036854775808",
    b"1.5",
)
_PIECES = (b"\0", b"\n", b"\r", b'"', b",", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf")
_DEEP = 20_000  # brackets in each other


def mutate(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """An input with one to four changes.

    Args:
        data: the input.
        rng: what is drawn from.
        other: another input, of which a piece may come in.
    """
    if rng.random() < 0.6:
        try:
            return _json(data, rng)
        except (ValueError, RecursionError):
            pass  # it is no JSON: its bytes, then
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(_CHANGES)(data, rng, other)
    return data


def _json(data, rng):
    content = json.loads(data)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(content))
        if not places:
            return json.dumps(rng.choice(_VALUES)).encode()
        parent, key = rng.choice(places)
        kind = rng.randrange(4)
        if kind == 0:
            del parent[key]
        elif kind == 1:
            source, name = rng.choice(places)
            if name in (source if isinstance(source, dict) else range(len(source))):
                parent[key] = copy.deepcopy(source[name])
        else:
            parent[key] = copy.deepcopy(rng.choice(_VALUES))
    return json.dumps(content).encode()


def _places(content):
    """Where values stand: pairs of what holds them, and their key."""
    if isinstance(content, dict | list):
        keys = content if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield content, key
            yield from _places(content[key])


def _range(data, rng):
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice([1, 2, 4, 8, 30, 300]))


def _flip(data, rng, other):
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _overwrite(data, rng, other):
    size = rng.choice([1, 2, 4, 8])
    number = rng.choice([0, 1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**64 - 1])
    at = rng.randint(0, max(0, len(data) - size))
    order = rng.choice(["little", "big"])
    return data[:at] + (number % 256**size).to_bytes(size, order) + data[at + size :]


def _leave_out(data, rng, other):
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def _double(data, rng, other):
    start, end = _range(data, rng)
    return data[:end] + data[start:]


def _cut(data, rng, other):
    return data[: rng.randint(0, len(data))]


def _insert(data, rng, other):
    at = rng.randint(0, len(data))
    drawn = rng.randbytes(rng.randint(1, 8))
    return data[:at] + rng.choice([*_PIECES, drawn, b"[" * _DEEP]) + data[at:]


def _join(data, rng, other):
    start, end = _range(other, rng)
    at = rng.randint(0, len(data))
    return data[:at] + other[start:end] + data[at:]


def _number(data, rng, other):
    found = list(re.finditer(rb"\d+", data[:10_000]))
    if not found:
        return data
    start, end = rng.choice(found).span()
    return data[:start] + rng.choice([*_NUMBERS, b"9" * 400]) + data[end:]


_CHANGES = (_flip, _overwrite, _leave_out, _double, _cut, _insert, _join, _number)
