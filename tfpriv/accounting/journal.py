"""A ledger with a file: each use is on the disk before it happens."""

import os
from pathlib import Path
from typing import Self

from tfpriv.accounting.ledger import Ledger


class Journal(Ledger):
    """A `Ledger` that writes each use to a file before it counts it.

    `record` and `merge` return when the uses are on the disk. After a crash, opening
    the same file gives all that was spent, and continues. The file is private (mode
    0600), for one process at a time. It is a state to resume from: delete it when
    training is complete, and do not release it.

    Args:
        path: the file. It is created if it does not exist; its folder must exist.

    Raises:
        LedgerError: if the file is damaged, or another process has it open.
        OSError: if it cannot be read or written.

    >>> with Journal("training.journal") as journal:          # doctest: +SKIP
    ...     for batch in batches:
    ...         journal.record(mechanism, unit="image", purpose="training")
    ...         step(batch)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        self.open_journal(path)

    def close(self) -> None:
        """Closes the file. Recording raises `LedgerError` from here on."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
