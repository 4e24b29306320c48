"""Finds and loads the native ops, once, and remembers why when it cannot."""

import contextlib
import contextvars
import functools
import os
import types
import warnings
from pathlib import Path

LIBRARY = Path(__file__).with_name("_native.so")
OPS = (
    "tfpriv_conv_gradients",
    "tfpriv_conv_square_norms",
    "tfpriv_deformable_conv2d",
    "tfpriv_deformable_conv2d_filter_gradients",
    "tfpriv_deformable_conv2d_input_gradients",
    "tfpriv_deformable_conv2d_offset_gradients",
    "tfpriv_gaussian_noise",
    "tfpriv_keyed_conv2d",
    "tfpriv_keyed_conv2d_filter_gradient",
    "tfpriv_keyed_conv2d_input_gradient",
    "tfpriv_keyed_offsets",
    "tfpriv_keyed_pool2d",
    "tfpriv_keyed_pool2d_gradient",
    "tfpriv_noisy_sum",
    "tfpriv_permutations",
    "tfpriv_philox_keys",
    "tfpriv_philox_uniform",
    "tfpriv_row_products",
)
ENV = "TFPRIV_PY_OPS"
_portable = contextvars.ContextVar("portable", default=False)


@functools.cache
def _load() -> tuple[types.ModuleType | None, str | None]:
    """Returns the module of native ops and None, or None and the reason."""
    if not LIBRARY.exists():
        return None, (
            f"{LIBRARY} was not built. Install tfpriv again on a machine with a C++ "
            "compiler (Debian and Ubuntu: `apt-get install g++`)"
        )
    import tensorflow as tf

    try:
        library = tf.load_op_library(str(LIBRARY))
    except (tf.errors.OpError, OSError) as error:
        return None, f"{LIBRARY} does not load: {error}"
    missing = [op for op in OPS if not hasattr(library, op)]
    if missing:
        return None, f"{LIBRARY} lacks {missing}: install tfpriv again"
    return library, None


def library() -> types.ModuleType | None:
    """Returns the native ops wherever they load, whatever the environment asks for.

    Returns:
        The module that `tf.load_op_library` made, or None.
    """
    return _load()[0]


def why_not_native() -> str | None:
    """Says why the native ops are not in use.

    Returns:
        None when they are in use, otherwise one sentence for a person to read.
    """
    if os.environ.get(ENV, "0") not in ("", "0"):
        return f"the environment variable {ENV} asks for the pure-TensorFlow ops"
    if portable():
        return "a graph is made for machines without tfpriv"
    return _load()[1]


def native_available() -> bool:
    """Says whether ops run natively (loads the library on the first call)."""
    return why_not_native() is None


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        "tfpriv runs without its native ops, slower and with the same results: "
        f"{reason}.",
        RuntimeWarning,
        stacklevel=4,
    )


def native_ops() -> types.ModuleType | None:
    """Returns the native ops, or None where the pure-TensorFlow twin is to be used.

    The first call that falls back warns, unless the twin was asked for.

    Returns:
        The module that `tf.load_op_library` made, or None.
    """
    reason = why_not_native()
    if reason is None:
        return _load()[0]
    if _load()[0] is None and ENV not in reason:
        _warn_once(reason)
    return None


def native_ops_on_cpu() -> types.ModuleType | None:
    """Returns the native ops, or None also where tensors live on a GPU and stay there.

    Returns:
        What `native_ops` returns, or None.
    """
    import tensorflow as tf

    return None if tf.config.list_logical_devices("GPU") else native_ops()


def portable() -> bool:
    """Whether a graph is traced that goes to machines without tfpriv."""
    return _portable.get()


@contextlib.contextmanager
def portable_graphs():
    """Inside, ops are traced as plain TensorFlow, for graphs that go elsewhere."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)
