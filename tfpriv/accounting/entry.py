"""One entry of a ledger: a mechanism, and what it was used on, for what, how often."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tfpriv.accounting import checks, serialization
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.mechanisms import Mechanism


def now() -> str:
    """Returns the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Entry:
    """A mechanism, what it was used on and for, and how often.

    Args:
        mechanism: what one use costs.
        unit: whose presence is protected, e.g. "example", "image", "person".
        purpose: what the uses were for, e.g. "training".
        count: number of uses.
        first: when the first was recorded, ISO 8601 in UTC.
        last: when the last was recorded.
    """

    mechanism: Mechanism
    unit: str
    purpose: str
    count: int
    first: str
    last: str

    @property
    def key(self) -> tuple[Mechanism, str, str]:
        """What must be equal for two entries to be counted together."""
        return self.mechanism, self.unit, self.purpose

    def to_json(self) -> dict[str, Any]:
        """Returns the entry as JSON."""
        return {
            **serialization.mechanism_to_json(self.mechanism),
            "unit": self.unit,
            "purpose": self.purpose,
            "count": self.count,
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
                checks.whole("count", document["count"]),
                checks.text("first", document["first"]),
                checks.text("last", document["last"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"An entry of the ledger is damaged: {error}") from error
        if document != entry.to_json():
            raise LedgerError(f"An entry of the ledger is damaged: {document!r}")
        return entry
