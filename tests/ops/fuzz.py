"""Calls native ops with what they were not made for, many times.

Under AddressSanitizer and UndefinedBehaviorSanitizer, from the repository's root:

    flags=-fsanitize=address,undefined
    CXXFLAGS="$flags -fno-sanitize-recover=undefined" LDFLAGS=$flags \
        .venv/bin/python setup.py \
        build_ext --build-lib /tmp/asan --build-temp /tmp/asan-objects
    asan=$(g++ -print-file-name=libasan.so) cpp=$(g++ -print-file-name=libstdc++.so)
    LD_PRELOAD="$asan $cpp" ASAN_OPTIONS=detect_leaks=0 .venv/bin/python \
        tests/ops/fuzz.py /tmp/asan/tfpriv/ops/_native.so

2026-11-26, g++ 12: no complaint in 10,000 calls of each kind, some 6,400 of them
refused. 2026-11-22, with a read one row beyond the input planted: a
heap-buffer-overflow at once.
"""

import sys

import numpy as np
import tensorflow as tf

GRADIENTS = [
    f"deformable_conv2d_{name}_gradients" for name in ("input", "offset", "filter")
]
DEFORMABLE = ("deformable_conv2d", *GRADIENTS, "keyed_offsets")
KEYED = (
    "keyed_conv2d",
    "keyed_conv2d_input_gradient",
    "keyed_conv2d_filter_gradient",
    "keyed_pool2d",
    "keyed_pool2d_gradient",
)
HOSTILE = [-(2**63), -(2**31), -1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**62, 2**63 - 1]
NUMBERS = [0.0, -1.0, 0.5, 1e30, -1e30, 3e38, np.nan, np.inf, -np.inf]
DTYPES = ["float32", "float64", "int32", "float16", "uint8"]
REFUSALS = (tf.errors.OpError, TypeError, ValueError, OverflowError)


def good_arguments(rng, op):
    """Arguments that fit each other."""
    size, kernel = rng.integers(1, 6, 2), rng.integers(1, 4, 2)
    strides, dilations = rng.integers(1, 3, 2), rng.integers(1, 3, 2)
    padding = rng.integers(0, 4, 4)
    free = size + padding[::2] + padding[1::2] - (kernel - 1) * dilations - 1
    output = np.maximum(free // strides + 1, 0)
    examples = rng.integers(0, 4)
    common = {"strides": strides.tolist(), "dilations": dilations.tolist()}
    common["num_threads"] = int(rng.integers(0, 4))
    if op.startswith("deformable"):
        tensors = _deformable(rng, op, examples, size, kernel, output)
        return tensors | common | {"padding": padding.astype("int32")}
    common |= {"before": padding[::2].tolist(), "after": padding[1::2].tolist()}
    rows = 1 if op in KEYED and rng.integers(2) else examples
    common |= {
        "source": _permutations(rng, rows, size.prod()),
        "target": _permutations(rng, rows, output.prod()),
    }
    if op == "keyed_offsets":
        pairs = {"input_size": size.tolist(), "kernel_size": kernel.tolist()}
        return common | pairs
    return common | _keyed(rng, op, examples, size, kernel, output)


def _permutations(rng, rows, count):
    drawn = [rng.permutation(count) for _ in range(rows)]
    return np.array(drawn, "int32").reshape(rows, count)


def _keyed(rng, op, examples, size, kernel, output):
    channels, filters = rng.integers(1, 9), rng.choice([1, 3, 16, 17])
    planes = channels if "pool" in op else filters
    shapes = {
        "inputs": (examples, *size, channels),
        "filters": (*kernel, channels, filters),
        "bias": (filters,),
        "gradients": (examples, *output, planes),
    }
    pairs = {"kernel_size": kernel.tolist(), "input_size": size.tolist()}
    pairs["average"] = int(rng.integers(2))
    used = {
        "keyed_conv2d": ("inputs", "filters", "bias"),
        "keyed_conv2d_input_gradient": ("gradients", "filters", "input_size"),
        "keyed_conv2d_filter_gradient": ("inputs", "gradients", "kernel_size"),
        "keyed_pool2d": ("inputs", "kernel_size", "average"),
        "keyed_pool2d_gradient": ("inputs", "gradients", "kernel_size", "average"),
    }[op]
    dtype = rng.choice(DTYPES[:2])
    tensors = {n: rng.normal(size=s).astype(dtype) for n, s in shapes.items()}
    return {name: (tensors | pairs)[name] for name in used}


def _deformable(rng, op, examples, size, kernel, output):
    groups, offset_groups = rng.integers(1, 4, 2)
    channels = groups * offset_groups * rng.integers(1, 4)
    filters, taps = groups * rng.integers(0, 4), kernel.prod()
    shapes = {
        "inputs": (examples, *size, channels),
        "offsets": (rng.choice([1, examples]), *output, 2 * offset_groups * taps),
        "mask": (rng.choice([1, examples]), *output, offset_groups * taps),
        "filters": (*kernel, channels // groups, filters),
    }
    if rng.integers(2):
        shapes["mask"] = (1, 0, 0, 0)
    if op == "deformable_conv2d":
        shapes["bias"] = (filters,)
    else:
        shapes["gradients"] = (examples, *output, filters)
    dtype = rng.choice(DTYPES[:2])
    tensors = {name: rng.normal(size=s).astype(dtype) for name, s in shapes.items()}
    tensors["offsets"] *= rng.choice([1, 10]).astype(dtype)
    return tensors | {"groups": int(groups)}


def spoil(rng, value):
    """Something like the value, and probably wrong."""
    if isinstance(value, int):
        return int(rng.choice(HOSTILE))
    if isinstance(value, list):
        value = [*value, 1, 1][:2]
        for _ in range(rng.integers(1, 3)):
            value[rng.integers(2)] = int(rng.choice(HOSTILE))
        return [value, value + value, value[:1], [], value][rng.integers(5)]
    kind = rng.integers(5)
    if kind == 0 and value.size:  # other numbers
        wrong = rng.choice(NUMBERS if value.dtype.kind == "f" else HOSTILE[1:9], 3)
        value = value.copy()
        value.flat[rng.integers(0, value.size, 3)] = wrong.astype(value.dtype)
        return value
    if kind == 1:  # another type
        return value.astype(rng.choice(DTYPES))
    shape = list(value.shape)
    if kind == 2:  # other dimensions
        shape = [1] * rng.integers(0, 2) + shape[rng.integers(0, 3) :]
    elif shape:  # other sizes
        shape[rng.integers(len(shape))] = int(rng.choice([0, 1, 2, 3, 5, 18]))
    return np.resize(value, shape) if value.size else np.zeros(shape, value.dtype)


@np.errstate(all="ignore")  # numbers are cast to whatever type comes
def run(library, calls, seed, ops=DEFORMABLE + KEYED):
    """Makes calls; returns how many were refused. What crashes does not return.

    Args:
        library: module of native ops.
        calls: how many.
        seed: of what is drawn.
        ops: which of them.
    """
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(calls):
        op = str(rng.choice(ops))
        arguments = good_arguments(rng, op)
        for name in rng.choice(list(arguments), rng.integers(0, 4)):
            arguments[name] = spoil(rng, arguments[name])
        try:
            getattr(library, f"tfpriv_{op}")(**arguments)
        except REFUSALS:
            refused += 1
    return refused


if __name__ == "__main__":
    native = tf.load_op_library(sys.argv[1])
    for ops in (DEFORMABLE, KEYED):
        refused = run(native, 10_000, 0, ops)
        print(f"{ops[0]} and its kin: {refused} of 10,000 refused, none crashed")
