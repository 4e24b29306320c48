"""`model.privacy`: what private training has spent, and the noise keys it hands out."""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfpriv.accounting import mechanisms
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.dp.budget import Budget
from tfpriv.dp.participation import Participations
from tfpriv.dp.provenance import Provenance
from tfpriv.support.randomness import Randomness
from tfpriv.support.warning import warn

NO_TICKET = -1

_THESE_WEIGHTS_ALONE = (
    "the ledger was loaded with the weights: epsilon is about these weights alone, and "
    "does not cover other training runs on the same data"
)


class Privacy:
    """The privacy ledger of one model, and the only source of its noise keys.

    A noise key is given out for a ticket, and a ticket is an event that is in the
    ledger. Without a ticket the event is recorded first: no noise, and so no update,
    without an entry in the ledger.

    Args:
        unit: Privacy unit: `"example"`, or what a group is (`"person"`).
        max_occurrences: For user-provided batches (`train_on_batch`, custom training
            loops): how often one unit can be in one batch. With `None` such a step
            makes epsilon infinite.
        max_participations: For user-provided batches: in how many of them, in all, one
            unit can be. With `None` a unit is charged in every batch.
        seed: Integer for tests; marks the ledger as not for release.
        model: Keras model whose weights the ledger is about, or `None`.

    Raises:
        ValueError: If `max_occurrences` or `max_participations` is less than 1, or the
            second is given without the first.
    """

    def __init__(
        self,
        unit: str = "example",
        max_occurrences: int | None = None,
        seed: int | None = None,
        model: keras.Model | None = None,
        *,
        max_participations: int | None = None,
    ) -> None:
        self._ledger = Ledger()
        self.provenance = Provenance(self._ledger, model)
        self._tickets: dict[int, float] = {}
        self._ticket_numbers = itertools.count()
        self._lock = threading.RLock()
        self._notes: list[str] = []  # for the statement
        self.in_training = False
        self.budget: Budget | None = None  # of the optimizer
        self.declare(unit, max_occurrences, seed, max_participations)

    def declare(
        self,
        unit: str,
        max_occurrences: int | None,
        seed: int | None,
        max_participations: int | None = None,
    ) -> None:
        """Sets the arguments of the class; the ledger keeps its entries.

        Raises:
            ValueError: If the ledger has entries about another unit, or an argument is
                out of range.
        """
        declared = (max_occurrences, max_participations)
        if any(k is not None and k < 1 for k in declared) or (
            declared[0] is None and declared[1] is not None
        ):
            raise ValueError(
                "`max_occurrences` and `max_participations` must be at least 1, or "
                "None, and the second needs the first. Received: max_occurrences="
                f"{max_occurrences}, max_participations={max_participations}"
            )
        if self._ledger.unit not in (None, unit):
            raise ValueError(
                "The ledger of this model is about another unit. Expected: "
                f"unit={self._ledger.unit!r}. Received: unit={unit!r}"
            )
        self.unit = unit
        self.max_occurrences = max_occurrences
        self._participations = Participations(max_participations)
        self.randomness = Randomness(seed)
        if seed is not None:
            self._ledger.mark_not_for_release("noise and sampling come from a seed")

    # What was spent.

    @property
    def ledger(self) -> Ledger:
        """The `tfpriv.accounting.Ledger` of everything spent so far."""
        if not self.in_training:
            self.provenance.take_over()
        return self._ledger

    @property
    def delta(self) -> float:
        """The default delta: that of the optimizer's budget, or below 1/n.

        Without a budget it is 1e-5, or less for data sets of more than 10,000 units.
        """
        if self.budget is not None:
            return self.budget.delta
        populations = [e.mechanism.population or 1 for e in self._ledger.entries]
        return min(1e-5, 10.0 ** -len(str(max(populations, default=1))))

    @property
    def accountant(self) -> str:
        """The default accountant: that of the optimizer's budget, or `"rdp"`."""
        return "rdp" if self.budget is None else self.budget.accountant

    def epsilon(
        self, delta: float | None = None, accountant: str | None = None
    ) -> float:
        """Computes the epsilon spent on the weights so far.

        Args:
            delta: Float in (0, 1). `None` takes `privacy.delta`.
            accountant: `"rdp"` or, tighter, `"pld"`. `None` takes `privacy.accountant`.

        Returns:
            Upper bound of epsilon; infinity if there is none.

        Raises:
            tfpriv.accounting.LedgerError: If something that recorded nothing changed
                the weights.
        """
        self.check_weights()
        delta = self.delta if delta is None else delta
        return self._ledger.epsilon(delta, accountant=accountant or self.accountant)

    def statement(
        self,
        delta: float | None = None,
        format: str = "text",
        accountant: str | None = None,
    ) -> str:
        """Writes what is protected, how strongly, and what is not.

        Args:
            delta: As for `epsilon`.
            format: `"text"`, or `"json"` for programs.
            accountant: As for `epsilon`.

        Raises:
            tfpriv.accounting.LedgerError: As for `epsilon`.
        """
        self.check_weights()
        if len(self._ledger):
            self.provenance.bind_if_trained()
        delta = self.delta if delta is None else delta
        accountant = accountant or self.accountant
        return self._ledger.statement(delta, format, accountant, self._notes)

    def check_weights(self) -> None:
        """Raises `LedgerError` if the ledger does not match the weights."""
        if not self.in_training:
            self.provenance.take_over()
            self.provenance.check()

    def bind_weights(self) -> None:
        """Makes the ledger match the weights as they are now.

        For changes that used no private data: quantisation, pruning, averages.
        """
        self.provenance.bind()

    def record(self, mechanism: Mechanism, purpose: str, count: int = 1) -> None:
        """Records privacy spent outside of training, on the weights as they are now.

        Args:
            mechanism: `tfpriv.accounting.Mechanism`, for instance
                `mechanisms.non_private("fine-tuned without privacy")`.
            purpose: What it was for, for the ledger.
            count: Number of uses.
        """
        self.provenance.take_over()
        self._ledger.record(mechanism, unit=self.unit, purpose=purpose, count=count)
        self.provenance.mark(frozen_too=True)  # such as statistics of `adapt`
        self.provenance.bind()

    def add(self, ledger: Ledger) -> None:
        """Adds a ledger of privacy spent elsewhere. A step in both counts once.

        Raises:
            tfpriv.accounting.LedgerError: If the ledgers do not compose. Nothing has
                changed then.
        """
        self.provenance.add(ledger)

    # Loading and saving: the ledger is part of the file.

    def load(self, ledger: Ledger, is_private: np.ndarray | None = None) -> None:
        """Adds the ledger of weights that are about to be loaded, as `add` does.

        Args:
            ledger: `Ledger`.
            is_private: For each variable whether a private model trained its values;
                `None` if that is not known.
        """
        is_new = len(self._ledger) == 0
        self.provenance.load(ledger, is_private)
        if is_new and len(ledger):
            self._notes = [_THESE_WEIGHTS_ALONE]

    def ledger_to_save(self) -> Ledger:
        """The ledger, with the digest of the weights that are saved with it."""
        ledger = self.ledger
        self.provenance.bind_if_known()
        return ledger

    # Training.

    @contextlib.contextmanager
    def training(
        self, journal_path: str | os.PathLike[str] | None = None
    ) -> Iterator[None]:
        """Context of one training run, whose steps are written ahead into a journal.

        Raises:
            ValueError: If the model is in training already.
            tfpriv.accounting.LedgerError: If the ledger does not match the weights, or
                the journal is damaged or does not compose with it.
        """
        self.check_not_in_training()
        self.check_weights()
        self.in_training = True
        try:
            if journal_path is not None:
                self._ledger.open_journal(journal_path)
            yield
        finally:
            self.in_training = False
            self._tickets.clear()
            self._ledger.close_journal()
            if len(self._ledger):
                self.provenance.bind()

    def check_not_in_training(self) -> None:
        """Raises `ValueError` for training inside of training."""
        if self.in_training:
            raise ValueError(
                "This model is in training already. Expected one `fit` or "
                "`train_on_batch` at a time. Received: another call inside of it"
            )

    def check(self, mechanism: Mechanism) -> None:
        """Raises `LedgerError` if such a step does not compose with the ledger."""
        self._ledger.check(mechanism, unit=self.unit, purpose="training step")

    def pay(
        self,
        mechanism: Mechanism,
        noise_multiplier: float,
        purpose: str = "training step",
        count: int = 1,
    ) -> int:
        """Records the events of a step; returns the ticket for its noise key.

        Args:
            mechanism: `Mechanism` of one event.
            noise_multiplier: Of the gradients, which the ticket is valid for.
            purpose: What it is for, for the ledger.
            count: Number of events: 0 for a step that costs nothing, since its units
                were charged for as many steps as they can be in.
        """
        with self._lock:
            if count:
                self._ledger.record(
                    mechanism, unit=self.unit, purpose=purpose, count=count
                )
            ticket = next(self._ticket_numbers)
            self._tickets[ticket] = noise_multiplier
        return ticket

    def pay_user_batch(
        self,
        cost: Callable[[Callable[[float], Mechanism]], Mechanism],
        noise_multiplier: float,
        budget: Budget | None = None,
    ) -> int:
        """`pay` for a user-provided batch, in `train_on_batch` or a custom loop.

        Args:
            cost: Function that returns the `Mechanism` of everything that the step
                releases, given that of the sampler as a function of its noise
                multiplier.
            noise_multiplier: Of the gradients, which the ticket is valid for.
            budget: `Budget` that may not be exceeded, or `None`.
        """
        if self.max_occurrences is None:
            warn(
                "A training step on a user-provided batch: it is not known how often "
                "one unit can be in it, so epsilon is infinite from here on. Declare "
                "it with `make_private(model, max_occurrences=1)`, or let `fit` sample."
            )
        units = self._participations
        mechanism = cost(
            lambda z: mechanisms.stream(
                z, max_occurrences=self.max_occurrences, participations=units.declared
            )
        )
        self.check_weights()
        charge = units.charge(mechanism)
        if budget is not None and charge is not None:
            budget.check(self._ledger, charge)
        ticket = self.pay(
            charge or mechanism,
            noise_multiplier,
            "user-provided batch",
            count=0 if charge is None else 1,
        )
        units.add(mechanism)
        return ticket

    def redeem(
        self,
        ticket: int,
        noise_multiplier: float,
        budget: Budget | None = None,
        cost: Callable[[Callable[[float], Mechanism]], Mechanism] | None = None,
    ) -> Any:
        """Returns a fresh noise key, uint8 `(32,)`, for a ticket.

        Args:
            ticket: What `pay` returned, or `NO_TICKET` for a step to be recorded now.
            noise_multiplier: Of the gradients.
            budget: As for `pay_user_batch`, for a step to be recorded now.
            cost: As for `pay_user_batch`; `None` for that of the gradients alone.

        Raises:
            ValueError: If the ticket is unknown, was used, or is for other noise.
            tfpriv.accounting.LedgerError: If a step to be recorded now would exceed
                `budget`, or the ledger does not match the weights.
        """
        with self._lock:
            if ticket == NO_TICKET:
                cost = cost or (lambda sampler: sampler(noise_multiplier))
                ticket = self.pay_user_batch(cost, noise_multiplier, budget)
            if self._tickets.pop(ticket, None) != noise_multiplier:
                raise ValueError(
                    "Noise was requested for a batch without an event in the ledger, "
                    "or with another noise multiplier. Expected each batch of a "
                    f"sampler to be used once. Received: ticket={ticket}, "
                    f"noise_multiplier={noise_multiplier}"
                )
            self.provenance.begin()
        return np.frombuffer(self.randomness.key("gradients"), dtype=np.uint8)

    def side_key(self, purpose: str) -> Any:
        """Returns a fresh noise key, uint8 `(32,)`, for one more sum of a paid step."""
        return np.frombuffer(self.randomness.key(purpose), dtype=np.uint8)
