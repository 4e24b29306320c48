"""Per-example gradients of one weight, whole or in factors, and what is asked of them.

The gradient of a weight for one example is often a sum of few outer products of what
the layer got and what came back. Its norm and its part of a weighted sum can then be
had without ever forming it (Goodfellow, 2015; Bu et al., 2023). Every class here offers

    square_norms()    (units,) float64
    precise()         the same gradient, with square norms computed in float64
    terms             (units, t) float64: lengths of the products that it is a sum of,
                      never too small; `None` if it is not such a sum
    cancelling        whether `square_norms` is right where terms cancel
    weighted_sum(w)   sum_i w_i * gradient_i, shaped like the weight
    tensors           what it holds; `rebuilt(tensors)` is the same around others

References:
    - Goodfellow, "Efficient per-example gradient computations", arXiv 1510.01799.
    - Bu et al., "Differentially private optimization on large model at small cost",
      ICML 2023, arXiv 2210.00038.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfpriv import ops
from tfpriv.dp.clipping.shapes import reshape, sizes
from tfpriv.dp.clipping.vectorized import average_over_groups
from tfpriv.support.moved import renamed_in

# Where a square norm is smaller than this part of the sum of its terms' own, these
# cancel, and single precision is not enough: it is right to about 1e-7 of that sum.
_CANCELLING = 0.02
_RANGE = (1e-30, 1e30)  # of square norms
# A norm below this part of the whole gradient's, such as zero, need not be exact: an
# upper bound takes its place.
_NEGLIGIBLE = 1e-9
_VANISHED = 1e-24  # more than what squares that vanish in single precision add up to
# Single precision has no smaller squares: a length of zero may be anything below.
_LEAST_SQUARE = {tf.float32: 1e-30, tf.float64: 0.0}

# Nanoseconds on two cores, measured once: of a multiply-add among many small products
# (gram), of what it costs more to multiply example by example than all at once, and of
# writing and reading one number of a gradient that is kept.
_GRAM, _SPLIT, _KEEP = 0.05, 0.03, 1.5


class Gradients:
    """What the classes below have in common."""

    floats: tuple[str, ...] = ()  # names of the fields that hold floats
    cancelling = True

    @property
    def terms(self) -> Any:
        return None

    @property
    def tensors(self):
        return [getattr(self, name) for name in self.floats]

    def rebuilt(self: Any, tensors: Any) -> Any:
        return dataclasses.replace(self, **dict(zip(self.floats, tensors, strict=True)))

    def precise(self):
        return self.rebuilt([tf.cast(t, tf.float64) for t in self.tensors])

    def is_cheaper_whole(self):
        return False


@dataclasses.dataclass
class Dense(Gradients):
    """Gradients as they are."""

    gradient: Any  # (units, *weight.shape)
    squares: Any = None  # (units,) float64, their square norms where these are known

    floats = ("gradient",)

    def rebuilt(self, tensors):
        return Dense(*tensors)  # the squares are of other tensors

    def square_norms(self):
        if self.squares is not None:
            return self.squares
        flat = _flat(self.gradient)
        return tf.cast(tf.einsum("un,un->u", flat, flat), tf.float64)

    def weighted_sum(self, weights):
        flat = _flat(self.gradient)
        total = tf.linalg.matvec(flat, tf.cast(weights, flat.dtype), transpose_a=True)
        return tf.reshape(total, self.gradient.shape[1:])

    def whole(self):
        return self


class Products(Gradients):
    """Sums of products over steps: of `grams`, each factor's products with itself."""

    cancelling = False
    grams: Any

    def square_norms(self):
        return _sum_of_products(*self.grams)

    @property
    def terms(self):
        """Length of each step's product."""
        return product_lengths(*map(tf.linalg.diag_part, self.grams))


@dataclasses.dataclass
class LowRank(Products):
    """Sums of outer products: gradient_i = sum_t left[i, t] x right[i, t]."""

    left: Any  # (units, t, m)
    right: Any  # (units, t, n)
    shape: tuple  # of the weight, with m * n entries in this order

    floats = ("left", "right")

    @property
    def sides(self):
        return self.left, self.right

    @functools.cached_property
    def grams(self):
        return ops.row_products(self.left), ops.row_products(self.right)

    def weighted_sum(self, weights):
        left, right = self.left, self.right
        weights = tf.cast(weights, left.dtype)[:, tf.newaxis, tf.newaxis]
        if (left.shape[2] or 0) <= (right.shape[2] or 0):  # the smaller is scaled
            left = left * weights
        else:
            right = right * weights
        product = tf.matmul(_rows(left), _rows(right), transpose_a=True)
        return tf.reshape(product, self.shape)

    def whole(self):
        product = tf.matmul(self.left, self.right, transpose_a=True)
        return Dense(reshape(product, [sizes(product)[0], *self.shape]))

    def is_cheaper_whole(self):
        t, m, n = self.left.shape[1], self.left.shape[2], self.right.shape[2]
        if None in (t, m, n):
            return False
        return m * n * (_KEEP + t * _SPLIT) < t * t * (m + n) * _GRAM


@dataclasses.dataclass
class Lookup(Products):
    """Gradients of a table: gradient_i[ids[i, t]] += right[i, t]."""

    ids: Any  # integers (units, t)
    right: Any  # (units, t, n)
    shape: tuple  # (rows, n)

    floats = ("right",)

    @property
    def sides(self):
        return self.ids, self.right

    @functools.cached_property
    def grams(self):
        """As for `LowRank`, whose `left` would be one-hot."""
        return self.left_gram(self), ops.row_products(self.right)

    def weighted_sum(self, weights):
        weights = tf.cast(weights, self.right.dtype)[:, tf.newaxis, tf.newaxis]
        rows = tf.reshape(self.right * weights, [-1, self.shape[1]])
        return tf.math.unsorted_segment_sum(
            rows, tf.reshape(self.ids, [-1]), self.shape[0]
        )

    def whole(self):
        units = tf.shape(self.ids)[0]
        ids = self.ids + self.shape[0] * tf.range(units, dtype=self.ids.dtype)[:, None]
        rows = tf.math.unsorted_segment_sum(
            tf.reshape(self.right, [-1, self.shape[1]]),
            tf.reshape(ids, [-1]),
            units * self.shape[0],
        )
        return Dense(tf.reshape(rows, [units, *self.shape]))

    def left_gram(self, other):
        if isinstance(other, Lookup):
            same = self.ids[:, :, tf.newaxis] == other.ids[:, tf.newaxis, :]
            return tf.cast(same, self.right.dtype)
        return tf.linalg.matrix_transpose(
            tf.gather(other.left, self.ids, axis=2, batch_dims=1)
        )


@dataclasses.dataclass
class Sum(Products):
    """The sum of a `LowRank` and a `Lookup` of one table (tied embeddings)."""

    outer: LowRank
    lookup: Lookup

    @property
    def tensors(self):
        return [*self.outer.tensors, *self.lookup.tensors]

    def rebuilt(self, tensors):
        return Sum(self.outer.rebuilt(tensors[:2]), self.lookup.rebuilt(tensors[2:]))

    def square_norms(self):
        own = self.outer.square_norms() + self.lookup.square_norms()
        left = self.lookup.left_gram(self.outer)
        right = tf.matmul(self.lookup.right, self.outer.right, transpose_b=True)
        return own + 2 * _sum_of_products(left, right)

    @property
    def terms(self):
        return tf.concat([self.outer.terms, self.lookup.terms], axis=1)

    def weighted_sum(self, weights):
        return self.outer.weighted_sum(weights) + self.lookup.weighted_sum(weights)

    def whole(self):
        return Dense(self.outer.whole().gradient + self.lookup.whole().gradient)


@dataclasses.dataclass
class Deferred:
    """Gradients that are cheaper to compute for all examples at once."""

    compute: Callable  # from `tensors` to one of the gradients above
    tensors: list  # leading axis: examples


def computed(gradient):
    """The gradient itself, where it was left for later."""
    if isinstance(gradient, Deferred):
        return gradient.compute(*gradient.tensors)
    return gradient


def taken_apart(gradient):
    """All tensors of a gradient, and a function that makes the same around others."""
    fields = {f.name: getattr(gradient, f.name) for f in dataclasses.fields(gradient)}
    flat = tf.nest.flatten(fields)
    places = [i for i, value in enumerate(flat) if tf.is_tensor(value)]

    def rebuilt(tensors):
        for i, tensor in zip(places, tensors, strict=True):
            flat[i] = tensor
        return type(gradient)(**tf.nest.pack_sequence_as(fields, flat))

    return [flat[i] for i in places], rebuilt


def _sum_of_products(left, right):
    """<a_i, b_i> for each unit i, float64, from Gram matrices of their factors."""
    rows = tf.reduce_sum(left * right, axis=2)
    return tf.reduce_sum(tf.cast(rows, tf.float64), axis=1)


def product_lengths(left, right):
    """Lengths of products, float64, from the squares of their factors' lengths."""
    least = _LEAST_SQUARE[left.dtype]
    left, right = (tf.cast(t, tf.float64) + least for t in (left, right))
    return tf.sqrt(left) * tf.sqrt(right)


def square_norms(gradients):
    """Square norms of several gradients, and what is to be known of their rounding.

    Returns:
        `(squares, rounding, precise)`, each `(gradients, units)`: float64 square norms;
        float64, what rounding may add to the gradient's length in a weighted sum, over
        one unit in the last place; and whether the square norm can be relied on.
    """
    squares = tf.stack([g.square_norms() for g in gradients])
    none = tf.zeros_like(squares[0])
    terms = [g.terms for g in gradients]
    apart = tf.stack(
        [none if t is None else tf.reduce_sum(tf.square(t), axis=1) for t in terms]
    )
    worst = tf.stack([none if t is None else tf.reduce_sum(t, axis=1) for t in terms])
    cancels = ~(squares >= _CANCELLING * apart)  # also if one is no number
    # Errors add up like random ones, unless terms do and then cancel.
    rounding = tf.where(cancels, worst, tf.sqrt(tf.maximum(squares, apart)))
    cancelling = tf.constant([[g.cancelling] for g in gradients])
    precise = (squares > _RANGE[0]) & (squares < _RANGE[1])
    precise &= tf.math.is_finite(worst) & (cancelling | ~cancels)
    # The norm is at most the sum of the lengths of its terms.
    is_whole = tf.constant([[t is None] for t in terms])
    bound = tf.where(is_whole, squares + _VANISHED, tf.square(worst))
    total = tf.reduce_sum(tf.where(precise, squares, tf.zeros_like(squares)), axis=0)
    negligible = bound <= _NEGLIGIBLE**2 * total
    squares = tf.where(negligible, bound, squares)
    return squares, rounding, precise | negligible


def combine(parts):
    """One gradient from those of several uses of the same weight."""
    outers = [p for p in parts if isinstance(p, LowRank)]
    lookups = [p for p in parts if isinstance(p, Lookup)]
    if len(outers) + len(lookups) == len(parts):
        kinds = [_side_by_side(kind) for kind in (outers, lookups) if kind]
        parts = kinds if len(kinds) == 1 else [Sum(*kinds)]
    if len(parts) > 1:
        return Dense(tf.add_n([part.whole().gradient for part in parts]))
    return parts[0].whole() if parts[0].is_cheaper_whole() else parts[0]


def _side_by_side(parts):
    """One of several `LowRank`, or of several `Lookup`."""
    if len(parts) == 1:
        return parts[0]
    sides = zip(*(part.sides for part in parts), strict=True)
    joined = [tf.concat(side, axis=1) for side in sides]
    return type(parts[0])(*joined, parts[0].shape)


def by_unit(gradient, chunk):
    """Of rows that are examples, the same for units: a group's mean is its gradient."""
    if chunk.group_size is None:
        return gradient
    if not isinstance(gradient, (LowRank, Lookup, Sum)):
        return Dense(average_over_groups(gradient.whole().gradient, chunk))
    if isinstance(gradient, Sum):
        return Sum(by_unit(gradient.outer, chunk), by_unit(gradient.lookup, chunk))
    # (examples, 1, 1): 1 / present examples of the unit, 0 for an absent example.
    present = tf.cast(chunk.example_present, gradient.right.dtype)
    count = tf.maximum(tf.reduce_sum(present, axis=1, keepdims=True), 1)
    share = tf.reshape(present / count, [-1, 1, 1])
    right = tf.where(share > 0, gradient.right * share, tf.zeros_like(gradient.right))
    if isinstance(gradient, Lookup):
        return of_examples(gradient.rebuilt([right]), chunk.group_size)
    left = tf.where(share > 0, gradient.left, tf.zeros_like(gradient.left))
    return of_examples(gradient.rebuilt([left, right]), chunk.group_size)


def of_examples(gradient, fold):
    """Of rows, `fold` in a row for each example, the same for examples: their sum."""
    if fold == 1:
        return gradient
    if isinstance(gradient, (LowRank, Lookup)):
        left, right = (_in_one_row(t, fold) for t in gradient.sides)
        return type(gradient)(left, right, gradient.shape)
    each = gradient.whole().gradient
    return Dense(tf.reduce_sum(tf.reshape(each, [-1, fold, *each.shape[1:]]), axis=1))


def _in_one_row(tensor, k):
    """(units * k, t, ...) -> (units, k * t, ...)."""
    units, t, *rest = sizes(tensor)
    return reshape(tensor, [units // k, k * t, *rest])


def _flat(tensor):
    """(units, ...) -> (units, n)."""
    units, *rest = sizes(tensor)
    return reshape(tensor, [units, math.prod(rest)])


def _rows(tensor):
    """(units, t, n) -> (units * t, n)."""
    return tf.reshape(tensor, [-1, tensor.shape[2]])


__getattr__ = renamed_in(
    __name__, {"Whole": "Dense", "Outer": "LowRank", "Later": "Deferred"}
)
