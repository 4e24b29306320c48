"""Old module paths of tfpriv, which work until 1.0 with a `DeprecationWarning`."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType

# A package brings its modules: `tfpriv.layers.keyed` is found by `tfpriv.layers`.
MOVED = {
    "tfpriv.accounting.checks": "tfpriv.support.checks",
    "tfpriv.audit.ciphertext_only": "tfpriv.shuffling.attacks.ciphertext_only",
    "tfpriv.audit.fidelity": "tfpriv.support.fidelity",
    "tfpriv.audit.histograms": "tfpriv.shuffling.attacks.histograms",
    "tfpriv.audit.inverter": "tfpriv.shuffling.attacks.inverter",
    "tfpriv.audit.known_plaintext": "tfpriv.shuffling.attacks.known_plaintext",
    "tfpriv.audit.orders": "tfpriv.shuffling.attacks.orders",
    "tfpriv.audit.wrong_keys": "tfpriv.shuffling.attacks.wrong_keys",
    "tfpriv.checkpoints": "tfpriv.support.checkpoints",
    "tfpriv.editing.stylegan": "tfpriv.networks.stylegan",
    "tfpriv.editing.stylegan.exporting": "tfpriv.networks.stylegan.export",
    "tfpriv.editing.stylegan.fitting": "tfpriv.editing.fitting",
    "tfpriv.editing.study_report": "tfpriv.editing.report",
    "tfpriv.images": "tfpriv.support.images",
    "tfpriv.inpainting.anonymiser": "tfpriv.inpainting.photos.anonymiser",
    "tfpriv.inpainting.beam": "tfpriv.inpainting.photos.beam",
    "tfpriv.inpainting.diffusion": "tfpriv.networks.diffusion",
    "tfpriv.inpainting.evaluation": "tfpriv.inpainting.experiment.evaluation",
    "tfpriv.inpainting.evaluation_report": "tfpriv.inpainting.experiment.report",
    "tfpriv.inpainting.facenet": "tfpriv.networks.facenet.network",
    "tfpriv.inpainting.facenet_files": "tfpriv.networks.facenet.loading",
    "tfpriv.inpainting.generation": "tfpriv.inpainting.experiment.generation",
    "tfpriv.inpainting.inpainters": "tfpriv.inpainting.photos.inpainters",
    "tfpriv.inpainting.keras_hub_task": "tfpriv.networks.diffusion.keras_hub_task",
    "tfpriv.inpainting.mask_kinds": "tfpriv.inpainting.masks.kinds",
    "tfpriv.inpainting.outputs": "tfpriv.inpainting.experiment.outputs",
    "tfpriv.inpainting.people": "tfpriv.inpainting.experiment.people",
    "tfpriv.inpainting.photo_jobs": "tfpriv.inpainting.photos.jobs",
    "tfpriv.inpainting.private_masks": "tfpriv.inpainting.masks.private",
    "tfpriv.inpainting.saliency": "tfpriv.inpainting.masks.saliency",
    "tfpriv.layers": "tfpriv.shuffling.layers",
    "tfpriv.models": "tfpriv.support.models",
    "tfpriv.perception": "tfpriv.networks.perception",
    "tfpriv.pretrained": "tfpriv.networks.pretrained",
    "tfpriv.randomness": "tfpriv.support.randomness",
    "tfpriv.report": "tfpriv.support.report",
    "tfpriv.weights": "tfpriv.support.weights",
}


def new_path(path: str) -> str | None:
    """The path that replaces an old one.

    Args:
        path: Dotted path of a module, for instance `"tfpriv.layers.keyed"`.

    Returns:
        The new path, or `None` if the module has not moved.
    """
    if path in MOVED:
        return MOVED[path]
    parent, _, name = path.rpartition(".")
    renamed = new_path(parent) if parent else None
    return f"{renamed}.{name}" if renamed else None


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the module at its new path when the old path is imported.

    Both names give the same module object, so that classes stay identical.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Finds old paths of tfpriv, and nothing else."""
        renamed = new_path(fullname) if fullname.startswith("tfpriv.") else None
        if renamed is None:
            return None
        warnings.warn(
            f"`{fullname}` moved to `{renamed}`. The old path works until tfpriv 1.0.",
            DeprecationWarning,
            stacklevel=2,
        )
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Returns an empty module, which `exec_module` replaces."""
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Puts the module of the new path in the place of the old one."""
        old = module.__name__
        renamed = new_path(old)
        assert renamed is not None
        sys.modules[old] = importlib.import_module(renamed)


def renamed(old: str, new: str) -> property:
    """A read-only attribute that gives another one, until 1.0, with a warning.

    Args:
        old: Name of the attribute.
        new: Name of the attribute, or method, that replaces it.
    """

    def get(self: object) -> object:
        _warn(f"{type(self).__name__}.{old}", new)
        return getattr(self, new)

    return property(get)


def renamed_in(module: str, names: dict[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a module some of whose names have changed.

    Args:
        module: Its name, `__name__`.
        names: New names, by the old ones.
    """

    def find(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module.rpartition('.')[2]}.{name}", names[name])
        return getattr(sys.modules[module], names[name])

    return find


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"`{old}` is called `{new}` now. The old name works until tfpriv 1.0.",
        DeprecationWarning,
        stacklevel=3,
    )


def install() -> None:
    """Makes old paths importable."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        # First: a moved package has the `__path__` of the new one.
        sys.meta_path.insert(0, MovedModules())
