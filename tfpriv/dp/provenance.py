"""Whether a ledger matches the weights of a model, and which ledgers weights bring.

The ledger of a private model holds one digest: of the weights when training ended, or
when the model was last saved or loaded. Weights with another digest were changed by
something that recorded nothing, and `epsilon` raises.

Trainable variables hold a reference to the ledger of each private model that trained
them. A layer, or an encoder inside of a new model, brings its ledger that way.
docs/dp.md lists what is not noticed.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.ledger import Ledger
from tfpriv.dp import keras_internals
from tfpriv.support.weights import digest_of

_LEDGERS = "_tfpriv_ledgers"
_TRAINED = "_tfpriv_trained_without_privacy"
# Ledgers of the weights that private models handed out by `get_weights`, by digest.
_HANDED_OUT: dict[str, Ledger] = {}

_CHANGED = (
    "The ledger does not match these weights: they were loaded in part, or changed by "
    "something that recorded nothing. If that used no private data, call "
    "`model.privacy.bind_weights()`, after `model.privacy.add(other.privacy.ledger)` "
    "where another private model did it; else `model.privacy.record("
    "dp.mechanisms.non_private('...'), purpose='...')`."
)
_LEDGER_IS_MISSING = (
    "These are the weights of a private model without its ledger. Load the `.keras` or "
    "`.weights.h5` file that holds both. Received: an empty ledger"
)


class Provenance:
    """The ledger of one model, and whether it matches the weights.

    Without a model nothing is checked.
    """

    def __init__(self, ledger: Ledger, model: keras.Model | None) -> None:
        self.ledger = ledger
        self.needs_ledger_of: str | None = None  # digest of weights that are private
        self._model = model
        self._digests: set[str] = set()  # of weights whose cost the ledger holds
        self._in_training = False  # from a step on until the digest is set again

    def _variables(self) -> list[keras.Variable]:
        return [] if self._model is None else self._model.weights

    def take_over(self) -> None:
        """Adds the ledgers that the variables bring."""
        is_new = len(self.ledger) == 0
        for ledger in _ledgers_of(self._variables()):
            self.add(ledger)
        if is_new and len(self.ledger):
            self.bind()

    def add(self, ledger: Ledger) -> None:
        """Adds a ledger, each step once; the digest stays."""
        if ledger is self.ledger:
            return
        digest = self.ledger.weights_digest
        self.ledger.merge(ledger)
        if digest is not None:
            self.ledger.set_weights_digest(digest)

    def load(self, ledger: Ledger, is_private: np.ndarray | None) -> None:
        """Adds the ledger of weights to be loaded; see `Privacy.load`."""
        self.add(ledger)
        self._in_training = False
        if ledger.weights_digest is not None:
            self._digests.add(ledger.weights_digest)
            if self.ledger.weights_digest is None:
                self.ledger.set_weights_digest(ledger.weights_digest)
        if len(ledger):
            variables = self._variables()
            if is_private is not None and len(is_private) == len(variables):
                chosen = zip(variables, is_private, strict=True)
                variables = [variable for variable, yes in chosen if yes]
            _mark(variables, self.ledger)

    def begin(self) -> None:
        """Before a step, whose event is in the ledger: weights may change from here."""
        if not self._in_training:
            self._in_training = True
            self.mark()

    def mark(self, frozen_too: bool = False) -> None:
        """Notes on the trainable variables that their values need this ledger."""
        variables = self._variables()
        _mark([v for v in variables if frozen_too or v.trainable], self.ledger)

    def bind(self) -> None:
        """Makes the ledger match the weights as they are now."""
        self._in_training = False
        if self._model is not None and self._model.built:
            self._set_digest(digest_of(self._model.weights))

    def _set_digest(self, digest: str) -> None:
        self._digests.add(digest)
        self.ledger.set_weights_digest(digest)

    def bind_if_trained(self) -> bool:
        """`bind`, where no digest was set since the last step; returns whether so."""
        unbound = self._in_training or self.ledger.weights_digest is None
        if unbound:
            self.bind()
        return unbound

    def bind_if_known(self) -> bool:
        """`bind`, unless something that recorded nothing changed the weights.

        Returns whether the ledger matches the weights now.
        """
        if self._model is None or self.bind_if_trained():
            return True
        # Another private model may have trained the same variables.
        others = {ledger.weights_digest for ledger in _ledgers_of(self._model.weights)}
        digest = digest_of(self._model.weights)
        is_known = digest in self._digests | others
        if is_known:
            self._set_digest(digest)
        return is_known

    def check(self) -> None:
        """Raises `LedgerError` if the ledger does not match the weights."""
        if self._model is None or self._in_training:
            return
        if len(self.ledger) == 0:
            needed = self.needs_ledger_of
            if needed is not None and digest_of(self._model.weights) == needed:
                raise LedgerError(_LEDGER_IS_MISSING)
        elif not self.bind_if_known():
            raise LedgerError(_CHANGED)

    # Copies of weights.

    def hand_out(self, weights: list) -> None:
        """Remembers what copies of the weights have cost so far."""
        if len(self.ledger):
            _HANDED_OUT[digest_of(weights)] = self.ledger.copy()

    def receive(self, weights: list) -> str | None:
        """Adds the ledger of copied weights; returns their digest if it is known."""
        variables = self._variables()
        if not _HANDED_OUT or len(weights) != len(variables):
            return None
        dtypes = [tf.as_dtype(v.dtype).as_numpy_dtype for v in variables]
        digest = digest_of(map(np.asarray, weights, dtypes))
        if digest not in _HANDED_OUT:
            return None
        self.add(_HANDED_OUT[digest])
        return digest

    def which_are_private(self) -> np.ndarray:
        """For each variable whether a private model trained its values, uint8."""
        return np.array(
            [any(map(len, _ledgers_of([v]))) for v in self._variables()], np.uint8
        )


def _mark(variables, ledger: Ledger) -> None:
    for variable in variables:
        others = [known for known in _ledgers_of([variable]) if known is not ledger]
        setattr(variable, _LEDGERS, (*others, ledger))


def _ledgers_of(variables) -> list[Ledger]:
    """The ledgers that variables bring, each once."""
    marks = {id(one): one for v in variables for one in getattr(v, _LEDGERS, ())}
    return list(marks.values())


# Training without privacy.


def was_trained(model: keras.Model) -> bool:
    """Whether an optimizer without privacy has trained a model, or a model in it."""
    for layer in keras_internals.flatten_layers(model):
        optimizer: Any = getattr(layer, "optimizer", None)
        plain = isinstance(optimizer, keras.optimizers.Optimizer)
        plain = plain and not hasattr(layer, "privacy")  # the ledger counts its steps
        steps = keras.ops.convert_to_numpy(optimizer.iterations) if plain else 0
        if _TRAINED in vars(layer) or steps > 0:
            return True
    return False


def remember_training(model: keras.Model) -> None:
    """Makes `was_trained` true for a copy, too."""
    vars(model)[_TRAINED] = True
