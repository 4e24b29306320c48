"""A saved ledger is read back exactly, or not at all."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dp_accounting as dpa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.accounting import Ledger, LedgerError, serialization
from tfpriv.accounting import mechanisms as m

sys.path.insert(0, str(Path(__file__).parent))

import spent


@pytest.fixture(scope="module")
def ledger():
    return spent.ledger_of_all_kinds()


def test_round_trip(ledger, tmp_path):
    data = ledger.to_bytes()
    assert Ledger.from_bytes(data) == ledger
    assert Ledger.from_bytes(np.frombuffer(data, np.uint8)) == ledger
    assert Ledger.from_bytes(data).to_bytes() == data
    ledger.save(tmp_path / "ledger.json")
    assert Ledger.load(tmp_path / "ledger.json") == ledger
    assert os.listdir(tmp_path) == ["ledger.json"]


def test_truncation_at_every_length(ledger):
    data = ledger.to_bytes()
    for length in range(len(data)):
        with pytest.raises(LedgerError):
            Ledger.from_bytes(data[:length])


def test_every_byte_changed(ledger):
    """Letters, digits, signs, quotes, blanks, line ends: no byte may change."""
    data = ledger.to_bytes()
    for position in range(len(data)):
        for flip in (1, 2, 32):
            edited = bytearray(data)
            edited[position] ^= flip
            with pytest.raises(LedgerError):
                Ledger.from_bytes(bytes(edited))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pieces_left_out_or_doubled(ledger, data):
    good = ledger.to_bytes()
    start = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(start + 1, len(good)))
    for edited in (good[:start] + good[end:], good[:end] + good[start:]):
        with pytest.raises(LedgerError):
            Ledger.from_bytes(edited)


def edited(ledger, change, *, reseal):
    document = json.loads(ledger.to_bytes())
    change(document)
    if reseal:
        return serialization.seal(
            document["format"], document["version"], document["content"]
        )
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def drop_entry(document):
    del document["content"]["entries"][0]


def fewer_steps(document):
    runs = document["content"]["entries"][0]["runs"]
    document["content"]["entries"][0]["runs"] = dict.fromkeys(runs, 10)


def other_checksum(document):
    document["sha256"] = "0" * 64


def unmark(document):
    document["content"]["not_for_release"] = []


@pytest.mark.parametrize("change", [drop_entry, fewer_steps, other_checksum, unmark])
def test_edits_do_not_pass_the_checksum(ledger, change):
    with pytest.raises(LedgerError, match="checksum"):
        Ledger.from_bytes(edited(ledger, change, reseal=False))


@pytest.mark.parametrize("version", [0, 3, "2", 2.0, True, None])
def test_other_versions(ledger, version):
    data = edited(ledger, lambda d: d.update(version=version), reseal=True)
    with pytest.raises(LedgerError, match=r"version|checksum"):
        Ledger.from_bytes(data)


def entry(**changes):
    def change(document):
        document["content"]["entries"][0].update(changes)

    return change


def as_version_1(ledger):
    content = json.loads(ledger.to_bytes())["content"]
    for entry in content["entries"]:
        entry["count"] = sum(entry.pop("runs").values())
    return serialization.seal("tfpriv-ledger", 1, content)


def test_version_1_is_one_run_however_often_it_is_read(ledger):
    data = as_version_1(ledger)
    first, second = Ledger.from_bytes(data), Ledger.from_bytes(data)
    assert first == second == ledger
    assert first.merge(second) == ledger
    first.record(m.poisson(0.01, 1.1), unit="image", purpose="training")
    assert not second.includes(first)
    assert len(first.merge(ledger)) == 2 * len(ledger) + 1  # it holds no ids to compare


def gaussian(noise):
    return {"type": "GaussianDpEvent", "noise_multiplier": noise}


@pytest.mark.parametrize(
    "change",
    [
        entry(runs={}),
        entry(runs=None),
        entry(runs=[["a", 1]]),
        entry(runs={"": 1}),
        entry(runs={"a": 0}),
        entry(runs={"a": -5}),
        entry(runs={"a": 1.5}),
        entry(runs={"a": "1"}),
        entry(runs={"a": None}),
        entry(runs={"a": 2**60}),
        entry(runs={"a": 2**53, "b": 1}),
        entry(count=1),
        entry(unit=""),
        entry(unit=3),
        entry(unit="person"),
        entry(relation="REPLACE_ONE"),
        entry(relation="NONE"),
        entry(relation=None),
        entry(event=None),
        entry(event=[]),
        entry(event={"type": "NoOpDpEvent"}),
        entry(event={"type": "os.system", "command": "true"}),
        entry(event=gaussian(-1.0)),
        entry(event=gaussian(1)),
        entry(event=gaussian("1.0")),
        entry(
            event={
                "type": "PoissonSampledDpEvent",
                "sampling_probability": 2.0,
                "event": gaussian(1.0),
            }
        ),
        entry(notes="abc"),
        entry(notes=[1]),
        entry(population=0),
        entry(extra=1),
        lambda d: d["content"]["entries"].append(d["content"]["entries"][0]),
        lambda d: d["content"].update(entries=None),
        lambda d: d["content"].update(weights_digest=5),
        lambda d: d["content"].update(not_for_release=[""]),
        lambda d: d["content"].pop("not_for_release"),
        lambda d: d["content"].update(cautions=[""]),
        lambda d: d["content"].update(cautions=None),
        lambda d: d.update(content=[]),
        lambda d: d.update(content=None),
        lambda d: d.update(format="tfpriv-other"),
    ],
)
def test_a_checksum_does_not_make_nonsense_right(ledger, change):
    """Values are checked as `record` checks them, whoever sealed the file."""
    with pytest.raises(LedgerError):
        Ledger.from_bytes(edited(ledger, change, reseal=True))


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000],
)
def test_foreign_bytes(data):
    with pytest.raises(LedgerError):
        Ledger.from_bytes(data)


def test_load_names_the_file(tmp_path):
    path = tmp_path / "ledger.json"
    path.write_bytes(b"{")
    with pytest.raises(LedgerError, match=r"ledger\.json"):
        Ledger.load(path)
    with pytest.raises(FileNotFoundError):
        Ledger.load(tmp_path / "none.json")


def test_only_known_events_are_written():
    with pytest.raises(ValueError, match="does not hold"):
        serialization.event_to_json(dpa.LaplaceDpEvent(1.0))


# Saving is all or nothing.


@pytest.fixture
def saved(ledger, tmp_path):
    path = tmp_path / "ledger.json"
    ledger.save(path)
    return path


class Full:
    """A file on a full disk: it takes some bytes and then no more."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")


def break_rename(monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)


def break_sync(monkeypatch):
    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)


def break_write(monkeypatch):
    fdopen = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda *arguments: Full(fdopen(*arguments)))


@pytest.mark.parametrize("break_", [break_rename, break_sync, break_write])
def test_a_failed_save_leaves_the_old_file(ledger, saved, monkeypatch, break_):
    old = saved.read_bytes()
    newer = ledger.copy()
    newer.mark_not_for_release("another reason")
    with monkeypatch.context() as patch:
        break_(patch)
        with pytest.raises(OSError, match=r"error|space"):
            newer.save(saved)
    assert saved.read_bytes() == old
    assert os.listdir(saved.parent) == [saved.name]
    newer.save(saved)
    assert Ledger.load(saved) == newer


def test_saving_into_no_folder(ledger, tmp_path):
    with pytest.raises(FileNotFoundError):
        ledger.save(tmp_path / "none" / "ledger.json")


def test_a_disk_that_fills_up_leaves_the_old_file(ledger, saved, full_disk):
    old = saved.read_bytes()
    newer = ledger.copy()
    newer.mark_not_for_release("another reason")
    with full_disk(100), pytest.raises(OSError, match="large"):
        newer.save(saved)
    assert saved.read_bytes() == old
    assert os.listdir(saved.parent) == [saved.name]


def test_saving_into_a_read_only_folder(ledger, read_only):
    ledger.save(read_only.folder / "ledger.json")
    with read_only as folder:
        for name in ("ledger.json", "new.json"):
            with pytest.raises(PermissionError):
                Ledger().save(folder / name)
        assert Ledger.load(folder / "ledger.json") == ledger
        assert os.listdir(folder) == ["ledger.json"]


def test_two_that_save_at_once_leave_one_whole_file(ledger, saved):
    other = ledger.copy()
    other.mark_not_for_release("another reason")
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(x.save, saved) for x in 10 * (ledger, other)]:
            assert Ledger.load(saved) in (ledger, other)
            future.result()
    assert os.listdir(saved.parent) == [saved.name]


def test_a_clock_that_jumps_changes_no_count(monkeypatch):
    steady, jumping = Ledger(), Ledger()
    for time in ("2026-01-02", "2001-09-09", "2099-12-31", "1970-01-01"):
        steady.record(m.poisson(0.01, 1.1), unit="image", purpose="training")
        monkeypatch.setattr("tfpriv.accounting.ledger.now", lambda time=time: time)
        jumping.record(m.poisson(0.01, 1.1), unit="image", purpose="training")
    assert Ledger.from_bytes(jumping.to_bytes()) == steady
    assert jumping.epsilon(1e-5) == steady.epsilon(1e-5)
    assert jumping.entries[0].first == "1970-01-01"
    assert jumping.entries[0].last == "2099-12-31"
