"""SavedModels that carry their ledger."""

import pathlib
import shutil
import tempfile

LEDGER_NAME = "privacy_ledger.json"
STATEMENT_NAME = "privacy_statement.json"


def export(keras_export, ledger, delta, filepath, *args, **kwargs):
    """Exports by Keras into a folder beside, adds the ledger, then moves it there.

    Args:
        keras_export: `Model.export` of the plain class.
        ledger: `Ledger` that speaks for the weights.
        delta: Float for the statement.
        filepath: Where the artifact must be.
    """
    target = pathlib.Path(filepath)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = pathlib.Path(folder) / target.name
        keras_export(str(fresh), *args, **kwargs)
        if not fresh.is_dir():  # a format of one file: the ledger lies beside it
            ledger.save(target.with_name(target.name + "." + LEDGER_NAME))
            fresh.replace(target)
            return
        extra = fresh / "assets.extra"  # where SavedModel keeps users' own files
        extra.mkdir(exist_ok=True)
        ledger.save(extra / LEDGER_NAME)
        statement = ledger.statement(delta=delta, format="json")
        (extra / STATEMENT_NAME).write_text(statement)
        if target.is_dir():
            shutil.rmtree(target)
        fresh.replace(target)
