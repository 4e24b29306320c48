"""Files that carry their ledger, written whole or not at all."""

import contextlib
import fnmatch
import os
import pathlib
import shutil
import tempfile
import weakref

import tensorflow as tf

from tfpriv.accounting.ledger import LEDGER_NAME
from tfpriv.accounting.statement import STATEMENT_NAME
from tfpriv.support.models import file_errors
from tfpriv.support.outputs import check_new, moved_aside

_EXTRA = "assets.extra"  # where SavedModel keeps users' own files
# What the folders of two formats hold, by which an earlier one is recognised.
_SAVED_MODEL = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.*",
    "assets/*",
    f"{_EXTRA}/{LEDGER_NAME}",
    f"{_EXTRA}/{STATEMENT_NAME}",
)
_UNZIPPED = ("config.json", "metadata.json", "model*.weights.*", "assets/*")


def save(keras_save, filepath, overwrite, **kwargs):
    """Saves by Keras' `Model.save` into a file beside, then moves it there.

    Raises:
        ValueError: If it is the older `.h5` format, which has no room for a ledger.
    """
    name = str(filepath)
    if name.endswith((".h5", ".hdf5")):
        raise ValueError(
            "The older HDF5 format would lose the privacy ledger. Expected a file "
            "name that ends in `.keras`, or `save_weights('....weights.h5')`. "
            f"Received: filepath={name}"
        )
    target = pathlib.Path(name)
    keeps = target.exists() and not overwrite  # Keras asks the user
    if keeps or "://" in name:
        return keras_save(filepath, overwrite=overwrite, **kwargs)
    unzipped = kwargs.get("zipped") is False
    if unzipped:
        target = _replaceable(target, _UNZIPPED)
    fresh = target.with_name(f".{os.urandom(6).hex()}.{target.name}")
    try:
        keras_save(str(fresh), **kwargs)
        with moved_aside(target) if unzipped else contextlib.nullcontext():
            fresh.replace(target)
    finally:
        if fresh.is_dir():
            shutil.rmtree(fresh, ignore_errors=True)
        fresh.unlink(missing_ok=True)


def export(export_to, ledger, delta, filepath, accountant="rdp"):
    """Exports into a folder beside, adds the ledger, then moves it to `filepath`.

    Args:
        export_to: Function that exports to the path that it is given.
        delta, accountant: Of the statement.

    Returns:
        Where the ledger is.

    Raises:
        FileExistsError: If other things are at `filepath`, which would be lost.
    """
    named = pathlib.Path(filepath)
    target = _replaceable(named, _SAVED_MODEL)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = pathlib.Path(folder) / "new" / target.name
        fresh.parent.mkdir()
        with file_errors(named):
            export_to(str(fresh))
        if fresh.is_dir():
            extra = fresh / _EXTRA
            extra.mkdir(exist_ok=True)
            _write(extra, ledger, delta, accountant)
            place = named / _EXTRA / LEDGER_NAME
        else:  # a format of one file, or of some: the ledger lies beside them
            place = named.with_name(f"{named.name}.{LEDGER_NAME}")
            ledger.save(fresh.with_name(place.name))
        # The ledger first: if the rest fails, it says too much of the old artifact.
        made = sorted(fresh.parent.iterdir(), key=lambda path: path.name != place.name)
        with moved_aside(target):
            for path in made:
                path.replace(target.with_name(path.name))
    return place


def _write(folder, ledger, delta, accountant):
    """Writes a ledger and its statement; returns their paths."""
    paths = folder / LEDGER_NAME, folder / STATEMENT_NAME
    ledger.save(paths[0])
    paths[1].write_text(ledger.statement(delta, "json", accountant))
    return paths


class LedgerAssets(tf.saved_model.experimental.TrackableResource):
    """A ledger and its statement, which `tf.saved_model.save` writes into `assets/`.

    A resource, because besides variables `keras.export.ExportArchive.track` saves only
    the resources of a model. TensorFlow copies the files when it saves; they are
    deleted with this object.
    """

    def __init__(self, ledger, delta, accountant):
        super().__init__()
        folder = pathlib.Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        paths = _write(folder, ledger, delta, accountant)
        self._files = {path.stem: tf.saved_model.Asset(path) for path in paths}

    def _create_resource(self):
        return tf.constant(0)  # there is nothing to create when it is loaded

    def _initialize(self):
        """Nothing to do, either."""

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        children = super()._trackable_children(save_type, **kwargs)
        return {**children, **self._files}


def _replaceable(target, patterns):
    """Where a target is, behind links, if nothing but an earlier one would be lost."""
    real = pathlib.Path(os.path.realpath(target))
    if real.is_file():
        return real
    if not real.is_dir() or not any(real.iterdir()):
        return check_new(target)
    if (real / patterns[0]).is_file():
        found = [path for path in real.rglob("*") if not path.is_dir()]
    else:
        found, patterns = list(real.iterdir()), ()
    names = sorted(path.relative_to(real).as_posix() for path in found)
    others = [n for n in names if not any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    if others:
        raise FileExistsError(
            "The folder holds other things than an earlier export, which would be "
            "lost. Expected a new folder, or an earlier export. "
            f"Received: filepath={target}, which holds {others[:5]}"
        )
    return real
