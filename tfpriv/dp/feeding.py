"""From a sampler to what `fit` iterates: one element per step, or per replica."""

import operator

import numpy as np
import tensorflow as tf

# Keys of an element; a dict with TICKET is how `train_step` knows a paid batch.
BATCH, TICKET, DIVISOR = "batch", "ticket", "divisor"


def is_fed(data):
    """Whether data came from `make_dataset` or `own_batch`."""
    return isinstance(data, dict) and TICKET in data


def make_dataset(sampler, pay, randomness, steps, strategy, failures):
    """A data set of exactly `steps` logical batches.

    Each batch is drawn when it is asked for, never ahead (tf.data's own prefetching
    is off), so that an event is in the ledger before its batch is drawn and no event
    is paid for a batch that is not used. Several replicas get equal shares of one
    logical batch and its one ticket. What goes wrong while drawing is put into the
    list `failures`, since TensorFlow only passes on its text.
    """
    replicas = strategy.num_replicas_in_sync

    def elements():
        drawn = sampler.batches(pay, randomness)
        try:
            for _ in range(steps):
                ticket, batch = next(drawn)
                size = len(tf.nest.flatten(batch)[0])
                divisor = sampler.expected_batch_size or float(max(size, 1))
                for replica in range(replicas):
                    rows = operator.itemgetter(slice(replica, None, replicas))
                    share = tf.nest.map_structure(rows, batch)
                    yield element(share, ticket, divisor)
        except Exception as error:
            failures.append(error)
            raise

    def build(_=None):
        # `from_generator` would call Python when its iterator is deleted, which may be
        # after the interpreter has ended.
        dataset = tf.data.Dataset.range(steps * replicas)
        dataset = dataset.map(_next_of(elements(), signature(sampler)))
        options = tf.data.Options()
        options.autotune.enabled = False
        options.deterministic = True
        return dataset.with_options(options)

    if replicas == 1:
        return build()
    # The least buffer: a batch for every replica, and none of the next step.
    options = tf.distribute.InputOptions(experimental_per_replica_buffer_size=0)
    return strategy.distribute_datasets_from_function(build, options)


def _next_of(elements, spec):
    """A function for `Dataset.map` that returns the next of a generator's elements."""
    parts = tf.nest.flatten(spec)

    def draw():
        values = tf.nest.flatten(next(elements))
        dtypes = [part.dtype.as_numpy_dtype for part in parts]
        return [np.asarray(v, d) for v, d in zip(values, dtypes, strict=True)]

    def take(_):
        drawn = tf.numpy_function(draw, [], [part.dtype for part in parts])
        pairs = zip(drawn, parts, strict=True)
        shaped = [tf.ensure_shape(tensor, part.shape) for tensor, part in pairs]
        return tf.nest.pack_sequence_as(spec, shaped)

    return take


def own_batch(batch, ticket):
    """An element for a batch that the user composed; its size is public."""
    size = tf.constant(max(len(tf.nest.flatten(batch["x"])[0]), 1), tf.float32)
    return element(batch, tf.constant(ticket, tf.int64), size)


def element(batch, ticket, divisor):
    """What `train_step` takes for a paid batch, or a replica's share of it."""
    return {BATCH: batch, TICKET: ticket, DIVISOR: divisor}


def signature(sampler):
    """The `tf.TensorSpec` of an element."""
    axes = [None, sampler.group_size] if sampler.groups_units else [None]
    batch = tf.nest.map_structure(
        lambda s: tf.TensorSpec(tf.TensorShape(axes).concatenate(s.shape), s.dtype),
        sampler.element_spec(),
    )
    if sampler.groups_units:
        batch["present"] = tf.TensorSpec(axes, tf.bool)
    return {
        BATCH: batch,
        TICKET: tf.TensorSpec([], tf.int64),
        DIVISOR: tf.TensorSpec([], tf.float32),
    }
