"""Faults in private training, each switched on by a function of a monkeypatch."""

import itertools

import numpy as np
import tensorflow as tf

from tfpriv import ops
from tfpriv.accounting import Ledger
from tfpriv.dp import model as models
from tfpriv.dp import noise, optimizers
from tfpriv.dp.clipping import ghost, vectorized
from tfpriv.dp.privacy import Privacy

_noisy_sum = ops.noisy_sum


def _scaled_noise(factor):
    def plant(patch):
        def faulty(total, key, *, stddev, **options):
            return _noisy_sum(total, key, stddev=factor * stddev, **options)

        patch.setattr(noise.ops, "noisy_sum", faulty)

    return plant


BATCH = 2500  # expected, of the audited training; 10,000 in its single steps

noise_off = _scaled_noise(1e-9)
half_noise = _scaled_noise(0.5)
noise_of_the_mean_on_the_sum = _scaled_noise(1 / BATCH)
noise_on_the_mean = _scaled_noise(BATCH)


def reused_noise_seed(patch):
    key = tf.constant(np.frombuffer(b"always the same key, 32 bytes!!!", np.uint8))
    real = optimizers.noise.key_from

    def same(redeem, ticket):
        with tf.control_dependencies([real(redeem, ticket)]):
            return tf.identity(key)

    patch.setattr(optimizers.noise, "key_from", same)


def one_stream_for_all_weights(patch):
    def faulty(total, key, *, stream, **options):
        return _noisy_sum(total, key, stream=0, **options)

    patch.setattr(noise.ops, "noisy_sum", faulty)
    patch.setattr(noise, "SMALL", 0)  # small weights would share an operation


# Clipping.


def _engine(patch, function):
    """Replaces what both engines compute from the gradients of single examples."""

    def engine(problem, chunk, clip):
        grads, losses, y_pred = vectorized.per_example_gradients(problem, chunk)
        norms = vectorized.gradient_norms(grads)
        total = tf.cast(tf.norm(norms, axis=0), tf.float32)
        return function(grads, norms, total, clip), total, losses, y_pred

    patch.setattr(ghost, "clipped_sum", engine)


def _bound(clip):
    long = tf.constant([1e200], tf.float64)
    return tf.cast((long * clip([long])[0])[0], tf.float32)


def not_clipped(patch):
    _engine(patch, lambda grads, *_: [tf.reduce_sum(g, 0) for g in grads])


def clip_per_batch(patch):
    """The whole sum is scaled by the mean of the norms."""

    def sums(grads, norms, total, clip):
        scale = tf.minimum(_bound(clip) / tf.reduce_mean(total), 1.0)
        return [scale * tf.reduce_sum(g, 0) for g in grads]

    _engine(patch, sums)


def clip_the_sum(patch):
    def sums(grads, norms, total, clip):
        whole = [tf.reduce_sum(g, 0) for g in grads]
        return tf.clip_by_global_norm(whole, _bound(clip))[0]

    _engine(patch, sums)


def one_unclipped_layer(patch):
    """The first layer counts for no norm and is not scaled."""

    def sums(grads, norms, total, clip):
        factor = clip(norms[1:])[0]
        used = tf.ones_like(total, bool)
        rest = [vectorized.weighted_sum(g, factor, used) for g in grads[1:]]
        return [tf.reduce_sum(grads[0], 0), *rest]

    _engine(patch, sums)


def clip_after_noise(patch):
    not_clipped(patch)
    real = optimizers.noise.release

    def clipped_afterwards(sums, *, scale=1.0, **options):
        noised = real(sums, scale=1.0, **options)
        clipped = tf.clip_by_global_norm(noised, 0.5)[0]
        return [c * tf.cast(scale, c.dtype) for c in clipped]

    patch.setattr(optimizers.noise, "release", clipped_afterwards)


# The ledger.


def dropped_event(patch):
    """One event in ten is not recorded."""
    _record_if(patch, lambda number: number % 10 != 9)


def epochs_counted_for_steps(patch):
    """Of the steps that make an epoch, one in four, only the first is recorded."""
    _record_if(patch, lambda number: number % 4 == 0)


def _record_if(patch, chosen):
    """Of single steps, records those whose number is chosen."""
    real, numbers = Ledger.record, itertools.count()

    def record(self, *args, **options):
        # Of several at once: that is a plan, of the epsilon to come.
        if options.get("count", 1) != 1 or chosen(next(numbers)):
            real(self, *args, **options)

    patch.setattr(Ledger, "record", record)


def doubled_steps(patch):
    """Each batch is used for two updates, with fresh noise, for the price of one."""
    real = models.PrivateModel.train_step

    def twice(self, data):
        ticket_of = Privacy.redeem

        def redeem(privacy, ticket, noise_multiplier, budget=None, cost=None):
            if int(ticket) in privacy._tickets:
                return ticket_of(privacy, ticket, noise_multiplier, budget, cost)
            return privacy.side_key("gradients")

        patch.setattr(Privacy, "redeem", redeem)
        real(self, data)
        return real(self, data)

    patch.setattr(models.PrivateModel, "train_step", twice)
