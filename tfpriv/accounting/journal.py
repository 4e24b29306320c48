"""The journal: a private file in which each step is written before it happens."""

import fcntl
import hashlib
import itertools
import json
import os
import re
import time
import weakref
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from tfpriv.accounting import checks, serialization
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism

_TORN = rb"[mr].*|s( \d*){0,3}( [0-9a-f]{0,7})?|"
_HEADER = '{"format":"tfpriv-journal","version":2}'
_HEADER_1 = '{"format":"tfpriv-journal","version":1}'  # had no `r` lines
_EPOCH = datetime.fromtimestamp(0, UTC)
_Key = tuple[Mechanism, str, str]


class Journal:
    """A write-ahead record of spent privacy, for one process at a time.

    `spend` returns when the step is on the disk. After a crash, opening the same file
    gives all that was spent, and goes on from there. The file is private (mode 0600):
    it is state for resuming, to be deleted when training is complete, and not a thing
    to release.

    Each line is a text, a blank and a checksum of the text and of all lines before
    it: `m` lines name a mechanism once, `r` lines name the run of the lines that
    follow, `s` lines count uses of a mechanism. A last line that a crash cut off is
    ignored, since its step did not begin; any other damage raises.

    Each opening of the file records under a run id of its own, so that the number of a
    step that a crash lost is not given to another one.

    Args:
        path: the file. It is created if it does not exist; its folder must.
        ledger: a ledger to keep on the disk. File and ledger are merged, and each use
            is recorded in both.

    Raises:
        LedgerError: if the file is damaged, or another process has it open.
        OSError: if it cannot be read or written.

    >>> with Journal("training.journal") as journal:          # doctest: +SKIP
    ...     for batch in batches:
    ...         journal.spend(mechanism, unit="image", purpose="training")
    ...         step(batch)
    """

    def __init__(
        self, path: str | os.PathLike[str], ledger: Ledger | None = None
    ) -> None:
        self.path = Path(path)
        self._descriptor = _open_private(self.path)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._ledger = Ledger()
        self._ids: dict[_Key, int] = {}
        self._chain = 0
        self._end = 0
        self._run = ""  # that of the last line
        try:
            self._replay()
            if ledger is not None:
                self._keep(ledger)
            self._ledger.begin_run()
            os.fchmod(self._descriptor, 0o600)  # it may have been there before
        except BaseException:
            self.close()
            raise

    def spend(
        self, mechanism: Mechanism, *, unit: str, purpose: str, count: int = 1
    ) -> None:
        """Writes uses of a mechanism to the disk, before they happen.

        Args:
            mechanism: what one use costs.
            unit: whose presence is protected.
            purpose: what it is for.
            count: number of uses, at least 1.

        Raises:
            LedgerError: if the journal is about another unit or relation, or closed.
            OSError: if it cannot be written; then nothing was spent.
            ValueError: if an argument is out of range.
        """
        self._ledger.check(mechanism, unit=unit, purpose=purpose, count=count)
        key = mechanism, unit, purpose
        self._write([(key, self._ledger.run_id, int(count))])

    def merge(self, ledger: Ledger) -> None:
        """Writes the steps of a ledger that the journal lacks to the disk.

        Args:
            ledger: the ledger to add. It is not changed.

        Raises:
            LedgerError: if it is about another unit or relation, or the journal is
                closed. Nothing has changed then.
            OSError: if it cannot be written. Nothing has changed then.
        """
        self._ledger.copy().merge(ledger)
        held = {entry.key: entry.runs for entry in self._ledger.entries}
        self._write(
            [
                (entry.key, run, count - held.get(entry.key, {}).get(run, 0))
                for entry in ledger.entries
                for run, count in entry.runs.items()
                if count > held.get(entry.key, {}).get(run, 0)
            ]
        )
        self._ledger.merge(ledger)

    def ledger(self) -> Ledger:
        """Returns a ledger of all that the journal holds."""
        return self._ledger.copy()

    def close(self) -> None:
        """Closes the file and lets other processes have it."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, ledger: Ledger) -> None:
        found = self._ledger
        self.merge(ledger)
        ledger.merge(found)
        self._ledger = ledger

    def _write(self, uses: list[tuple[_Key, str, int]]) -> None:
        """Writes uses to the disk, all or none, and counts them."""
        if not self._close.alive:
            raise LedgerError(f"The journal {self.path} is closed.")
        seconds = int(time.time())
        lines, ids, last_run = [], dict(self._ids), self._run
        for key, run, count in uses:
            if key not in ids:
                ids[key] = len(ids)
                lines.append(f"m {_mechanism_line(key)}")
            if run != last_run:
                lines.append(f"r {serialization.canonical(run)}")
                last_run = run
            lines.append(f"s {ids[key]} {count} {seconds}")
        self._append(lines)
        self._ids, self._run = ids, last_run
        for key, run, count in uses:
            self._count(key, run, count, seconds)

    def _count(self, key: _Key, run: str, count: int, seconds: int) -> None:
        # `timedelta` raises ArithmeticError for years that `datetime` does not have.
        when = (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")
        self._ledger.count_uses(key, count, when, run)

    def _append(self, lines: list[str]) -> None:
        """Writes lines durably, or none of them."""
        data, chain = b"", self._chain
        for line in lines:
            sealed, chain = _seal(line, chain)
            data += sealed
        try:
            _write_at(self._descriptor, data, self._end)
            os.fsync(self._descriptor)
        except BaseException:
            # What was written in part must not stand before the next line. If it
            # cannot be removed either, this journal is at its end.
            try:
                os.ftruncate(self._descriptor, self._end)
            except OSError:
                self.close()
            raise
        self._chain, self._end = chain, self._end + len(data)

    def _replay(self) -> None:
        """Reads the file, cuts off a torn last line, and writes a missing header."""
        data = _read_all(self._descriptor)
        *lines, rest = data.split(b"\n")
        chain = zlib.crc32(lines[-1]) if lines else 0
        if rest and _unseal(rest, chain) is not None:
            lines.append(rest)  # all but its end of line: it counts
        elif rest and not _is_torn(rest, first=not lines):
            raise self._damage(len(lines))
        self._run = _run_of_version_1(lines)
        for number, line in enumerate(lines):
            text = _unseal(line, self._chain)
            if text is None:
                raise self._damage(number)
            try:
                self._replay_line(number, text)
            except (
                LookupError,
                TypeError,
                ValueError,
                ArithmeticError,
                RecursionError,
            ) as error:
                raise self._damage(number) from error
            self._chain = zlib.crc32(line)
            self._end += len(line) + 1
        if self._end > len(data):
            _write_at(self._descriptor, b"\n", len(data))
        elif self._end < len(data):
            os.ftruncate(self._descriptor, self._end)
        if not lines:
            self._append([_HEADER])
            serialization.sync_folder(self.path.resolve().parent)

    def _replay_line(self, number: int, text: str) -> None:
        if number == 0:
            if text not in (_HEADER, _HEADER_1):
                raise ValueError(text)
            return
        kind, _, content = text.partition(" ")
        if kind == "r":
            self._run = checks.text("run", json.loads(content))
            return
        if kind == "m":
            document: dict[str, Any] = json.loads(content)
            if not isinstance(document, dict):
                raise ValueError(text)
            unit, purpose = document.pop("unit"), document.pop("purpose")
            key = serialization.mechanism_from_json(document), unit, purpose
            self._ledger.check(key[0], unit=unit, purpose=purpose)
            self._ids[key] = len(self._ids)
            return
        if kind != "s":
            raise ValueError(text)
        index, count, seconds = map(int, content.split(" "))
        key = list(self._ids)[index]
        self._ledger.check(key[0], unit=key[1], purpose=key[2], count=count)
        self._count(key, checks.text("run", self._run), count, seconds)

    def _damage(self, number: int) -> LedgerError:
        return LedgerError(
            f"The journal {self.path} is damaged in line {number + 1}. What was spent "
            "is not known for certain any more: restore the file from a copy, or "
            "start again from fresh weights."
        )


def _run_of_version_1(lines: list[bytes]) -> str:
    """A run id for the steps that version 1 wrote; empty for other files."""
    if not lines or not lines[0].startswith(_HEADER_1.encode()):
        return ""
    steps = itertools.takewhile(lambda line: not line.startswith(b"r "), lines)
    return "v1-" + hashlib.sha256(b"\n".join(steps)).hexdigest()


def _mechanism_line(key: _Key) -> str:
    mechanism, unit, purpose = key
    document = serialization.mechanism_to_json(mechanism)
    return serialization.canonical({**document, "unit": unit, "purpose": purpose})


def _open_private(path: Path) -> int:
    """Opens a file that only its owner may read, and locks it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LedgerError(
            f"The journal {path} is open in another process. One process at a time "
            "may spend from it."
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _seal(text: str, chain: int) -> tuple[bytes, int]:
    """One line with its checksum, and the checksum that the next one builds on."""
    body = text.encode()
    line = body + b" %08x" % zlib.crc32(body, chain)
    return line + b"\n", zlib.crc32(line)


def _is_torn(rest: bytes, *, first: bool) -> bool:
    """Whether the end of a file is the beginning of a line that was being written.

    A whole line with a wrong checksum and other files' content are not. Some file
    systems fill up with zeros what a power cut left unwritten.
    """
    rest = rest.rstrip(b"\0")
    if first:
        return _seal(_HEADER, 0)[0].startswith(rest)
    return re.fullmatch(_TORN, rest, re.DOTALL) is not None


def _unseal(line: bytes, chain: int) -> str | None:
    """The text of a line, or None if its checksum is wrong, or it is no text."""
    body, blank, checksum = line.rpartition(b" ")
    if not blank or checksum != b"%08x" % zlib.crc32(body, chain):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
