"""Ledgers, journals, keys and protected pictures."""

import contextlib
import functools
import io
import json
import sys
from pathlib import Path

import numpy as np
from target import Target, as_json, place, written

from tfpriv.accounting import Journal, Ledger, LedgerError, journal_file, serialization
from tfpriv.accounting import mechanisms as m
from tfpriv.shuffling import codec, datasets
from tfpriv.shuffling.keys import Key
from tfpriv.shuffling.record import ShufflingRecord
from tfpriv.support.files import parse_json

sys.path.insert(0, str(Path(__file__).parents[1] / "accounting"))

import spent

KEY = Key(bytes(range(32)))


@functools.cache
def _ledgers():
    small = Ledger()
    small.record(m.gaussian_release(2.0), unit="person", purpose="release")
    ledgers = spent.ledger_of_all_kinds(), small, Ledger()
    return [ledger.to_bytes() for ledger in ledgers]


def _read_ledger(data):
    Ledger.from_bytes(data)
    assert data in _ledgers(), "a ledger was read that is not as it was written"


def _ledger_contents():
    return [as_json(json.loads(data)["content"]) for data in _ledgers()]


def _read_content(data):
    """As an attacker would write it: the checksum is right."""
    content = parse_json(data)
    try:
        sealed = serialization.seal("tfpriv-ledger", 2, content)
    except RecursionError as error:
        raise ValueError from error
    ledger = Ledger.from_bytes(sealed)
    counts = [sum(entry["runs"].values()) for entry in content["entries"]]
    assert [entry.count for entry in ledger.entries] == counts, "other counts"
    assert Ledger.from_bytes(ledger.to_bytes()) == ledger, "no round trip"
    assert ledger.epsilon(1e-5) >= 0, "an epsilon below 0, or none"


def _steps(opened):
    for noise, count in ((1.1, 5), (1.1, 2), (3.0, 1), (1.1, 40)):
        mechanism = m.poisson(0.01, noise)
        opened.record(mechanism, unit="image", purpose="training", count=count)
        yield opened.copy()


@functools.cache
def _journal():
    """A journal's bytes, and the ledger after each of its steps."""
    path = place("seed.journal")
    with Journal(path) as opened:
        ledgers = [Ledger(), *_steps(opened)]
    return path.read_bytes(), ledgers


def _read_journal(data):
    path = written("a.journal", data)
    with Journal(path) as opened:
        found = opened.copy()
    assert found in _journal()[1], "neither what was spent nor a beginning of it"


def _journal_texts():
    lines = _journal()[0].splitlines()
    return [b"\n".join(line.rpartition(b" ")[0] for line in lines)]


def _read_journal_texts(data):
    """As an attacker would write it: each line's checksum is right."""
    content, chain = b"", 0
    for text in data.decode("utf-8", "replace").split("\n"):
        line, chain = journal_file._seal(text, chain)
        content += line
    with Journal(written("b.journal", content)) as opened:
        found = opened.copy()
    assert all(entry.count > 0 for entry in found.entries), "a count below 1"
    assert Ledger.from_bytes(found.to_bytes()) == found, "no ledger"


@functools.cache
def _keys():
    contents = []
    for check_value in (True, False):
        path = place(f"seed{check_value}.key")
        KEY.save(path, check_value=check_value)
        contents.append(path.read_bytes())
    return contents


def _read_key(data):
    path = written("a.key", data)
    path.chmod(0o600)
    key = Key.load(path)
    if len(data.decode("ascii", "replace").splitlines()) > 2:
        assert key == KEY, "another key, in spite of a check value"


def _pictures():
    rng = np.random.default_rng(0)
    found = []
    for shape, kind in (((5, 7, 3), np.uint8), ((4, 4, 1), np.uint16)):
        pixels = rng.integers(0, 256, shape).astype(kind)
        for fixed in (False, True):
            found += codec.protect(
                [codec.Picture(pixels)], KEY, fixed=fixed, check_value=fixed
            )
    return found


def _read_picture(data):
    picture = codec.read_protected(io.BytesIO(data), KEY, "a picture")
    codec.unprotect([picture], KEY)


def _records():
    nonce, check = bytes(range(12)), KEY.check_value()
    records = (
        ShufflingRecord((5, 7)),
        ShufflingRecord((5, 7), nonce),
        ShufflingRecord((1, 1), nonce, check),
    )
    return [as_json(record.texts()) for record in records]


def _read_record(data):
    content = parse_json(data)
    if not isinstance(content, dict):
        raise ValueError("a picture has texts by keyword")
    texts = {key: str(value) for key, value in content.items()}
    record = ShufflingRecord.of(texts)
    if record is not None:
        assert ShufflingRecord.of(record.texts()) == record, "no round trip"


@functools.cache
def _data_set():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype("u1")
    source, output = place("plain.npz"), place("protected.npz")
    np.savez(source, x=pictures, labels=np.arange(3))
    datasets.protect(source, output, KEY, check_value=True)
    return output.read_bytes()


def _read_data_set(data):
    output = place("unprotected.npz")
    with contextlib.suppress(FileNotFoundError):
        output.unlink()
    datasets.unprotect(written("a.npz", data), output, KEY)


def _marks():
    with np.load(io.BytesIO(_data_set())) as arrays:
        return [str(arrays[datasets.MARK]).encode()]


def _read_mark(data):
    with np.load(io.BytesIO(_data_set())) as arrays:
        content = dict(arrays)
    content[datasets.MARK] = np.array(data.decode())
    stream = io.BytesIO()
    np.savez(stream, **content)
    _read_data_set(stream.getvalue())


TARGETS = (
    Target("ledger", _ledgers, _read_ledger, (LedgerError,)),
    Target("ledger, sealed anew", _ledger_contents, _read_content),
    Target("journal", lambda: [_journal()[0]], _read_journal, (LedgerError,)),
    Target("journal, sealed anew", _journal_texts, _read_journal_texts, (LedgerError,)),
    Target("key", _keys, _read_key),
    Target("protected picture", _pictures, _read_picture),
    Target("record of a picture", _records, _read_record),
    Target("protected data set", lambda: [_data_set()], _read_data_set),
    Target("mark of a data set", _marks, _read_mark),
)
