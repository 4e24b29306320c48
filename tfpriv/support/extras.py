"""Packages that only some commands need: an extra of tfpriv installs them."""

import contextlib
from collections.abc import Iterator


class MissingExtraError(ImportError):
    """A package is missing that an extra of tfpriv installs."""


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports inside it that fail say which line installs the package.

    Args:
        extra: Name of the extra in setup.cfg, for instance `"faces"`.

    Raises:
        MissingExtraError: If a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise MissingExtraError(
            f"The package `{package}` is not installed. Expected the extra `{extra}`: "
            f"pip install 'tfpriv[{extra}]'. Received: {error}"
        ) from error
