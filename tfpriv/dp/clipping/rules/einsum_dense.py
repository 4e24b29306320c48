"""EinsumDense, of which attention is made, and its low-rank adaptation."""

import math
import string

import keras
import tensorflow as tf

from tfpriv.dp.clipping.per_example import Dense, LowRank
from tfpriv.dp.clipping.rules import register_clipping_rule
from tfpriv.dp.clipping.rules.parts import (
    low_rank_factors,
    summed_to,
    tap_before_activation,
)
from tfpriv.dp.clipping.shapes import reshape, sizes


@register_clipping_rule(keras.layers.EinsumDense)
def einsum_dense(layer, call, record, inputs, *args, **kwargs):
    x_axes, kernel, out = _axes(layer.equation, inputs.shape.rank)
    summed_over = layer.lora_enabled and kernel[-1] in x_axes
    if summed_over or not _is_ordinary(x_axes, kernel, out):
        record.nothing()
        return call(inputs, *args, **kwargs)

    def gradients(g):
        x = tf.cast(inputs, g.dtype)
        if layer.lora_enabled:
            found = _low_rank(layer, x_axes, kernel, out, x, g)
        else:
            shape = tuple(layer.kernel.shape)
            found = [(layer.kernel, _of_kernel(x_axes, kernel, out, x, g, shape))]
        if layer.bias is not None:
            summed = summed_to(g, [out.index(a) for a in layer.bias_axes])
            shaped = tf.reshape(summed.gradient, [-1, *layer.bias.shape])
            found.append((layer.bias, Dense(shaped)))
        return found

    if not layer.lora_enabled and _is_one_product(x_axes, kernel, out):
        z = _product(x_axes, out, inputs, keras.ops.convert_to_tensor(layer.kernel))
        z = record(z if layer.bias is None else z + layer.bias, gradients)
        return z if layer.activation is None else layer.activation(z)
    with tap_before_activation(layer, lambda z: record(z, gradients)):
        return call(inputs, *args, **kwargs)


def _is_one_product(x_axes, kernel, out):
    """Whether the letters stand as in a product of two matrices."""
    between, over_x, over_g = _places(x_axes, kernel, out)
    wanted = x_axes[0] + between + over_x, over_x + over_g, out[0] + between + over_g
    return (x_axes, kernel, out) == wanted


def _product(x_axes, out, x, weight):
    """That product; Keras' einsum multiplies example by example, three times slower."""
    kept = len([a for a in x_axes if a in out])
    m = math.prod(weight.shape[: len(x_axes) - kept])
    flat = tf.matmul(tf.reshape(x, [-1, m]), tf.reshape(weight, [m, -1]))
    return reshape(flat, [*sizes(x)[:kept], *weight.shape[len(x_axes) - kept :]])


def _places(x_axes, kernel, out):
    """Letters on both sides of the kernel, of the inputs only, of the output only."""
    between = [a for a in x_axes[1:] if a in out and a not in kernel]
    over_x = [a for a in kernel if a not in out]
    over_g = [a for a in kernel if a not in x_axes]
    return tuple("".join(letters) for letters in (between, over_x, over_g))


def _axes(equation, rank):
    """The letters of inputs, kernel and output, an ellipsis written out."""
    left, out = equation.split("->")
    x, kernel = left.split(",")
    hidden = _unused(equation)[: rank + 3 - len(x)]
    return tuple(part.replace("...", hidden) for part in (x, kernel, out))


def _unused(letters):
    return "".join(a for a in string.ascii_uppercase if a not in letters)


def _is_ordinary(x, kernel, out):
    """Examples come first and are not summed over; each letter has its one place."""
    unique = all(len(set(part)) == len(part) for part in (x, kernel, out))
    first = x[0] == out[0] and x[0] not in kernel
    return unique and first and set(kernel) <= set(x + out)


def _of_kernel(x_axes, kernel, out, x, g, shape):
    """LowRank products where kernel letters come from one side each, in one order."""
    between, over_x, over_g = _places(x_axes, kernel, out)
    ordered = over_x + over_g, over_g + over_x
    if kernel not in ordered:  # a letter on both sides, or letters in turns
        return Dense(tf.einsum(f"{x_axes},{out}->{x_axes[0]}{kernel}", x, g))
    left = _matrix(x_axes, between, over_x, x)
    right = _matrix(out, between, over_g, g)
    return LowRank(*((left, right) if kernel == ordered[0] else (right, left)), shape)


def _matrix(axes, between, over, tensor):
    """(examples, ...) -> (examples, product of `between`, product of `over`)."""
    wanted = axes[0] + between + over
    if wanted != axes:
        tensor = tf.einsum(f"{axes}->{wanted}", tensor)
    size_of = dict(zip(wanted, tensor.shape, strict=True))
    t, n = ([size_of[a] for a in group] for group in (between, over))
    return tf.reshape(
        tensor,
        [tf.shape(tensor)[0], -1 if None in t else math.prod(t), math.prod(n)],
    )


def _low_rank(layer, x_axes, kernel, out, x, g):
    """The two factors of kernel + (alpha / rank) * a @ b, over the kernel's last axis.

    With a letter of its own for the rank, x -> x @ a has the axes of the output, but
    for the kernel's last; the product with b is another such equation.
    """
    a, b, scaled = low_rank_factors(layer, g)
    last, low = kernel[-1], _unused(x_axes + kernel + out)[0]
    kernel_a = kernel[:-1] + low
    middle = out.replace(last, low)
    behind_b = tf.einsum(f"{out},{low}{last}->{middle}", scaled, b)
    before_b = tf.einsum(f"{x_axes},{kernel_a}->{middle}", x, a)
    of_a = _of_kernel(x_axes, kernel_a, middle, x, behind_b, tuple(a.shape))
    of_b = _of_kernel(middle, low + last, out, before_b, scaled, tuple(b.shape))
    return [(layer.lora_kernel_a, of_a), (layer.lora_kernel_b, of_b)]
