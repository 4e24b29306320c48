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

from tfpriv.dp import keras_internals

_LEDGER = "_tfpriv_ledger"
_TRAINED = "_tfpriv_trained_without_privacy"
_BOUND: weakref.WeakSet = weakref.WeakSet()


def fingerprint_of(variables):
    """What changes, but for a freak of chance, when a value does: quick, not secure.

    Sums of machine words, where the values lie: a small part of the time of
    `digest_of`, for what is asked before and after every single batch.
    """
    found = []
    for variable in variables:
        if 0 in variable.shape:
            continue
        raw = np.frombuffer(tf.convert_to_tensor(variable.value), np.uint8)
        words = raw[: raw.size // 8 * 8].view(np.uint64)
        sums = int(words.sum()), int(np.bitwise_xor.reduce(words))
        found.append((*sums, raw[words.nbytes :].tobytes()))
    return tuple(found)


def mark(variables, ledger, privacy):
    """Notes that this ledger, of `privacy`, speaks for the variables.

    Frozen ones are left out: they may be public, and shared with other models.
    """
    _BOUND.add(privacy)
    for variable in variables:
        if variable.trainable:
            setattr(variable, _LEDGER, ledger)


def ledgers_behind(variables, digest):
    """Ledgers of private models that trained one of the variables, or equal ones.

    Args:
        variables: Keras variables.
        digest: `digest_of(variables)`.
    """
    if not variables:  # not built yet: equal to every other such model
        return []
    copied = [p.ledger for p in _BOUND if p.ledger.weights_digest == digest]
    if copied:  # each of these speaks for all of the weights
        return [max(copied, key=len)]
    shared = (getattr(variable, _LEDGER, None) for variable in variables)
    return list(
        {id(ledger): ledger for ledger in shared if ledger is not None}.values()
    )


def was_trained(model):
    """Whether weights of a model were moved by steps that no ledger of its knows of.

    That shows by the optimizer that it, or a model nested in it, is compiled with, and
    by what `remember_training` noted before another `compile` put that one away.
    """
    layers = keras_internals.flatten_layers(model)
    return any(_TRAINED in vars(layer) or _took_steps(layer) for layer in layers)


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
