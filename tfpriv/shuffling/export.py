"""SavedModels of keyed twins, with and without the key."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from tfpriv import ops
from tfpriv.ops import loader
from tfpriv.ops.permutations import KEY_BYTES, NONCE_BYTES
from tfpriv.shuffling.keys import Key
from tfpriv.shuffling.purposes import FIXED, PER_PICTURE
from tfpriv.support.models import file_errors
from tfpriv.support.outputs import new_directory

ENDPOINTS = {FIXED: "serve", PER_PICTURE: "serve_per_picture"}


def export(
    twin: keras.Model, folder: str, key: Key | None, portable: bool, verbose: bool
) -> None:
    """Writes a SavedModel; see `KeyedModel.export`.

    Args:
        twin: the `KeyedModel`.
        folder: where to write; a new one.
        key: the key to include, or `None`.
        portable: whether to use plain TensorFlow ops.
        verbose: whether to say what was written.

    Raises:
        ValueError: for native ops that are not there.
        OSError: there is something in the folder, or it cannot be written.
    """
    if not portable and not ops.native_available():
        raise ValueError(
            "portable=False asks for the native ops, which are not there: "
            f"{ops.why_not_native()}"
        )
    archive = keras.export.ExportArchive()
    archive.track(twin.plain)
    graphs = loader.portable_graphs() if portable else contextlib.nullcontext()
    with new_directory(folder) as new, graphs, file_errors(folder):
        for mode, name in ENDPOINTS.items():
            function, signature = _endpoint(twin, key, mode)
            archive.add_endpoint(name, function, signature)
        archive.write_out(str(new), verbose=False)  # it would name a hidden folder
    if verbose:
        print(f"Exported to {folder}: {', '.join(ENDPOINTS.values())}")


def _endpoint(twin, key, mode):
    """A function of pictures, then nonces, then keys, where these are needed."""
    pictures = [
        tf.TensorSpec(x.shape, x.dtype, name=x.name)
        for x in keras.tree.flatten(twin.plain.inputs)
    ]
    nonces = [tf.TensorSpec([None, NONCE_BYTES], tf.uint8, name="nonces")]
    purposes = twin.purposes(mode)
    secrets = [tf.TensorSpec([len(purposes), KEY_BYTES], tf.uint8, name="derived_keys")]
    signature = [
        *pictures,
        *(nonces if mode == PER_PICTURE else []),
        *(secrets if key is None else []),
    ]
    included = None if key is None else _constants(twin, key, mode)

    def run(*arguments):
        given = dict(zip((spec.name for spec in signature), arguments, strict=True))
        nonce = given.get("nonces", np.zeros((1, NONCE_BYTES), np.uint8))

        def draw(planes):
            purpose = planes.purpose(mode)
            if included is None:
                secret = given["derived_keys"][purposes.index(purpose)]
            else:
                secret = included[purpose]
            if key is not None and mode == FIXED:
                return secret  # the permutation itself
            return ops.permutations(secret, nonce, planes.positions)

        return twin.run_with(list(arguments[: len(pictures)]), draw)

    return run, signature


def _constants(twin, key, mode):
    """What an included key leaves in the graph: permutations, or keys to draw them."""
    if mode == FIXED:
        return twin.fixed_permutations()
    return dict(zip(twin.purposes(mode), twin.derived_keys(key, mode), strict=True))
