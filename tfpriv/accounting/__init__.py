"""The ledger of spent privacy, and what epsilon follows from it. No TensorFlow here."""

from tfpriv.accounting import mechanisms
from tfpriv.accounting.calibration import calibrate_noise
from tfpriv.accounting.entry import Entry
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.journal import Journal
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism

__all__ = [
    "Entry",
    "Journal",
    "Ledger",
    "LedgerError",
    "Mechanism",
    "calibrate_noise",
    "mechanisms",
]
