"""Keras models from files: nothing in them is run, and damage is one clear error."""

import contextlib
import os
import textwrap
import zipfile
from pathlib import Path

import keras
import tensorflow as tf

from tfpriv.support.outputs import atomic_path

_LONGEST = 300  # letters of Keras' own words, which may quote a whole model
_FILE_ERRORS = (  # what TensorFlow makes of a system's OSError
    tf.errors.AlreadyExistsError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnknownError,
)


def load_model(
    path: str | os.PathLike,
    what: str = "a model of Keras",
    kind: type = keras.Model,
    *,
    compile: bool = False,
) -> keras.Model:
    """Loads a `.keras` file. Python code in it is refused, not run.

    Args:
        path: The file.
        what: What it should be, for the error.
        kind: Class that it must be of.
        compile: As in Keras; so that it can be trained on.

    Returns:
        The model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or another model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no model here. Received: {path}")
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ValueError(  # Keras would say that there is no such file
            f"The model cannot be loaded: damaged, or not {what}. Received: {path} "
            "(it is no whole `.keras` file)"
        )
    try:
        model = keras.saving.load_model(path, compile=compile, safe_mode=True)
    except Exception as error:  # Keras raises what its parts happen to raise
        said = textwrap.shorten(f"{type(error).__name__}: {error}", _LONGEST)
        raise ValueError(
            f"The model cannot be loaded: damaged, or not {what}. "
            f"Received: {path} ({said})"
        ) from error
    if not isinstance(model, kind):
        raise ValueError(f"Expected {what}. Received: {type(model).__name__} in {path}")
    return model


def save_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes a model as Keras does, but whole or not at all.

    Args:
        model: The model.
        path: The `.keras` file; one that is there is replaced.
    """
    with atomic_path(path) as partial:
        model.save(partial)


@contextlib.contextmanager
def file_errors(path: str | os.PathLike):
    """Turns TensorFlow's errors of writing a SavedModel into `OSError`.

    Args:
        path: What is being written, for the error.
    """
    try:
        yield
    except _FILE_ERRORS as error:
        said = textwrap.shorten(error.message, _LONGEST)
        raise OSError(
            f"The SavedModel cannot be written. Received: {path} ({said})"
        ) from error
