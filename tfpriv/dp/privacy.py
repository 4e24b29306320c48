"""`model.privacy`: what private training has spent, and the keys it hands out."""

import contextlib
import hashlib
import itertools
import threading
import warnings

import numpy as np

from tfpriv.accounting import Journal, Ledger, mechanisms
from tfpriv.dp.randomness import Randomness

NO_TICKET = -1


class Privacy:
    """The privacy ledger of one model, and the only source of its noise keys.

    A noise key is given out for a ticket, and a ticket is an event that was already
    written down; without a ticket the event is written first. No noise, and so no
    update, without an entry in the ledger.

    Args:
        unit: Words for what one neighbour more or less means: `"example"`, or what
            a group is (`"person"`).
        max_occurrences: For batches that the user composes (`train_on_batch`, own
            loops): how often one unit can be in one batch. `None` declares nothing;
            such a step makes epsilon infinite.
        seed: Integer for tests; marks the ledger as not for release.
        weights: Function that returns the Keras variables the ledger speaks for, or
            `None`.
    """

    def __init__(self, unit="example", max_occurrences=None, seed=None, weights=None):
        if max_occurrences is not None and max_occurrences < 1:
            raise ValueError(
                "`max_occurrences` must be at least 1, or None. "
                f"Received: max_occurrences={max_occurrences}"
            )
        self.unit = unit
        self.max_occurrences = max_occurrences
        self.randomness = Randomness(seed)
        self._ledger = Ledger()
        self._journal = None
        self._weights = weights
        self._tickets = {}
        self._ticket_numbers = itertools.count()
        self._lock = threading.RLock()
        self._in_training = False
        self._weights_moved = False
        self._mark_seed()

    @property
    def ledger(self):
        """The `tfpriv.accounting.Ledger` of everything spent so far."""
        return self._ledger

    @property
    def delta(self):
        """The delta used where none is given: 1e-5, or less for large data sets."""
        populations = [
            entry.mechanism.population
            for entry in self._ledger.entries
            if entry.mechanism.population
        ]
        digits = len(str(max(populations, default=1)))
        return min(1e-5, 10.0**-digits)

    def epsilon(self, delta=None, accountant="rdp"):
        """Epsilon spent on the weights so far.

        Args:
            delta: Float in (0, 1). `None` takes `privacy.delta`.
            accountant: `"rdp"` or, tighter, `"pld"`.

        Returns:
            Float, an upper bound; infinity if nothing can be promised.

        Raises:
            tfpriv.accounting.LedgerError: If the weights were changed by something
                that the ledger does not know of.
        """
        self.check_weights()
        delta = self.delta if delta is None else delta
        return self._ledger.epsilon(delta, accountant=accountant)

    def statement(self, delta=None, format="text"):
        """What was protected, how strongly, and what was not (see `Ledger`)."""
        delta = self.delta if delta is None else delta
        return self._ledger.statement(delta=delta, format=format)

    def record(self, mechanism, purpose, count=1):
        """Writes down privacy spent outside of `fit`, and adopts today's weights.

        Args:
            mechanism: `tfpriv.accounting.Mechanism`, for instance
                `mechanisms.non_private("fine-tuned without privacy")`.
            purpose: Words for the ledger.
            count: How often it was applied.
        """
        self._write(mechanism, purpose, count)
        self._weights_moved = True

    def pay(self, mechanism, noise_multiplier, purpose="training step"):
        """Writes a step's event ahead and returns the ticket for its noise key."""
        with self._lock:
            self._write(mechanism, purpose)
            ticket = next(self._ticket_numbers)
            self._tickets[ticket] = noise_multiplier
        return ticket

    def redeem(self, ticket, noise_multiplier):
        """A fresh noise key, uint8 `(32,)`, for a paid ticket or a step paid now.

        Raises:
            ValueError: If the ticket is unknown, was used, or paid for other noise.
        """
        with self._lock:
            if ticket == NO_TICKET:
                self._write(self._own_batch_mechanism(noise_multiplier), "own batch")
            elif self._tickets.pop(ticket, None) != noise_multiplier:
                raise ValueError(
                    "Noise was asked for a batch that was not paid for, or paid at "
                    "another noise multiplier. Expected each batch of a sampler to "
                    f"be used once. Received: ticket={ticket}, "
                    f"noise_multiplier={noise_multiplier}"
                )
            self._weights_moved = True
        return np.frombuffer(self.randomness.key(), dtype=np.uint8)

    def _own_batch_mechanism(self, noise_multiplier):
        if self.max_occurrences is None:
            warnings.warn(
                "A training step on a batch of your own: nothing says how often one "
                "unit can be in it, so epsilon is infinite from here on. Declare it "
                "with `make_private(model, max_occurrences=1)`, or let `fit` sample.",
                stacklevel=2,
            )
        return mechanisms.stream(noise_multiplier, max_occurrences=self.max_occurrences)

    def metric_key(self):
        """A fresh noise key for a metric whose event a ticket has paid."""
        return np.frombuffer(self.randomness.key(), dtype=np.uint8)

    def _write(self, mechanism, purpose, count=1):
        entry = {"unit": self.unit, "purpose": purpose, "count": count}
        self._ledger.check(mechanism, **entry)
        if self._journal is not None:
            self._journal.spend(mechanism, **entry)
        self._ledger.record(mechanism, **entry)

    def _mark_seed(self):
        if self.randomness.seed is not None:
            self._ledger.mark_not_for_release("noise and sampling come from a seed")

    # Ledger and weights travel together.

    def adopt(self, ledger):
        """Takes over a ledger that was saved with the model's weights."""
        if self._journal is None:
            self._ledger = ledger
            self._mark_seed()
        self._weights_moved = False

    def check_weights(self):
        """Raises `LedgerError` if the weights are not those the ledger speaks for."""
        if self._weights is None or self._in_training or len(self._ledger) == 0:
            return
        if self._weights_moved or self._ledger.weights_digest is None:
            self.bind_weights()
        self._ledger.check_weights(digest_of(self._weights()))

    def bind_weights(self):
        """Makes the ledger speak for the weights as they are now."""
        if self._weights is not None:
            self._ledger.speak_for(digest_of(self._weights()))
        self._weights_moved = False

    def ledger_to_save(self):
        """The ledger as it must travel: bound to the weights beside it."""
        if self._weights_moved or self._in_training:
            self.bind_weights()
        return self._ledger

    @contextlib.contextmanager
    def training(self, journal_path=None):
        """While training: the journal is open and weights are expected to move."""
        self._in_training = True
        try:
            if journal_path is not None:
                self._open_journal(journal_path)
            yield
        finally:
            self._in_training = False
            self._tickets.clear()
            if self._journal is not None:
                self._journal.close()
                self._journal = None
        if len(self._ledger):
            self.bind_weights()

    def _open_journal(self, path):
        """Continues the journal of a killed run, or starts one from the ledger."""
        journal = Journal(path)
        survived = journal.ledger()
        if len(survived) == 0:
            for entry in self._ledger.entries:
                journal.spend(
                    entry.mechanism,
                    unit=entry.unit,
                    purpose=entry.purpose,
                    count=entry.count,
                )
        else:
            if not _covers(survived, self._ledger):
                survived.merge(self._ledger)  # counts too much rather than too little
            self._ledger = survived
            self._mark_seed()
        self._journal = journal


def _covers(whole, part):
    """Whether `whole` holds every entry of `part` at least as often."""
    counts = {entry.key: entry.count for entry in whole.entries}
    return all(counts.get(e.key, 0) >= e.count for e in part.entries)


def digest_of(variables):
    """SHA-256 over the values of Keras variables, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        value = np.ascontiguousarray(np.asarray(variable))
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
