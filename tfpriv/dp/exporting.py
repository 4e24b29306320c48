"""Files that carry their ledger, written whole or not at all."""

import os
import pathlib
import tempfile

LEDGER_NAME = "privacy_ledger.json"
STATEMENT_NAME = "privacy_statement.json"
_EXTRA = "assets.extra"  # where SavedModel keeps users' own files
_SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", _EXTRA}


def save(keras_save, filepath, overwrite, **kwargs):
    """Saves by Keras into a file beside, then moves it there.

    Args:
        keras_save: `Model.save` of the plain class.
        filepath: Where the `.keras` file must be.
        overwrite, **kwargs: As in Keras.

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
    if keeps or "://" in name or kwargs.get("zipped") is False:
        return keras_save(filepath, overwrite=overwrite, **kwargs)
    fresh = target.with_name(f".{os.urandom(6).hex()}.{target.name}")
    try:
        keras_save(str(fresh), **kwargs)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def export(export_to, ledger, delta, filepath, accountant="rdp"):
    """Exports into a folder beside, adds the ledger, then moves it there.

    Args:
        export_to: Function that exports to the path that it is given.
        ledger: `Ledger` that speaks for the weights.
        delta: Float for the statement.
        filepath: Where the artifact must be; an earlier one is replaced.
        accountant: Of the statement, too.

    Returns:
        Where the ledger is.

    Raises:
        FileExistsError: If other things are at `filepath`, which would be lost.
    """
    target = pathlib.Path(filepath)
    _check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = pathlib.Path(folder) / "new" / target.name
        fresh.parent.mkdir()
        export_to(str(fresh))
        if fresh.is_dir():
            extra = fresh / _EXTRA
            extra.mkdir(exist_ok=True)
            ledger.save(extra / LEDGER_NAME)
            statement = ledger.statement(delta, "json", accountant)
            (extra / STATEMENT_NAME).write_text(statement)
            place = target / _EXTRA / LEDGER_NAME
        else:  # a format of one file, or of some: the ledger lies beside them
            place = target.with_name(f"{target.name}.{LEDGER_NAME}")
            ledger.save(fresh.with_name(place.name))
        if target.is_dir():
            target.rename(fresh.parent.with_name("old"))
        # The ledger first: if the rest fails, it says too much of the old artifact.
        made = sorted(fresh.parent.iterdir(), key=lambda path: path.name != place.name)
        for path in made:
            path.replace(target.with_name(path.name))
    return place


def _check_replaceable(target):
    if target.is_dir():
        others = sorted({entry.name for entry in target.iterdir()} - _SAVED_MODEL)
        if others:
            raise FileExistsError(
                "The folder holds other things than a SavedModel, which would be lost. "
                "Expected a new folder, or an earlier export. "
                f"Received: filepath={target}, which holds {others[:5]}"
            )
