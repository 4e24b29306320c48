"""Files that carry their ledger, written whole or not at all."""

import os
import pathlib
import shutil
import tempfile

LEDGER_NAME = "privacy_ledger.json"
STATEMENT_NAME = "privacy_statement.json"


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
        filepath: Where the artifact must be.
        accountant: Of the statement, too.

    Returns:
        Where the ledger is.
    """
    target = pathlib.Path(filepath)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = pathlib.Path(folder) / target.name
        export_to(str(fresh))
        if fresh.is_dir():
            extra = fresh / "assets.extra"  # where SavedModel keeps users' own files
            extra.mkdir(exist_ok=True)
            ledger.save(extra / LEDGER_NAME)
            statement = ledger.statement(delta, "json", accountant)
            (extra / STATEMENT_NAME).write_text(statement)
            place = target / extra.name / LEDGER_NAME
            if target.is_dir():
                shutil.rmtree(target)
        else:  # a format of one file: the ledger lies beside it
            place = target.with_name(f"{target.name}.{LEDGER_NAME}")
            ledger.save(place)
        fresh.replace(target)
    return place
