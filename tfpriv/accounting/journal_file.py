"""The file of a journal: each use of a mechanism, written before it happens.

Each line is a text, a space and a checksum of the text and of all lines before it: `m`
lines define a mechanism, `r` lines set the run of the lines that follow, `s` lines
count uses of a mechanism. A last line that a crash cut off is ignored, since its step
did not begin; any other damage raises.
"""

import fcntl
import hashlib
import itertools
import json
import os
import re
import time
import weakref
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tfpriv.accounting import serialization
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.support import checks
from tfpriv.support.outputs import sync_folder

_TORN = rb"[mr].*|s( \d*){0,3}( [0-9a-f]{0,7})?|"
_HEADER = '{"format":"tfpriv-journal","version":2}'
_HEADER_1 = '{"format":"tfpriv-journal","version":1}'  # has no `r` lines
_EPOCH = datetime.fromtimestamp(0, UTC)

Key = tuple[Mechanism, str, str]  # mechanism, unit and purpose
Use = tuple[Key, str, int]  # key, run id and number of uses


class JournalFile:
    """A journal's file, locked for one process and readable by its owner only.

    Args:
        path: the file. It is created if it does not exist; its folder must exist.

    Raises:
        LedgerError: if another process has it open.
        OSError: if it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._descriptor = _open_private(self.path)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._ids: dict[Key, int] = {}
        self._chain = 0
        self._end = 0
        self._run = ""  # of the last line

    def close(self) -> None:
        """Closes the file and releases its lock."""
        self._close()

    def write(self, uses: Sequence[Use]) -> None:
        """Writes uses durably, all or none.

        Raises:
            LedgerError: if the file is closed.
            OSError: if it cannot be written.
        """
        if not self._close.alive:
            raise LedgerError(f"The journal {self.path} is closed.")
        if not uses:
            return
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
            # A line written in part must not precede the next one. If it cannot be
            # removed either, nothing more can be written.
            try:
                os.ftruncate(self._descriptor, self._end)
            except OSError:
                self.close()
            raise
        self._chain, self._end = chain, self._end + len(data)

    def replay(
        self,
        check: Callable[[Key, int], None],
        count_uses: Callable[[Key, int, str, str], None],
    ) -> None:
        """Reads the file, cuts off a torn last line and writes a missing header.

        Args:
            check: called with each key and count, raises if it cannot be recorded.
            count_uses: called with key, number of uses, time and run id.

        Raises:
            LedgerError: if the file is damaged.
        """
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
                self._replay_line(number, text, check, count_uses)
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
            sync_folder(self.path.resolve().parent)
        os.fchmod(self._descriptor, 0o600)  # of a file that existed before

    def _replay_line(
        self,
        number: int,
        text: str,
        check: Callable[[Key, int], None],
        count_uses: Callable[[Key, int, str, str], None],
    ) -> None:
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
            check(key, 1)
            self._ids[key] = len(self._ids)
            return
        if kind != "s":
            raise ValueError(text)
        index, count, seconds = map(int, content.split(" "))
        key = list(self._ids)[index]
        check(key, count)
        count_uses(key, count, _time_of(seconds), checks.text("run", self._run))

    def _damage(self, number: int) -> LedgerError:
        return LedgerError(
            f"The journal {self.path} is damaged in line {number + 1}. What was spent "
            "is not known for certain any more: restore the file from a copy, or "
            "start again from fresh weights."
        )


def _time_of(seconds: int) -> str:
    # `timedelta` raises ArithmeticError for years that `datetime` does not support.
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def _run_of_version_1(lines: list[bytes]) -> str:
    """A run id for the steps that version 1 wrote; empty for other files."""
    if not lines or not lines[0].startswith(_HEADER_1.encode()):
        return ""
    steps = itertools.takewhile(lambda line: not line.startswith(b"r "), lines)
    return "v1-" + hashlib.sha256(b"\n".join(steps)).hexdigest()


def _mechanism_line(key: Key) -> str:
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
