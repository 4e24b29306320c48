"""What `spend` returned from is on the disk, and is counted after any crash."""

import itertools
import os
import re
import stat
import subprocess
import sys
import time
import zlib

import pytest

from tfpriv.accounting import Journal, Ledger, LedgerError
from tfpriv.accounting import mechanisms as m

TRAIN = m.poisson(0.01, 1.1, notes=(m.PUBLIC_SIZE, "a name\nwith\x85breaks"))
RELEASE = m.poisson(0.01, 3.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "training.journal"


def fill(path, steps=5):
    with Journal(path) as journal:
        for step in range(steps):
            journal.record(TRAIN, unit="image", purpose="training")
            if step == 2:
                journal.record(RELEASE, unit="image", purpose="metrics", count=3)
        return journal


def test_reading_gives_what_was_spent(path):
    ledger = fill(path)
    expected = Ledger()
    expected.record(TRAIN, unit="image", purpose="training", count=5)
    expected.record(RELEASE, unit="image", purpose="metrics", count=3)
    assert ledger == expected
    with Journal(path) as journal:
        assert journal == expected
        assert journal.entries[0].first == ledger.entries[0].first
        journal.record(TRAIN, unit="image", purpose="training")
        journal.copy().record(TRAIN, unit="image", purpose="training")  # a copy
        assert len(journal) == 9
    with Journal(path) as journal:
        assert len(journal) == 9


def test_steps_are_short_lines(path):
    fill(path, steps=100)
    lines = path.read_text().split("\n")
    assert len(lines) == 1 + 2 + 1 + 101 + 1
    assert sum(line.startswith("m ") for line in lines) == 2
    assert all(len(line) < 40 for line in lines if line.startswith("s "))


def test_the_file_is_private(path):
    old = os.umask(0)
    try:
        fill(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    fill(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_spend_is_synced_before_it_returns(path, monkeypatch):
    synced = []
    fsync = os.fsync

    def note(descriptor):
        synced.append(path.stat().st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with Journal(path) as journal:
        assert len(synced) == 2  # the header, and the folder that now has the file
        for _ in range(3):
            journal.record(TRAIN, unit="image", purpose="training")
            assert synced[-1] == path.stat().st_size
    assert len(synced) == 5


def test_a_torn_last_line_is_ignored_at_every_length(path):
    fill(path, steps=3)
    data = path.read_bytes()
    starts = [0] + [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data)):
        path.write_bytes(data[:length])
        whole = [data[a:b] for a, b in itertools.pairwise(starts)]
        whole = whole[: sum(b - 1 <= length for b in starts[1:])]
        steps = sum(int(line.split()[2]) for line in whole if line.startswith(b"s "))
        with Journal(path) as journal:
            assert len(journal) == steps, length
            journal.record(TRAIN, unit="image", purpose="training")
        with Journal(path) as journal:
            assert len(journal) == steps + 1, length


def test_zeros_after_a_power_cut_are_ignored(path):
    fill(path)
    with open(path, "ab") as file:
        file.write(b"s 0 1" + bytes(300))
    with Journal(path) as journal:
        assert len(journal) == 8


def test_damage_anywhere_raises_and_changes_nothing(path):
    fill(path)
    data = path.read_bytes()
    for position in range(len(data)):
        edited = bytearray(data)
        edited[position] ^= (1, 4, 32)[position % 3]
        path.write_bytes(edited)
        with pytest.raises(LedgerError, match=r"damaged in line \d+"):
            Journal(path)
        assert path.read_bytes() == edited


def test_lines_left_out_doubled_or_exchanged(path):
    fill(path)
    lines = re.findall(rb"[^\n]*\n", path.read_bytes())
    for i in range(len(lines) - 1):
        without = lines[:i] + lines[i + 1 :]
        exchanged = [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]
        for edited in (without, lines[: i + 1] + lines[i:], exchanged):
            path.write_bytes(b"".join(edited))
            with pytest.raises(LedgerError, match="damaged"):
                Journal(path)


def test_another_file_is_left_alone(path):
    for content in (b"a text", b"a text\n", b"\xff\xd8\xff\xe0 a picture"):
        path.write_bytes(content)
        path.chmod(0o640)
        with pytest.raises(LedgerError, match="damaged in line 1"):
            Journal(path)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_checksum_does_not_make_a_text_of_bytes(path):
    body = b"m \xff"
    path.write_bytes(b"%s %08x\n" % (body, zlib.crc32(body)))
    with pytest.raises(LedgerError, match="damaged in line 1"):
        Journal(path)


@pytest.mark.parametrize(
    "line",
    [
        b"s 7 1 0",
        b"s 0 1 179577151795771500",  # more seconds than the system's calendar has
        b"s 0 1 -99999999999",
        b"s 0 1 9" + b"9" * 30,
        b"m 3",
        b"m " + b"[" * 9999,
    ],
)
def test_a_checksum_does_not_make_nonsense_right(path, line):
    fill(path)
    last = path.read_bytes().splitlines()[-1]
    with open(path, "ab") as file:
        file.write(b"%s %08x\n" % (line, zlib.crc32(line, zlib.crc32(last))))
    with pytest.raises(LedgerError, match="damaged in line 11"):
        Journal(path)


def test_one_writer_at_a_time(path):
    with Journal(path) as journal:
        with pytest.raises(LedgerError, match="open in another process"):
            Journal(path)
        other = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from tfpriv.accounting import Journal; Journal({str(path)!r})",
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert "open in another process" in other.stderr
        journal.record(TRAIN, unit="image", purpose="training")
    with Journal(path) as journal:
        assert len(journal) == 1


KILLED = """
import os, signal
from tfpriv.accounting import Journal, mechanisms
journal = Journal({path!r})
for step in range(20):
    journal.record(mechanisms.poisson(0.01, 1.1), unit="image", purpose="training")
    if step == 12:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_nothing_and_frees_the_lock(path):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.format(path=str(path))],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert killed.returncode == -9
    with Journal(path) as journal:
        assert len(journal) == 13


def test_refused_spending_writes_nothing(path):
    fill(path)
    before = path.read_bytes()
    with Journal(path) as journal:
        with pytest.raises(LedgerError, match="units do not compose"):
            journal.record(TRAIN, unit="person", purpose="training")
        with pytest.raises(LedgerError, match="relations do not compose"):
            journal.record(m.stream(1.0), unit="image", purpose="training")
        with pytest.raises(ValueError, match="count=0"):
            journal.record(TRAIN, unit="image", purpose="training", count=0)
        assert len(journal) == 8
    assert path.read_bytes() == before


@pytest.mark.parametrize("broken", ["pwrite", "fsync"])
def test_a_full_disk_spends_nothing(path, monkeypatch, broken):
    fill(path)
    before = path.read_bytes()
    pwrite = os.pwrite

    def half(descriptor, data, offset):
        pwrite(descriptor, data[: len(data) // 2], offset)
        raise OSError(28, "No space left on device")

    def no_sync(_):
        raise OSError(5, "Input/output error")

    with Journal(path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, half if broken == "pwrite" else no_sync)
            with pytest.raises(OSError, match=r"space|error"):
                journal.record(m.poisson(0.3, 9.0), unit="image", purpose="other")
        assert path.read_bytes() == before
        assert len(journal) == 8
        journal.record(m.poisson(0.3, 9.0), unit="image", purpose="other")
    with Journal(path) as journal:
        assert len(journal) == 9


def test_a_disk_that_cannot_be_mended_ends_the_journal(path, monkeypatch):
    fill(path)

    def fail(*_):
        raise OSError(5, "Input/output error")

    journal = Journal(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(OSError, match="Input/output"):
            journal.record(TRAIN, unit="image", purpose="training")
    with pytest.raises(LedgerError, match="is closed"):
        journal.record(TRAIN, unit="image", purpose="training")
    with Journal(path) as journal:
        assert len(journal) >= 8


def test_a_closed_journal_spends_nothing(path):
    with Journal(path) as journal:
        pass
    with pytest.raises(LedgerError, match="is closed"):
        journal.record(TRAIN, unit="image", purpose="training")
    journal.close()


def test_times_are_kept(path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    fill(path)
    monkeypatch.setattr(time, "time", lambda: 86400.5)
    fill(path)
    with Journal(path) as journal:
        entry = journal.entries[0]
    assert entry.first == "1970-01-01T00:00:00+00:00"
    assert entry.last == "1970-01-02T00:00:00+00:00"


def test_missing_folders_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "none" / "journal")
    with pytest.raises(IsADirectoryError):
        Journal(tmp_path)


@pytest.mark.parametrize(
    "clock", [[9e8, 8e8, 2e9, 0, 9e8], [0] * 5, [2e9, 1e9, 0, 1, 2]]
)
def test_a_clock_that_jumps_or_stands_changes_no_count(path, monkeypatch, clock):
    times = iter(clock)
    monkeypatch.setattr(time, "time", lambda: next(times))
    steady = Ledger()
    for _ in clock:
        with Journal(path) as journal:
            journal.record(TRAIN, unit="image", purpose="training")
        steady.record(TRAIN, unit="image", purpose="training")
    with Journal(path) as journal:
        found = journal
    assert found == steady
    assert found.epsilon(1e-5) == steady.epsilon(1e-5)
    (entry,) = found.entries
    assert entry.first <= entry.last


def test_a_disk_that_fills_up_counts_all_that_began(path, full_disk):
    fill(path)
    began = 8
    with Journal(path) as journal:

        def spend():
            nonlocal began
            for _ in range(20):
                journal.record(TRAIN, unit="image", purpose="training")
                began += 1

        with (
            full_disk(path.stat().st_size + 100),
            pytest.raises(OSError, match="large"),
        ):
            spend()
        assert began > 8  # some fitted, and one in part
        assert len(journal) == began
    with Journal(path) as journal:
        assert len(journal) == began


def test_a_read_only_folder_spends_nothing(read_only):
    fill(read_only.folder / "old.journal")
    with read_only as folder:
        for name in ("old.journal", "new.journal"):
            with pytest.raises(PermissionError):
                Journal(folder / name)
    assert [path.name for path in read_only.folder.iterdir()] == ["old.journal"]
    with Journal(read_only.folder / "old.journal") as journal:
        assert len(journal) == 8


TURNS = """
import sys
from tfpriv.accounting import Journal, LedgerError, mechanisms
done = 0
while done < 20:
    try:
        with Journal(sys.argv[1]) as journal:
            journal.record(mechanisms.poisson(0.01, 1.1), unit="image", purpose="x")
    except LedgerError as error:
        assert "open in another process" in str(error), error
    else:
        done += 1
"""


def test_two_processes_that_take_turns_are_both_counted(path):
    command = [sys.executable, "-c", TURNS, str(path)]
    both = [
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
        for _ in range(2)
    ]
    assert [process.wait() for process in both] == [0, 0]
    with Journal(path) as journal:
        assert len(journal) == 40
