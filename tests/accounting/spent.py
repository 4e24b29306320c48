"""A ledger that holds something of every kind."""

from tfpriv.accounting import Ledger
from tfpriv.accounting import mechanisms as m


def ledger_of_all_kinds() -> Ledger:
    """Sampled steps, notes, a step without privacy, a mark, the weights' digest."""
    ledger = Ledger()
    train = m.poisson(0.01, 1.1, population=60_000, notes=(m.PUBLIC_SIZE, "ä"))
    ledger.record(train, unit="image", purpose="training", count=1000)
    ledger.record(m.poisson(0.5, 3.0), unit="image", purpose="metrics", count=3)
    ledger.record(m.non_private("a vocabulary"), unit="image", purpose="words")
    ledger.mark_not_for_release("seeded noise")
    ledger.set_weights_digest("abc")
    return ledger
