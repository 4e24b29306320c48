"""Damages bytes as accidents and enemies do; formats with checksums get right ones."""

import io
import json
import zipfile

import numpy as np

from tfpriv.accounting import serialization

# What breaks who reads a number, a text or a structure.
HOSTILE = [
    b"",
    b"\0",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"99999999999999999999",
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"\xff\xfe",
    b"../../etc/passwd",
    b"[" * 2000,
    b"\n",
    b" ",
    b",",
    b"\x7f\xff\xff\xff",
    b"\xff" * 8,
]


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """The bytes after one to four changes."""
    for _ in range(rng.integers(1, 5)):
        content = CHANGES[rng.integers(len(CHANGES))](rng, content)
    return content


def _place(rng, content):
    return int(rng.integers(len(content) + 1))


def _flip(rng, content):
    if not content:
        return content
    at = int(rng.integers(len(content)))
    return (
        content[:at] + bytes([content[at] ^ (1 << rng.integers(8))]) + content[at + 1 :]
    )


def _cut(rng, content):
    return content[: _place(rng, content)]


def _leave_out(rng, content):
    at = _place(rng, content)
    return content[:at] + content[at + int(rng.integers(1, 65)) :]


def _double(rng, content):
    at = _place(rng, content)
    piece = content[at : at + int(rng.integers(1, 129))]
    return content[:at] + piece * int(rng.integers(1, 4)) + content[at:]


def _exchange(rng, content):
    first, second = sorted((_place(rng, content), _place(rng, content)))
    return content[second:] + content[first:second] + content[:first]


def _insert(rng, content):
    at = _place(rng, content)
    return content[:at] + HOSTILE[rng.integers(len(HOSTILE))] + content[at:]


def _replace_number(rng, content):
    """A run of digits by something hostile."""
    digits = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if not digits:
        return _insert(rng, content)
    start = stop = int(rng.choice(digits))
    while stop < len(content) and 48 <= content[stop] <= 57:
        stop += 1
    return content[:start] + HOSTILE[rng.integers(len(HOSTILE))] + content[stop:]


CHANGES = (
    _flip,
    _flip,
    _cut,
    _leave_out,
    _double,
    _exchange,
    _insert,
    _replace_number,
    _replace_number,
)


def in_a_zip(rng: np.random.Generator, content: bytes) -> bytes:
    """Damages a member of an archive, whose checksums are right again."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = rng.integers(len(names))
        for i, name in enumerate(names):
            member = old.read(name)
            new.writestr(name, damaged(rng, member) if i == chosen else member)
    return made.getvalue()


def in_a_ledger(rng: np.random.Generator, content: bytes) -> bytes:
    """Changes a value of a ledger, whose checksum is right again."""
    document = json.loads(content)["content"]
    holder, at = document, None
    while at is None or (isinstance(holder[at], dict | list) and holder[at]):
        holder = holder if at is None else holder[at]
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        at = keys[int(rng.integers(len(keys)))]
    values = [None, -1, 0, 1, 2**64, 1e308, -1.5, "", "x", [], {}, True, [[]]]
    holder[at] = values[int(rng.integers(len(values)))]
    return serialization.seal("tfpriv-ledger", 1, document)
