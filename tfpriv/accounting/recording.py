"""Writes what a release costs into a ledger or a journal, before it happens."""

from pathlib import Path

import numpy as np

from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.journal import Journal
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.support.files import same_rows


def spend(
    ledger: Ledger,
    mechanism: Mechanism,
    *,
    unit: str,
    purpose: str,
    count: int = 1,
    seeded: bool = False,
) -> None:
    """Writes uses of a mechanism into either kind of record.

    Args:
        ledger: a `Journal` has them on the disk when this returns; a `Ledger` is in
            memory.
        mechanism: what one use costs.
        unit: whose presence is protected.
        purpose: what it is for.
        count: number of uses, at least 1.
        seeded: whether the noise can be repeated: no release then, but a test, which a
            `Ledger` is marked with and a `Journal` refuses.

    Raises:
        LedgerError: if it is about another unit or relation. Nothing was recorded.
        ValueError: if an argument is out of range. Nothing was recorded.
    """
    if not isinstance(ledger, Ledger):
        raise ValueError(
            "A release is written into a `Ledger`, or a `Journal` on the disk. "
            f"Received: ledger={ledger!r}"
        )
    if seeded and isinstance(ledger, Journal):
        raise ValueError(
            "A seed is for tests, which write into a `Ledger`: noise that can be "
            "repeated is no release. Received: a seed and a Journal"
        )
    ledger.record(mechanism, unit=unit, purpose=purpose, count=count)
    if seeded:
        ledger.mark_not_for_release("noise comes from a seed")


def uses(released: np.ndarray, distinct_persons: bool) -> int:
    """How often each person's loss is to be counted for one release of n items.

    Args:
        released: What is released of each item, first axis n.
        distinct_persons: Whether the items are declared to be of n different persons.

    Returns:
        1 for different persons, else n.

    Raises:
        ValueError: Items of different persons that are equal, byte for byte.
    """
    if not distinct_persons:
        return len(released)
    copies = same_rows(released)
    if copies:
        raise ValueError(
            "With `distinct_persons=True` every item must be of another person, but "
            "some are equal. Leave the copies out, or declare nothing. Received: equal "
            f"items {copies[0][:2]} of {len(released)}"
        )
    return 1


def check_copy(path: Path, journal: Journal) -> None:
    """Refuses a journal that says less than the copy of it which lies beside results.

    Args:
        path: of the ledger in the results' folder, where there may be none yet.
        journal: whose copy is to be written there.

    Raises:
        LedgerError: the journal lacks what was released there.
    """
    if path.is_file() and not journal.includes(Ledger.load(path)):
        raise LedgerError(
            "The journal says less than the ledger beside the results: it is another "
            "one, or an older state. Restore it, or name another folder. "
            f"Received: {journal.path} and {path}"
        )
