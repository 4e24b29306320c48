"""The error of ledgers and journals."""


class LedgerError(ValueError):
    """A ledger that cannot be read, does not fit, or matches other weights."""
