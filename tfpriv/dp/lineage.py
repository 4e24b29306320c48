"""Which ledgers know of a model's weights already: shared, wrapped or copied ones.

A model made private starts with an empty ledger. Where its weights were trained by
another private model, as a shared encoder or an exact copy, that model's ledger
belongs to them, and an epsilon of zero would be untrue. Copies that were changed on
the way are not recognised: what a model starts from is taken as public.
"""

import weakref

import keras
import numpy as np
import tensorflow as tf

from tfpriv.accounting import Ledger
from tfpriv.dp import keras_internals
from tfpriv.warning import warn

_LEDGERS = "_tfpriv_ledgers"
_TRAINED = "_tfpriv_trained_without_privacy"
_BOUND: weakref.WeakSet = weakref.WeakSet()
_BY_DIGEST: dict[str, tuple[Ledger, ...]] = {}


def fingerprint_of(variables):
    """What changes, but for a freak of chance, when a value does: quick, not secure.

    Sums of machine words, one for each variable, where the values lie: a small part of
    the time of `digest_of`, for what is asked before and after every single batch.

    Returns:
        int64 `(variables,)`: an array; inside of a `tf.function` a tensor.
    """
    if tf.executing_eagerly():
        return np.array([_sum_of_words(v.value) for v in variables], np.int64)
    sums = [_symbolic_sum_of_words(v.value) for v in variables]
    return tf.stack(sums) if sums else tf.zeros([0], tf.int64)


def _sum_of_words(value):
    raw = np.frombuffer(tf.convert_to_tensor(value), np.uint8)
    whole = raw.size // 8 * 8
    rest = np.zeros(8, np.uint8)
    rest[: raw.size - whole] = raw[whole:]
    words = raw[:whole].view(np.int64)
    return words.sum() + rest.view(np.int64)[0]


def _symbolic_sum_of_words(value):
    """The same, computed on the device."""
    if value.dtype == tf.bool:
        value = tf.cast(value, tf.uint8)
    values, in_a_word = tf.reshape(value, [-1]), 8 // value.dtype.size
    rest = -value.shape.num_elements() % in_a_word
    if rest:
        values = tf.pad(values, [[0, rest]])
    if in_a_word > 1:
        values = tf.reshape(values, [-1, in_a_word])
    return tf.reduce_sum(tf.bitcast(values, tf.int64))


def trained(variables):
    """Those that training moves: frozen ones may be public, and shared with others."""
    return [variable for variable in variables if variable.trainable]


def mark(variables, ledger, privacy):
    """Notes that this ledger, of `privacy`, speaks for the variables."""
    _BOUND.add(privacy)
    for variable in variables:
        setattr(variable, _LEDGERS, (ledger,))


def mark_loaded(variables, ledger, privacy):
    """As `mark`, for variables that a file may give values to: the union counts."""
    _BOUND.add(privacy)
    for variable in variables:
        others = [known for known in _ledgers_of(variable) if known is not ledger]
        setattr(variable, _LEDGERS, (*others, ledger))


def _ledgers_of(variable):
    return getattr(variable, _LEDGERS, ())


def which_moved(variables):
    """For each variable, whether a ledger speaks for it: it was trained privately."""
    return [any(len(ledger) for ledger in _ledgers_of(v)) for v in variables]


def remember(digest, ledger):
    """Notes what trained weights of this digest cost, whatever becomes of the model."""
    known = _BY_DIGEST.get(digest, ())
    if not any(ledger is other for other in known):
        _BY_DIGEST[digest] = (*known, ledger)


def of_equal_weights(digest, asking):
    """Ledgers of weights of this digest, each of which is enough.

    Args:
        digest: `digest_of(variables)`.
        asking: The `Privacy` that wants to know.
    """
    others = [privacy for privacy in _BOUND if privacy is not asking]
    current = [privacy.ledger_of(digest) for privacy in others]
    remembered = _BY_DIGEST.get(digest, ())
    return [*remembered, *(ledger for ledger in current if ledger is not None)]


def of_shared(variables):
    """The union of the ledgers of private models that trained one of the variables."""
    shared = {id(one): one for v in variables for one in _ledgers_of(v)}
    union = Ledger()
    for ledger in shared.values():
        union.merge(ledger)
    return union


def was_trained(model):
    """Whether weights of a model were moved by steps that no ledger of its knows of.

    That shows by the optimizer that it, or a model nested in it, is compiled with, and
    by what `remember_training` noted before another `compile` put that one away.
    """
    layers = keras_internals.flatten_layers(model)
    return any(_TRAINED in vars(layer) or _took_steps(layer) for layer in layers)


def warn_of_change():
    """Says that what a model starts from is not what it was compiled with."""
    warn(
        "The weights were changed since the model was compiled, by something that "
        "wrote nothing into its ledger, and what they hold now is taken as public. If "
        "it saw private data (training without privacy), no epsilon holds: say so by "
        "`model.privacy.record(dp.mechanisms.non_private('...'), purpose='earlier "
        "training')`. Public weights that are set before `compile`, or by the private "
        "model's own `set_weights` or `load_weights`, are not warned of."
    )


def _took_steps(layer):
    optimizer = getattr(layer, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return False
    if hasattr(layer, "privacy"):  # whose ledger counts them
        return False
    return keras.ops.convert_to_numpy(optimizer.iterations) > 0


def remember_training(model):
    """What was known of a model stays known of it, or of a copy."""
    vars(model)[_TRAINED] = True
