"""The ledger: the append-only record of everything that spent privacy."""

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tfpriv.accounting import serialization, statement
from tfpriv.accounting.composition import Composition
from tfpriv.accounting.entry import Entry, now
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.journal_file import JournalFile, Key, Use
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.support import checks
from tfpriv.support.moved import renamed
from tfpriv.support.outputs import atomic_file

# The file of a ledger in a SavedModel or `.keras` file.
LEDGER_NAME = "privacy_ledger.json"
_KIND = "tfpriv-ledger"
_VERSION = 2


class Ledger(Composition):
    """An append-only record of everything that spent privacy.

    Epsilon is computed from the recorded events, never stored. Entries of different
    units or neighbouring relations do not compose: recording one raises. Equal entries
    are counted together, so a million steps cost no more than one.

    Every ledger object records under a run id that no other object has: 128 random
    bits. Another ledger that holds steps of that run (a copy, a saved file, a journal)
    holds the first of them, so that `merge` counts each step once and `includes`
    compares steps, not counts.

    Two ledgers are equal if they hold the same entries with the same counts, the same
    marks and the same digest, whenever and in whichever run they were recorded.

    >>> from tfpriv.accounting import Ledger, mechanisms
    >>> ledger = Ledger()
    >>> ledger.record(
    ...     mechanisms.poisson(0.01, 1.1), unit="image", purpose="training", count=1000
    ... )
    >>> round(ledger.epsilon(delta=1e-5), 2)
    1.71
    """

    def __init__(self) -> None:
        super().__init__()
        self._file: JournalFile | None = None
        self.begin_run()

    # Recording.

    def record(
        self, mechanism: Mechanism, *, unit: str, purpose: str, count: int = 1
    ) -> None:
        """Adds uses of a mechanism.

        Args:
            mechanism: what one use costs.
            unit: whose presence is protected, e.g. "image".
            purpose: what it was for, e.g. "training".
            count: number of uses, at least 1.

        Raises:
            LedgerError: if the ledger is about another unit or relation. Nothing has
                changed then. What is not private at all composes with everything.
            ValueError: if an argument is out of range.
        """
        self.check(mechanism, unit=unit, purpose=purpose, count=count)
        key, run = (mechanism, unit, purpose), self.run_id
        if self._file is not None:
            self._file.write([(key, run, int(count))])
        self._count_uses(key, int(count), now(), run)

    def check(
        self, mechanism: Mechanism, *, unit: str, purpose: str, count: int = 1
    ) -> None:
        """Raises what `record` would raise, and changes nothing.

        Args:
            mechanism: as for `record`.
            unit: as for `record`.
            purpose: as for `record`.
            count: as for `record`.

        Raises:
            LedgerError: if it cannot be recorded.
            ValueError: if an argument is out of range.
        """
        if not isinstance(mechanism, Mechanism):
            raise ValueError(
                "`mechanism` must come from `tfpriv.accounting.mechanisms`. "
                f"Received: mechanism={mechanism!r}"
            )
        checks.text("unit", unit)
        checks.text("purpose", purpose)
        checks.whole("count", count)
        checks.whole("count", len(self) + int(count))
        leading = self._leading()
        if leading is None or not leading.mechanism.is_private:
            return
        if mechanism.is_private:
            _check_composable(leading, mechanism, unit)

    def _count_uses(self, key: Key, count: int, time: str, run: str) -> None:
        """Counts the next uses in a run, which passed `check`."""
        known = self._entries.get(key)
        before = known.runs.get(run, 0) if known else 0
        self._add(Entry(*key, {run: before + count}, time, time))

    def _add(self, entry: Entry) -> None:
        known = self._entries.get(entry.key)
        self._entries[entry.key] = known.union(entry) if known else entry

    @property
    def run_id(self) -> str:
        """The id under which this object records; a forked process gets another."""
        process, run = self._run
        return run if process == os.getpid() else self.begin_run()

    def begin_run(self, run_id: str | None = None) -> str:
        """Records under another run id from here on.

        Args:
            run_id: the id. `None` draws one from the operating system; give another
                ledger's only where both record the same steps in the same order.

        Returns:
            The id.
        """
        run = secrets.token_hex(16) if run_id is None else checks.text("run_id", run_id)
        self._run = os.getpid(), run
        return run

    def merge(self, other: "Ledger") -> Self:
        """Takes the union with another ledger about the same unit.

        A step that both ledgers hold counts once. The result has no weights digest
        unless both have the same.

        Args:
            other: the ledger to add. It is not changed.

        Returns:
            This ledger.

        Raises:
            LedgerError: if the other is about another unit or relation. Nothing has
                changed then.
            OSError: if a journal is open and cannot be written. Nothing has changed
                then.
        """
        if not isinstance(other, Ledger):
            raise ValueError(f"`other` must be a Ledger. Received: other={other!r}")
        union = self.copy()
        for entry in other.entries:
            union.check(entry.mechanism, unit=entry.unit, purpose=entry.purpose)
            union._add(entry)
        checks.whole("count", len(union), low=0)
        if self._file is not None:
            self._file.write(self._missing(other))
        self._entries = union._entries
        for reason in tuple(other._not_for_release):
            self.mark_not_for_release(reason)
        for text in tuple(other._warnings):
            self.add_warning(text)
        if self._weights_digest != other._weights_digest:
            self._weights_digest = None
        return self

    def _missing(self, other: "Ledger") -> list[Use]:
        """Returns the uses of another ledger that this one lacks."""
        found = []
        for entry in other.entries:
            own = self._entries.get(entry.key)
            for run, count in entry.runs.items():
                more = count - (own.runs.get(run, 0) if own else 0)
                if more > 0:
                    found.append((entry.key, run, more))
        return found

    # A file, written ahead.

    def open_journal(self, path: str | os.PathLike[str]) -> None:
        """Writes every use to a file from here on, before it is counted.

        The ledger gets the steps in the file, and the file those in the ledger. See
        `Journal` for the file. Steps are recorded under a new run id, so that a step
        that a crash lost does not share its id with another.

        Args:
            path: the file. It is created if it does not exist; its folder must exist.

        Raises:
            LedgerError: if the file is damaged, is open in another process, or does
                not compose with the ledger. Nothing has changed then.
            OSError: if it cannot be read or written. Nothing has changed then.
        """
        file, held = JournalFile(path), Ledger()
        try:
            file.replay(held._check_key, held._count_uses)
            union = self.copy().merge(held)
            file.write(held._missing(self))
        except BaseException:
            file.close()
            raise
        self._entries, self._file = union._entries, file
        self.begin_run()

    def _check_key(self, key: Key, count: int) -> None:
        self.check(key[0], unit=key[1], purpose=key[2], count=count)

    def close_journal(self) -> None:
        """Closes the file of `open_journal`; the ledger stays in memory."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def includes(self, other: "Ledger") -> bool:
        """Whether every step of another ledger is also one of this ledger's."""
        own = self._entries
        return all(e.key in own and own[e.key].includes(e) for e in other.entries)

    def copy(self) -> "Ledger":
        """Returns a ledger with the same steps, which records under its own run id."""
        copy = Ledger()
        copy._entries = dict(self._entries)
        copy._not_for_release = list(self._not_for_release)
        copy._warnings = list(self._warnings)
        copy._weights_digest = self._weights_digest
        return copy

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        """Pickles as bytes: what is loaded has its own run id."""
        return Ledger.from_bytes, (self.to_bytes(),)

    # Statement.

    def statement(
        self,
        delta: float = 1e-5,
        format: str = "text",
        accountant: str = "rdp",
        notes: Sequence[str] = (),
    ) -> str:
        """Says what was protected, from what, and how well.

        Args:
            delta: the delta of the claim, in [0, 1).
            format: "text" for people, "json" for programs; docs/accounting.md lists
                the keys.
            accountant: as for `epsilon`.
            notes: what to note besides the assumptions of the mechanisms.

        Returns:
            The statement.

        Raises:
            ValueError: if an argument is out of range.
        """
        return statement.write(self, delta, format, accountant, notes)

    # Release.

    def mark_not_for_release(self, reason: str) -> None:
        """Marks the weights or results of this ledger as not to be released.

        Args:
            reason: why, e.g. "noise from a fixed seed".
        """
        checks.text("reason", reason)
        if reason not in self._not_for_release:
            self._not_for_release.append(reason)

    def add_warning(self, text: str) -> None:
        """Adds a sentence to the warnings of every later statement.

        Epsilon does not change: a warning is about what the events do not cover, such
        as a choice by exact figures. It is saved with the ledger and never removed.

        Args:
            text: one or more sentences.

        Raises:
            ValueError: if the text is empty, or not a string.
        """
        checks.text("text", text)
        if text not in self._warnings:
            self._warnings.append(text)

    caution = renamed("caution", "add_warning")
    covers = renamed("covers", "includes")

    def set_weights_digest(self, digest: str) -> None:
        """Sets which weights the ledger matches.

        Args:
            digest: a digest of the weights.
        """
        self._weights_digest = checks.text("digest", digest)

    def check_weights(self, digest: str) -> None:
        """Raises for weights that the ledger does not match.

        Args:
            digest: the digest of the weights at hand.

        Raises:
            LedgerError: if the ledger matches others, or none.
        """
        if digest != self._weights_digest:
            raise LedgerError(
                "The ledger does not match these weights: they were changed without "
                "it, or it belongs to others. Record what changed them, then call "
                "`set_weights_digest`. "
                f"Expected digest {self._weights_digest}. Received: digest={digest!r}"
            )

    # Bytes and files.

    def to_bytes(self) -> bytes:
        """Returns the ledger as JSON with a checksum."""
        return serialization.seal(
            _KIND,
            _VERSION,
            {
                "entries": [entry.to_json() for entry in self.entries],
                "not_for_release": list(self._not_for_release),
                "cautions": list(self._warnings),
                "weights_digest": self._weights_digest,
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Ledger":
        """Reads what `to_bytes` wrote.

        Args:
            data: the bytes, or anything `bytes()` takes, such as a uint8 array.

        Returns:
            The ledger.

        Raises:
            LedgerError: if they are truncated, edited, or of another version.
        """
        version, content = serialization.unseal(data, _KIND, (1, _VERSION))
        ledger = cls()
        try:
            if version == 1:
                digest = hashlib.sha256(bytes(data)).hexdigest()
                content = _with_run(content, f"v1-{digest}")
            for document in content["entries"]:
                entry = Entry.from_json(document)
                if entry.key in ledger._entries:
                    raise LedgerError("An entry of the ledger stands there twice.")
                ledger.check(
                    entry.mechanism,
                    unit=entry.unit,
                    purpose=entry.purpose,
                    count=entry.count,
                )
                ledger._add(entry)
            for reason in content["not_for_release"]:
                ledger.mark_not_for_release(reason)
            for text in content.get("cautions", ()):  # absent in older files
                ledger.add_warning(text)
            if content["weights_digest"] is not None:
                ledger.set_weights_digest(content["weights_digest"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"The ledger is damaged: {error}") from error
        return ledger

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the ledger to a file, atomically.

        Args:
            path: the file; its folder must exist.

        Raises:
            OSError: if it cannot be written. An older file then stands unchanged.
        """
        content = self.to_bytes()
        with atomic_file(path, durable=True) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Ledger":
        """Reads a ledger from a file.

        Args:
            path: the file.

        Returns:
            The ledger.

        Raises:
            LedgerError: if the file is truncated, edited, or of another version.
            OSError: if it cannot be read.
        """
        try:
            return cls.from_bytes(Path(path).read_bytes())
        except LedgerError as error:
            raise LedgerError(f"{os.fspath(path)}: {error}") from error


def _with_run(content: Any, run: str) -> dict[str, Any]:
    """Returns the content of a version 1 document, which held counts without runs."""
    entries = []
    for entry in content["entries"]:
        rest = {name: value for name, value in entry.items() if name != "count"}
        entries.append({**rest, "runs": {run: entry["count"]}})
    return {**content, "entries": entries}


def _check_composable(leading: Entry, mechanism: Mechanism, unit: str) -> None:
    if unit != leading.unit:
        raise LedgerError(
            "Losses about different units do not compose; keep one ledger for each. "
            f"Expected unit={leading.unit!r}. Received: unit={unit!r}"
        )
    if mechanism.relation is not leading.mechanism.relation:
        raise LedgerError(
            "Losses under different neighbouring relations do not compose; use one "
            "kind of sampler throughout, or keep one ledger for each. "
            f"Expected {leading.mechanism.relation.name}. "
            f"Received: {mechanism.relation.name}"
        )
