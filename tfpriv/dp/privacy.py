"""`model.privacy`: what private training has spent, and the keys it hands out."""

import contextlib
import itertools
import threading

import numpy as np
import tensorflow as tf

from tfpriv.accounting import Journal, Ledger, LedgerError, mechanisms
from tfpriv.dp import lineage
from tfpriv.dp.budget import accountant_of, refuse_spent_budget
from tfpriv.dp.lineage import fingerprint_of
from tfpriv.randomness import Randomness
from tfpriv.warning import warn
from tfpriv.weights import digest_of

NO_TICKET = -1

_CHANGED = (
    "The ledger does not speak for these weights: they were loaded in part, or changed "
    "by something that wrote nothing into it; only `fit`, `fit_on_workers`, "
    "`train_on_batch` and DP optimizers do. If it used no private data, say so with "
    "`model.privacy.bind_weights()`; if it did, with `model.privacy.record("
    "dp.mechanisms.non_private('...'), purpose='...')`. If it was another private "
    "model that shares the weights, `model.privacy.add(other.privacy.ledger)`, then "
    "`bind_weights()`."
)
_OF_OTHER_WEIGHTS = "none: the weights were changed by something unknown"
# Breaks between an own loop's steps that are remembered: one is enough to refuse.
_MOST_BREAKS = 1000


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
        built: Function that says whether these are all that there will be.
    """

    def __init__(
        self,
        unit="example",
        max_occurrences=None,
        seed=None,
        weights=None,
        built=lambda: True,
    ):
        self._ledger = Ledger()
        self._journal = None
        self._weights = weights
        self._built = built
        self._tickets = {}
        self._ticket_numbers = itertools.count()
        self._lock = threading.RLock()
        self._in_training = False
        self._weights_moved = False
        self._start_digest = None
        self._early_weights = None  # those bound before the model was built
        self._foreign_digest = None
        self._fingerprint = None  # of weights that are newer than the ledger's digest
        self._own_steps = {}  # from there on: where they led, and whence
        self._loading = None  # until it shows that a file replaced all weights
        self.budget = None  # the optimizer's, by which figures are given
        self.declare(unit, max_occurrences, seed)

    def declare(self, unit, max_occurrences, seed):
        """Sets what the arguments of the class say; what was spent stays.

        Raises:
            ValueError: If the ledger speaks of another unit already.
        """
        if max_occurrences is not None and max_occurrences < 1:
            raise ValueError(
                "`max_occurrences` must be at least 1, or None. "
                f"Received: max_occurrences={max_occurrences}"
            )
        if self._ledger.unit not in (None, unit):
            raise ValueError(
                "This model's ledger is about another unit. Expected: "
                f"unit={self._ledger.unit!r}. Received: unit={unit!r}"
            )
        self.unit = unit
        self.max_occurrences = max_occurrences
        self.randomness = Randomness(seed)
        self._mark_seed()

    @property
    def ledger(self):
        """The `tfpriv.accounting.Ledger` of everything spent so far.

        Raises:
            tfpriv.accounting.LedgerError: If the weights are those of a private model
                whose ledger is not here.
        """
        ledger = self.own_ledger()
        self._inherit_if_empty()
        return ledger

    def own_ledger(self):
        """The same, without looking whose the weights of an empty one are."""
        self.settle_load()
        self._bind_if_put_off()
        return self._ledger

    @property
    def in_training(self):
        """Whether `fit`, `fit_on_workers` or `train_on_batch` is running."""
        return self._in_training

    @property
    def delta(self):
        """The delta used where none is given.

        That of the optimizer's budget; else 1e-5, or less for large data sets.
        """
        if self.budget is not None:
            return self.budget[1]
        populations = [
            entry.mechanism.population
            for entry in self._ledger.entries
            if entry.mechanism.population
        ]
        digits = len(str(max(populations, default=1)))
        return min(1e-5, 10.0**-digits)

    @property
    def accountant(self):
        """That by which the optimizer keeps its budget; else `"rdp"`."""
        return accountant_of(self.budget)

    def epsilon(self, delta=None, accountant=None):
        """Epsilon spent on the weights so far.

        Args:
            delta: Float in (0, 1). `None` takes `privacy.delta`.
            accountant: `"rdp"` or, tighter, `"pld"`. `None` takes `privacy.accountant`.

        Returns:
            Float, an upper bound; infinity if nothing can be promised.

        Raises:
            tfpriv.accounting.LedgerError: If the weights were changed by something
                that the ledger does not know of.
        """
        self.check_weights()
        delta = self.delta if delta is None else delta
        return self._ledger.epsilon(delta, accountant=accountant or self.accountant)

    def statement(self, delta=None, format="text", accountant=None):
        """What was protected, how strongly, and what was not (see `Ledger`).

        Raises:
            tfpriv.accounting.LedgerError: As for `epsilon`.
        """
        self.check_weights()
        delta = self.delta if delta is None else delta
        accountant = accountant or self.accountant
        return self._bound_ledger().statement(delta, format, accountant)

    def record(self, mechanism, purpose, count=1):
        """Writes down privacy spent outside of `fit`, and adopts today's weights.

        Args:
            mechanism: `tfpriv.accounting.Mechanism`, for instance
                `mechanisms.non_private("fine-tuned without privacy")`.
            purpose: Words for the ledger.
            count: How often it was applied.
        """
        self.settle_load()
        self._inherit_if_empty()
        self._write(mechanism, purpose, count)
        if self._weights is not None:
            self.bind_weights()
            # Frozen ones too: statistics that `adapt` left, for instance.
            lineage.mark(self._weights(), self._ledger, self)

    def check(self, mechanism, purpose="training step"):
        """Raises `LedgerError` if such a step cannot be added to what was spent."""
        self._ledger.check(mechanism, unit=self.unit, purpose=purpose)

    def pay(self, mechanism, noise_multiplier, purpose="training step"):
        """Writes a step's event ahead and returns the ticket for its noise key."""
        with self._lock:
            self._write(mechanism, purpose)
            ticket = next(self._ticket_numbers)
            self._tickets[ticket] = noise_multiplier
        return ticket

    def pay_own_batch(self, cost, noise_multiplier, budget=None):
        """`pay` for a batch that the user composed.

        Args:
            cost: Function that returns the `Mechanism` of all that the step releases,
                given that of a step as a function of its noise multiplier.
            noise_multiplier: That of the gradients, which the ticket is good for.
            budget: `(epsilon, delta)` that may not be passed, or `None`.
        """
        mechanism = self._own_batch_mechanism(cost)
        if not self._in_training:
            self._begin_own_step()
        refuse_spent_budget(budget, mechanism, self._ledger)
        return self.pay(mechanism, noise_multiplier, "own batch")

    def redeem(self, ticket, noise_multiplier, budget=None, cost=None):
        """A fresh noise key, uint8 `(32,)`, for a paid ticket or a step paid now.

        Args:
            ticket: Number of a payment, or `NO_TICKET`.
            noise_multiplier: That of the gradients.
            budget: `(epsilon, delta)` that a step paid now may not pass, or `None`.
            cost: As in `pay_own_batch`; `None` for gradients alone.

        Raises:
            ValueError: If the ticket is unknown, was used, or paid for other noise.
            tfpriv.accounting.LedgerError: If a step paid now would pass `budget`, or
                its weights are not those the ledger speaks for.
        """
        with self._lock:
            if ticket == NO_TICKET:
                cost = cost or (lambda sampler: sampler(noise_multiplier))
                ticket = self.pay_own_batch(cost, noise_multiplier, budget)
            if self._tickets.pop(ticket, None) != noise_multiplier:
                raise ValueError(
                    "Noise was asked for a batch that was not paid for, or paid at "
                    "another noise multiplier. Expected each batch of a sampler to "
                    f"be used once. Received: ticket={ticket}, "
                    f"noise_multiplier={noise_multiplier}"
                )
            self._expect_weights_to_move()
        return np.frombuffer(self.randomness.key(), dtype=np.uint8)

    def _own_batch_mechanism(self, cost):
        if self.max_occurrences is None:
            warn(
                "A training step on a batch of your own: nothing says how often one "
                "unit can be in it, so epsilon is infinite from here on. Declare it "
                "with `make_private(model, max_occurrences=1)`, or let `fit` sample."
            )
        k = self.max_occurrences
        return cost(lambda z: mechanisms.stream(z, max_occurrences=k))

    # Own loops: a step begins where the last one ended, or something else came in.

    def _begin_own_step(self):
        """What the first step starts from is checked; what comes then is followed."""
        if self._weights is None or self._fingerprint is not None:
            return
        if self.left_its_start():
            lineage.warn_of_change()
            self.start_from_here()
        self._check_before_training()
        self._fingerprint = fingerprint_of(self._weights()).tobytes()

    @contextlib.contextmanager
    def following(self, ticket):
        """Around an update: notes where it led, unless that is looked at later anyway.

        Args:
            ticket: As the update's gradients have it; `None` in own loops.
        """
        if ticket is not None or self._weights is None:
            yield
            return
        weights = self._weights()
        before = fingerprint_of(weights)
        yield
        places = [before, fingerprint_of(weights)]
        tf.numpy_function(self._note_own_step, places, [], stateful=True)

    def _note_own_step(self, before, after):
        before, after = before.tobytes(), after.tobytes()
        with self._lock:  # steps in one graph may be noted in another order
            lineage.mark(lineage.trained(self._weights()), self._ledger, self)
            if before in self._own_steps or len(self._own_steps) < _MOST_BREAKS:
                self._own_steps[after] = self._own_steps.pop(before, before)

    def _is_where_steps_led(self):
        """Whether own steps, all of them, led from the fingerprint to these weights."""
        steps = dict(self._own_steps)
        place = fingerprint_of(self._weights()).tobytes()
        while place in steps:
            place = steps.pop(place)
        return place == self._fingerprint and not steps

    def side_key(self):
        """A fresh noise key for a further sum whose event a ticket has paid."""
        return np.frombuffer(self.randomness.key(), dtype=np.uint8)

    def _write(self, mechanism, purpose, count=1, unit=None):
        entry = {"unit": unit or self.unit, "purpose": purpose, "count": count}
        self._ledger.check(mechanism, **entry)
        if self._journal is not None:
            self._journal.spend(mechanism, **entry)
        self._ledger.record(mechanism, **entry)

    def _write_all(self, entries):
        for entry in entries:
            self._write(entry.mechanism, entry.purpose, entry.count, entry.unit)

    def _mark_seed(self):
        if self.randomness.seed is not None:
            self._ledger.mark_not_for_release("noise and sampling come from a seed")

    def _keep_marks(self, ledger):
        for reason in ledger.not_for_release:
            self._ledger.mark_not_for_release(reason)
        for text in ledger.recorded_cautions:
            self._ledger.caution(text)

    # Ledger and weights travel together.

    def adopt(self, ledger, moved=None, remembered=False):
        """Takes over a ledger that was saved with the model's weights.

        While training, what was spent stays: a backup's ledger is part of it, and any
        other one is added. Else it stays until `settle_load` finds all weights loaded.

        Args:
            ledger: `Ledger`.
            moved: For each weight, whether a ledger spoke for it; `None` says nothing.
            remembered: Whether an optimizer remembers steps counted so far.
        """
        if self._in_training:
            self.keep(ledger)
        else:
            before, digest = self.own_ledger(), ledger.weights_digest
            self._ledger = ledger if len(ledger) else Ledger().merge(ledger)
            self._mark_seed()
            self._forget_places()
            self._start_digest = None if len(ledger) else digest
            if len(before) and self._weights is not None:
                self._loading = before, digest, remembered
        if self._weights is not None:
            loaded = _chosen(self._weights(), moved)
            lineage.mark_loaded(loaded, self._ledger, self)

    def settle_load(self, kept=None, taken=None):
        """After weights were loaded: forgets what was spent before, if they all were.

        Args:
            kept: Whether an optimizer may remember steps counted before; `None` for
                what `adopt` was told.
            taken: Whether it may remember those of the file; `None` likewise.
        """
        if self._loading is None:
            return
        (before, digest, remembered), self._loading = self._loading, None
        kept = remembered if kept is None else kept
        taken = remembered if taken is None else taken
        weights = self._weights()
        found = digest_of(weights)
        if found == digest and (not kept or before == self._ledger):
            lineage.mark(lineage.trained(weights), self._ledger, self)
        elif found == before.weights_digest and not taken:
            self._ledger = before
        else:
            self._count_both(before)
            lineage.mark(weights, self._ledger, self)

    def _count_both(self, before):
        """Weights of one file and another: what both cost, whatever that comes to."""
        if len(self._ledger) == 0 and self._start_digest is not None:
            self._ledger.speak_for(self._start_digest)
        try:
            self.add(before)
        except LedgerError:
            self.distrust("weights of two ledgers that do not compose")
        self._keep_marks(before)

    def _forget_places(self):
        self._weights_moved = False
        self._early_weights = None
        self._fingerprint = None
        self._own_steps.clear()

    def keep(self, ledger):
        """Adds what was spent before, unless it is counted already."""
        if not self._ledger.covers(ledger):
            self.add(ledger)
        self._keep_marks(ledger)

    def catch_up(self, ledger):
        """Adds the steps that another account of this training has beyond this one."""
        known = {entry.key: entry.count for entry in self._ledger.entries}
        for entry in ledger.entries:
            count = entry.count - known.get(entry.key, 0)
            if count > 0:
                self._write(entry.mechanism, entry.purpose, count, entry.unit)

    def add(self, ledger):
        """Adds what was spent elsewhere, under the units that it names."""
        self._write_all(ledger.entries)
        self._keep_marks(ledger)

    def distrust(self, reason):
        """What was spent cannot be known any more: epsilon is infinite."""
        self._write(mechanisms.non_private(reason), "lost ledger")

    def expect_ledger_of(self, digest):
        """Weights of this digest are private ones, and need their ledger."""
        self._foreign_digest = digest

    def check_weights(self):
        """Raises `LedgerError` if the weights are not those the ledger speaks for."""
        if self._weights is None or self._in_training:
            return
        self._check_before_training()
        if self.left_its_start():
            raise LedgerError(_CHANGED)

    def left_its_start(self):
        """Whether something moved the weights of a model that spent nothing itself."""
        if self._weights is None:
            return False
        self.settle_load()
        self._inherit_if_empty()
        if len(self._ledger) or self._start_digest is None:
            return False
        return digest_of(self._bound_weights()) != self._start_digest

    def _check_before_training(self):
        """As above; a model that never trained may start from any public weights."""
        if self._weights is None:
            return
        self.settle_load()
        self._inherit_if_empty()
        if len(self._ledger) == 0:
            return
        if self._fingerprint is not None:
            if not self._is_where_steps_led():
                raise LedgerError(_CHANGED)
            return
        if self._weights_moved or self._ledger.weights_digest is None:
            self.bind_weights()
        if digest_of(self._bound_weights()) != self._ledger.weights_digest:
            raise LedgerError(_CHANGED)
        if self._early_weights is not None and self._built():
            self.bind_weights()

    def _bound_weights(self):
        """Those that digests are of: a model not built yet may have got more since."""
        return self._weights() if self._early_weights is None else self._early_weights

    def _inherit_if_empty(self):
        """Weights that other private models trained bring their ledgers."""
        if self._weights is None or self._in_training or len(self._ledger):
            return
        weights = self._weights()
        digest = digest_of(weights)
        inherited = Ledger()
        for ledger in lineage.ledgers_behind(weights, digest):
            inherited.merge(ledger)
        if len(inherited):
            self._write_all(inherited.entries)
            self._keep_marks(inherited)
            self.bind_weights()
        elif digest == self._foreign_digest:
            raise LedgerError(
                "These are the weights of a private model, but not its ledger. Load "
                "the `.keras` or `.weights.h5` file that holds both. Received: an "
                "empty ledger"
            )

    def bind_weights(self):
        """Makes the ledger speak for the weights as they are now.

        For changes that used no private data: quantisation, pruning, averages.
        """
        self.settle_load()
        self._forget_places()
        if self._weights is None:
            return
        weights = self._weights()
        digest = digest_of(weights)
        self._start_digest = digest if weights else None
        self._early_weights = None if self._built() else weights
        if len(self._ledger):
            self._ledger.speak_for(digest)
            lineage.mark(lineage.trained(weights), self._ledger, self)

    def _bind_if_put_off(self):
        """After single batches; not to weights that something else changed since."""
        put_off = self._fingerprint is not None and not self._in_training
        if put_off and len(self._ledger) and self._is_where_steps_led():
            self.bind_weights()

    def start_from_here(self):
        """A model that spent nothing: its weights of now are what it starts from."""
        if len(self._ledger) == 0:
            self.bind_weights()

    @property
    def has_start(self):
        """Whether it is known what a model that spent nothing started from."""
        return self._start_digest is not None

    def forget_start(self):
        """Other weights come in, which a file without a ledger says nothing of."""
        self._start_digest = None

    def _expect_weights_to_move(self):
        if not self._weights_moved and self._weights is not None:
            weights = lineage.trained(self._weights())
            lineage.mark(weights, self._ledger, self)
        self._weights_moved = True

    def _bound_ledger(self):
        """The ledger, bound to the weights where that was put off."""
        self.settle_load()
        self._inherit_if_empty()
        self._bind_if_put_off()
        unbound = self._fingerprint is None and self._weights_moved
        if len(self._ledger) and (unbound or self._in_training):
            moved = self._weights_moved
            self.bind_weights()
            self._weights_moved = moved and self._in_training
        return self._ledger

    def ledger_to_save(self):
        """The ledger as it must travel: with a digest of the weights beside it.

        An empty one has that of the weights it started from. Where something unknown
        changed them, the digest is of no weights.
        """
        ledger = self._bound_ledger()
        if self._weights is None:
            return ledger
        if len(ledger) == 0:
            ledger = ledger.copy()
            ledger.speak_for(self._start_digest or digest_of(self._weights()))
        elif self._fingerprint is not None and not self._in_training:
            ledger = ledger.copy()
            ledger.speak_for(_OF_OTHER_WEIGHTS)
        return ledger

    def moved_weights(self):
        """For each weight, whether a ledger speaks for it: saved beside the ledger."""
        return lineage.which_moved(self._weights())

    @contextlib.contextmanager
    def training(self, journal_path=None, single=False):
        """While training: the journal is open and weights are expected to move.

        Args:
            journal_path: Where to write ahead, or `None`.
            single: If `True`, this is one of many batches, each trained on by itself:
                the ledger is bound to the weights later, when that is asked for.
        """
        if self._in_training:
            raise ValueError(
                "This model is training already. Expected one `fit` or "
                "`train_on_batch` at a time. Received: another inside of it"
            )
        self._check_before_training()
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
                if single and self._weights is not None:
                    self._put_off_binding()
                else:
                    self.bind_weights()

    def _put_off_binding(self):
        weights = self._weights()
        lineage.mark(lineage.trained(weights), self._ledger, self)
        self._forget_places()
        self._fingerprint = fingerprint_of(weights).tobytes()
        self._weights_moved = True

    def _open_journal(self, path):
        """Continues the journal of a killed run, or starts one from the ledger."""
        before, self._journal = self._ledger, Journal(path)
        self._ledger = self._journal.ledger()
        self._mark_seed()
        self._keep_marks(before)
        try:
            self.keep(before)  # counts too much rather than too little
        except BaseException:
            self._ledger = before
            raise


def _chosen(weights, moved):
    """Those of which `moved` says so; all where it is of other weights, or nothing."""
    if moved is None or len(moved) != len(weights):
        return weights
    return [weight for weight, yes in zip(weights, moved, strict=True) if yes]
