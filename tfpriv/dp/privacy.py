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
_ALONE = (
    "the ledger came with weights from elsewhere: epsilon is about these weights "
    "alone, and other training on the same data is not in it"
)
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
        self._digests = set()  # of weights whose cost the ledger holds
        self._starts = set()  # those among them that are public
        self._from_file = False
        self._early_weights = None  # those bound before the model was built
        self._foreign_digest = None
        self._fingerprint = None  # of weights that are newer than the ledger's digest
        self._own_steps = {}  # from there on: where they led, and whence
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
        if not self._in_training:
            self.bind_if_moved()
            self._inherit_if_empty()
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
        notes = [_ALONE] if self._from_file else []
        return self._bound_ledger().statement(delta, format, accountant, notes)

    def record(self, mechanism, purpose, count=1):
        """Writes down privacy spent outside of `fit`, and adopts today's weights.

        Args:
            mechanism: `tfpriv.accounting.Mechanism`, for instance
                `mechanisms.non_private("fine-tuned without privacy")`.
            purpose: Words for the ledger.
            count: How often it was applied.
        """
        self._inherit_if_empty()
        self._write(mechanism, purpose, count)
        self._starts.clear()  # public without this record alone
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
        return np.frombuffer(self.randomness.key("gradients"), dtype=np.uint8)

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

    def side_key(self, purpose):
        """A fresh noise key for a further sum whose event a ticket has paid.

        Args:
            purpose: String, which sum.
        """
        return np.frombuffer(self.randomness.key(purpose), dtype=np.uint8)

    def _write(self, mechanism, purpose, count=1):
        entry = {"unit": self.unit, "purpose": purpose, "count": count}
        if self._journal is not None:
            self._journal.spend(mechanism, **entry)
        else:
            self._ledger.record(mechanism, **entry)

    def _mark_seed(self):
        if self.randomness.seed is not None:
            self._ledger.mark_not_for_release("noise and sampling come from a seed")

    # Ledger and weights travel together.

    def adopt(self, ledger, moved=None):
        """Adds a ledger that was saved with weights which are about to be loaded.

        The model keeps what it has spent: its ledger is the union of both, whichever
        of the weights are then loaded.

        Args:
            ledger: `Ledger`.
            moved: For each weight, whether a ledger spoke for it; `None` says nothing.

        Raises:
            tfpriv.accounting.LedgerError: If the ledgers do not compose. Nothing has
                changed then.
        """
        self.bind_if_moved()
        fresh = len(self._ledger) == 0
        self.add(ledger)
        self._forget_places()
        digest = ledger.weights_digest
        if digest is not None:
            self._digests.add(digest)
        if len(ledger) == 0:
            self._starts |= {digest} - {None}
            return
        self._from_file = self._from_file or fresh
        if digest is not None:
            lineage.remember(digest, ledger)
            self._ledger.speak_for(digest)
        if self._weights is not None:
            loaded = _chosen(self._weights(), moved)
            lineage.mark_loaded(loaded, self._ledger, self)

    def add(self, ledger):
        """Adds what was spent elsewhere, under the units that it names.

        Steps that both ledgers hold count once.
        """
        digest = self._ledger.weights_digest
        (self._journal or self._ledger).merge(ledger)
        if digest is not None:
            self._ledger.speak_for(digest)

    def begin_run(self, run_id=None):
        """Records under another run id from here on; see `Ledger.begin_run`."""
        return self._ledger.begin_run(run_id)

    def _forget_places(self):
        self._weights_moved = self._weights_moved and self._in_training
        self._early_weights = None
        self._fingerprint = None
        self._own_steps.clear()

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
        self._inherit_if_empty()
        if not self._matches_weights():
            raise LedgerError(_CHANGED)

    def left_its_start(self):
        """Whether something moved the weights of a model that spent nothing itself."""
        if self._weights is None:
            return False
        self._inherit_if_empty()
        return len(self._ledger) == 0 and not self._matches_weights()

    def _check_before_training(self):
        """As above; a model that never trained may start from any public weights."""
        if self._weights is None:
            return
        self._inherit_if_empty()
        if len(self._ledger) and not self._matches_weights():
            raise LedgerError(_CHANGED)

    def _matches_weights(self):
        """Whether the ledger holds all that the weights of now have cost."""
        if self._fingerprint is not None and self._is_where_steps_led():
            return True
        if len(self._ledger) == 0 and not self._starts:
            return True
        if self._is_unbound:
            self.bind_weights()
        # A model that was not built yet may have got more weights since.
        early = self._early_weights
        digest = digest_of(self._weights() if early is None else early)
        if digest not in self._digests and not self._take_ledger_of(digest):
            return False
        if len(self._ledger):
            self._ledger.speak_for(digest)
        if self._fingerprint is not None or (early is not None and self._built()):
            self.bind_weights()
        return True

    def _take_ledger_of(self, digest):
        """Adds the ledger of equal weights; returns whether there is one."""
        known = lineage.of_equal_weights(digest, self)
        if known and not any(map(self._ledger.covers, known)):
            self.add(min(known, key=len))
        return bool(known)

    def ledger_of(self, digest):
        """The ledger, if the weights are of this digest and not public; or `None`."""
        self.bind_if_moved()
        spent = len(self._ledger) > 0 and digest not in self._starts
        return self._ledger if spent and self._ledger.weights_digest == digest else None

    def inherit(self):
        """Weights that other private models trained bring their ledgers."""
        if self._weights is None:
            return
        weights = self._weights()
        digest, fresh = digest_of(weights), len(self._ledger) == 0
        if not self._take_ledger_of(digest) and fresh:
            self.add(lineage.of_shared(weights))
        if fresh and len(self._ledger):
            self._starts.clear()
            self.bind_weights()

    def _inherit_if_empty(self):
        if self._weights is None or self._in_training or len(self._ledger):
            return
        self.inherit()
        foreign = self._foreign_digest is not None and len(self._ledger) == 0
        if foreign and digest_of(self._weights()) == self._foreign_digest:
            raise LedgerError(
                "These are the weights of a private model, but not its ledger. Load "
                "the `.keras` or `.weights.h5` file that holds both. Received: an "
                "empty ledger"
            )

    def bind_weights(self):
        """Makes the ledger speak for the weights as they are now.

        For changes that used no private data: quantisation, pruning, averages.
        """
        trained = self._weights_moved
        self._forget_places()
        if self._weights is None:
            return
        weights = self._weights()
        digest = digest_of(weights)
        self._digests.add(digest)
        self._early_weights = None if self._built() else weights
        if len(self._ledger) == 0:
            self._starts.add(digest)
            return
        self._ledger.speak_for(digest)
        if trained and digest not in self._starts:
            lineage.remember(digest, self._ledger)
        lineage.mark(lineage.trained(weights), self._ledger, self)

    def bind_if_moved(self):
        """Binds the weights that training, or single batches, have led to so far."""
        if self._weights is None or len(self._ledger) == 0:
            return
        followed = self._fingerprint is not None and self._is_where_steps_led()
        if self._in_training or followed:
            self.bind_weights()

    @property
    def _is_unbound(self):
        """Whether the ledger holds steps, and nothing says of which weights."""
        if self._fingerprint is not None or len(self._ledger) == 0:
            return False
        return self._weights_moved or self._ledger.weights_digest is None

    def start_from_here(self):
        """A model that spent nothing: its weights of now are what it starts from."""
        if len(self._ledger) == 0:
            self.bind_weights()

    @property
    def has_start(self):
        """Whether it is known what a model that spent nothing started from."""
        return bool(self._starts)

    def forget_start(self):
        """Other weights come in, which a file without a ledger says nothing of."""
        if len(self._ledger) == 0:
            self._starts.clear()
            self._digests.clear()

    def _expect_weights_to_move(self):
        if not self._weights_moved and self._weights is not None:
            weights = lineage.trained(self._weights())
            lineage.mark(weights, self._ledger, self)
        self._weights_moved = True

    def _bound_ledger(self):
        """The ledger, bound to the weights where that was put off."""
        self._inherit_if_empty()
        self.bind_if_moved()
        if self._is_unbound:
            self.bind_weights()
        return self._ledger

    def ledger_to_save(self):
        """The ledger as it must travel: with a digest of the weights beside it.

        An empty one has that of the weights it started from. Where something unknown
        changed them, the digest is of no weights.
        """
        ledger = self._bound_ledger()
        if self._weights is None:
            return ledger
        known = self._in_training or self._matches_weights()
        ledger = ledger.copy()
        if not known:
            ledger.speak_for(_OF_OTHER_WEIGHTS)
        elif len(ledger) == 0:
            ledger.speak_for(digest_of(self._weights()))
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
                self._journal = Journal(journal_path, self._ledger)
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


def _chosen(weights, moved):
    """Those of which `moved` says so; all where it is of other weights, or nothing."""
    if moved is None or len(moved) != len(weights):
        return weights
    return [weight for weight, yes in zip(weights, moved, strict=True) if yes]
