"""One entry of a ledger: a mechanism, what it was used on and for, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tfpriv.accounting import serialization
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.support import checks


def now() -> str:
    """Returns the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Entry:
    """A mechanism, what it was used on and for, and how often in each run.

    Uses within a run are numbered 0, 1, 2, ...; a count stands for all numbers below
    it, so that the union of two entries is exact.

    Args:
        mechanism: what one use costs.
        unit: whose presence is protected, e.g. "example", "image", "person".
        purpose: what the uses were for, e.g. "training".
        runs: number of uses by run id.
        first: when the first was recorded, ISO 8601 in UTC.
        last: when the last was recorded.
    """

    mechanism: Mechanism
    unit: str
    purpose: str
    runs: Mapping[str, int]
    first: str
    last: str

    @property
    def key(self) -> tuple[Mechanism, str, str]:
        """What must be equal for two entries to be counted together."""
        return self.mechanism, self.unit, self.purpose

    @property
    def count(self) -> int:
        """Number of uses in all runs."""
        return sum(self.runs.values())

    def union(self, other: "Entry") -> "Entry":
        """Returns the uses of both entries, each once.

        Args:
            other: an entry of the same key.
        """
        longer = {
            run: max(count, self.runs.get(run, 0)) for run, count in other.runs.items()
        }
        return replace(
            self,
            runs={**self.runs, **longer},
            first=min(self.first, other.first),
            last=max(self.last, other.last),
        )

    def includes(self, other: "Entry") -> bool:
        """Whether every use of another entry of the same key is one of this entry's."""
        return all(self.runs.get(run, 0) >= n for run, n in other.runs.items())

    def to_json(self) -> dict[str, Any]:
        """Returns the entry as JSON."""
        return {
            **serialization.mechanism_to_json(self.mechanism),
            "unit": self.unit,
            "purpose": self.purpose,
            "runs": dict(self.runs),
            "first": self.first,
            "last": self.last,
        }

    @classmethod
    def from_json(cls, document: Any) -> "Entry":
        """Returns the entry that `to_json` wrote.

        Raises:
            LedgerError: if it is not one.
        """
        mechanism = serialization.mechanism_from_json(document)
        try:
            entry = cls(
                mechanism,
                checks.text("unit", document["unit"]),
                checks.text("purpose", document["purpose"]),
                _runs(document["runs"]),
                checks.text("first", document["first"]),
                checks.text("last", document["last"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"An entry of the ledger is damaged: {error}") from error
        if document != entry.to_json():
            raise LedgerError(f"An entry of the ledger is damaged: {document!r}")
        return entry


def _runs(document: Any) -> dict[str, int]:
    runs = {
        checks.text("run", run): checks.whole("count", count)
        for run, count in document.items()
    }
    checks.whole("count", sum(runs.values()))
    return runs
