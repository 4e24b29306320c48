"""Deformable convolutions by the definition, and drawn arguments for them."""

import itertools

import numpy as np
from hypothesis import strategies as st

TENSORS = ("inputs", "offsets", "filters", "mask", "bias")


def sample(image, y, x):
    """The blend of the four pixels around a place, zeros outside: (channels,)."""
    total = np.zeros(image.shape[-1])
    if not (np.isfinite(y) and np.isfinite(x)):
        return total
    for row, column in itertools.product(
        (np.floor(y), np.floor(y) + 1), (np.floor(x), np.floor(x) + 1)
    ):
        weight = (1 - abs(y - row)) * (1 - abs(x - column))
        inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
        if inside and weight:
            total += weight * image[int(row), int(column)]
    return total


def oracle(
    inputs, offsets, filters, mask, bias, *, strides, padding, dilation_rate, groups
):
    """The definition, in float64."""
    height, width, in_group, count = filters.shape
    taps = list(itertools.product(range(height), range(width)))
    offset_groups = offsets.shape[3] // (2 * len(taps))
    in_offset_group = inputs.shape[3] // offset_groups
    outputs = np.zeros((len(inputs), *offsets.shape[1:3], count))
    for example, p, q in itertools.product(*map(range, outputs.shape[:3])):
        moves = offsets[example % len(offsets), p, q].reshape(offset_groups, -1, 2)
        if mask is None:
            factors = np.ones((offset_groups, len(taps)))
        else:
            factors = mask[example % len(mask), p, q].reshape(offset_groups, -1)
        for tap, (i, j) in enumerate(taps):
            place = np.multiply((p, q), strides) + np.multiply((i, j), dilation_rate)
            place = place - (padding[0][0], padding[1][0])
            values = np.concatenate(
                [
                    factors[g, tap]
                    * sample(
                        inputs[
                            example,
                            :,
                            :,
                            g * in_offset_group : (g + 1) * in_offset_group,
                        ],
                        *(place + moves[g, tap]),
                    )
                    for g in range(offset_groups)
                ]
            )
            for g, part in enumerate(values.reshape(groups, in_group)):
                own = slice(g * count // groups, (g + 1) * count // groups)
                outputs[example, p, q, own] += part @ filters[i, j, :, own]
    return outputs if bias is None else outputs + bias


@st.composite
def problems(draw, dtypes=("float32", "float64"), least=0, most_channels=3):
    """Arguments of deformable_conv2d: normal values, offsets of a few pixels."""
    examples, size = draw(st.integers(least, 3)), [draw(st.integers(1, 7)), 0]
    size[1] = draw(st.integers(1, 7))
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    strides = tuple(draw(st.integers(1, 3)) for _ in range(2))
    dilation_rate = tuple(draw(st.integers(1, 2)) for _ in range(2))
    padding = tuple(
        (draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2)
    )
    output = [
        max(
            (size[i] + sum(padding[i]) - (kernel[i] - 1) * dilation_rate[i] - 1)
            // strides[i]
            + 1,
            0,
        )
        for i in range(2)
    ]
    groups, offset_groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    channels = groups * offset_groups * draw(st.integers(1, most_channels))
    filters = groups * draw(st.integers(1, 9))
    taps = kernel[0] * kernel[1]
    dtype = draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale, whole = draw(st.sampled_from([0.5, 3.0, 1e30])), draw(st.booleans())

    def batch():
        return draw(st.sampled_from([1, examples]))

    offsets = rng.normal(size=(batch(), *output, 2 * offset_groups * taps)) * scale
    shapes = {
        "inputs": (examples, *size, channels),
        "filters": (*kernel, channels // groups, filters),
        "mask": (batch(), *output, offset_groups * taps),
        "bias": (filters,),
    }
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    arrays["offsets"] = np.round(offsets) if whole else offsets
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    for name in ("mask", "bias"):
        if not draw(st.booleans()):
            arrays[name] = None
    return arrays | {
        "strides": strides,
        "padding": padding,
        "dilation_rate": dilation_rate,
        "groups": groups,
    }


def layer(size, channels, filters, *, examples=3, offset_groups=1, groups=1, seed=0):
    """float32 arguments of a layer with kernels of 3, padding 1 and everything on."""
    normal = np.random.default_rng(seed).normal
    shapes = {
        "inputs": (examples, size, size, channels),
        "offsets": (examples, size, size, 18 * offset_groups),
        "filters": (3, 3, channels // groups, filters),
        "mask": (examples, size, size, 9 * offset_groups),
        "bias": (filters,),
    }
    arrays = {name: normal(size=s).astype("float32") for name, s in shapes.items()}
    return arrays | {"padding": ((1, 1), (1, 1)), "groups": groups}
