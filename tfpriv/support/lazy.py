"""Packages whose names are imported when they are used, so that light ones stay so."""

import importlib
from collections.abc import Callable


def attributes(package: str, modules: dict[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package.

    Args:
        package: Its name, `__name__`.
        modules: The module that each of its public names comes from: of the package, or
            of tfpriv by its full name.

    Returns:
        A function from a name to what it stands for, which raises `AttributeError` for
        a name that is none.
    """

    def find(name: str):
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = modules[name]
        if not module.startswith("tfpriv."):
            module = f"{package}.{module}"
        return getattr(importlib.import_module(module), name)

    return find
