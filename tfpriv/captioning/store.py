"""Trained captioners on disk: weights, ledger, manifest and page, or nothing."""

import importlib.metadata
import sys
from pathlib import Path

from tfpriv import dp
from tfpriv.accounting.ledger import Ledger
from tfpriv.captioning import report
from tfpriv.captioning.model import Captioner
from tfpriv.captioning.report import Public
from tfpriv.captioning.train import UNIT, Trained
from tfpriv.support.models import load_model
from tfpriv.support.outputs import new_directory, write_json
from tfpriv.support.report import PAGE
from tfpriv.support.weights import digest_of

MODEL, LEDGER, MANIFEST = "model.keras", "ledger.json", "manifest.json"
CURVES_LABEL = "curves (exact functions of the training data: not covered by epsilon)"
COMPARISON_LABEL = (
    "comparison (rows of infinite epsilon are exact functions of the training data)"
)
PACKAGES = ("tensorflow", "keras", "keras-hub", "dp-accounting", "numpy")


def save_run(
    output: str | Path, trained: Trained, manifest: dict, public: Public | None = None
) -> Path:
    """Writes model, ledger, manifest and `report.html` into a new folder.

    Args:
        output: Folder to make; it must not exist or be empty.
        trained: What `train` returned.
        manifest: What to remember; seeds of data and initialisation only.
        public: How it does on data that were declared public, for the report.
    """
    with new_directory(output) as folder:
        released(trained.model).save(folder / MODEL)
        trained.ledger.save(folder / LEDGER)
        write_json(folder / MANIFEST, manifest)
        report.run(folder / PAGE, trained, manifest, public)
    return Path(output)


def released(model: Captioner) -> Captioner:
    """A copy with weights and ledger only: the optimizer's state is not needed."""
    copy = copy_of(model)
    if hasattr(model, "privacy"):
        dp.make_private(copy, unit=UNIT)
        copy.privacy.load(model.privacy.ledger)
        copy.privacy.budget = model.privacy.budget  # the delta of statements
    return copy


def copy_of(model: Captioner) -> Captioner:
    """A plain captioner with the same weights."""
    copy = Captioner(**model.arguments)
    copy.set_weights(model.get_weights())
    return copy


def software() -> dict[str, str]:
    """Versions that a result depends on."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return versions | {"python": sys.version.split()[0]}


def load_captioner(path: str | Path) -> Captioner:
    """Loads a captioner, private or plain.

    Args:
        path: A `.keras` file, or the folder that `save_run` made.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a captioner, or damaged.
    """
    return load_model(
        model_file(path), "a captioner of tfpriv", Captioner, compile=True
    )


def model_file(path: str | Path) -> Path:
    """The `.keras` file meant by a file or a folder."""
    file = Path(path) / MODEL if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"There is no model here. Received: {file}")
    return file


def ledger_of(path: str | Path, model: Captioner) -> Ledger | None:
    """The ledger inside a private model, or that beside a plain one, or `None`.

    Raises:
        LedgerError: The ledger is damaged or matches other weights.
    """
    if hasattr(model, "privacy"):
        model.privacy.check_weights()
        return model.privacy.ledger
    file = model_file(path).with_name(LEDGER)
    if model_file(path).name != MODEL or not file.is_file():
        return None
    ledger = Ledger.load(file)
    ledger.check_weights(digest_of(model.weights))
    return ledger


def load_pretrained(
    path: str | Path, *, public: bool, private_training: bool
) -> tuple[Captioner, Ledger | None]:
    """Weights to start from, and what they have cost already.

    Args:
        path: As in `load_captioner`.
        public: They were learned from public data only, so they cost nothing.
        private_training: Whether an epsilon will be claimed for what follows.

    Returns:
        A plain `Captioner` and a ledger to continue, `None` for public weights.

    Raises:
        ValueError: An epsilon is to be claimed, the weights were not declared public,
            and nothing says that they are private.
    """
    loaded = load_captioner(path)
    model = copy_of(loaded)
    if public:
        return model, None
    ledger = ledger_of(path, loaded)
    unprotected = ledger is None or ledger.epsilon(1e-5) == float("inf")
    if private_training and unprotected:
        raise ValueError(
            "These weights were trained without privacy, or have no ledger: an epsilon "
            "for what follows would say nothing about them. If they were learned from "
            "public data only, say so (--pretrained-is-public). "
            f"Received: {path}"
        )
    return model, ledger
