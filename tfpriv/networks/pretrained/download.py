"""Files fetched from where they are published, and told from any other."""

import hashlib
import os
from pathlib import Path

from tfpriv.networks.pretrained.known import KNOWN, Known


def download(
    name: str, folder: str | os.PathLike | None = None, *, sha256: str | None = None
) -> Path:
    """Fetches a file, once; its digest is checked each time.

    Args:
        name: of `KNOWN`.
        folder: where to; by default Keras' cache, `~/.keras/models`.
        sha256: 64 digits, for a file without a digest on record; you have them from
            somebody whom you trust.

    Returns:
        The file.

    Raises:
        ValueError: for another name, a folder, a digest that is missing or contradicts
            the one on record, or a file that differs from it.
        OSError: if no mirror answers.
    """
    known = _known(name)
    if known.folder:
        raise ValueError(
            f"`{name}` is a folder of files. Fetch it with `hf download "
            f"{known.mirrors[0]} --local-dir {known.file}` and name the folder."
        )
    digest = _digest(known, name, sha256)
    failures = []
    for mirror in known.mirrors:
        try:
            return _fetch(known.file, mirror, folder, digest)
        except OSError as error:
            failures.append(f"{mirror}: {error}")
        except Exception as error:  # Keras raises a bare Exception for an HTTP status
            if type(error) is not Exception:
                raise
            failures.append(str(error))
    raise OSError(
        f"No mirror gave `{known.file}`. Fetch it by other means and name its path. "
        f"Received: {'; '.join(failures)}"
    )


def identify(path: str | os.PathLike) -> tuple[str, list[str]]:
    """What a file is, by its digest.

    Args:
        path: a file.

    Returns:
        Its SHA-256, and the names in `KNOWN` that have it: none, or one.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no such file. Received: {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest, [name for name, known in KNOWN.items() if known.sha256 == digest]


def _fetch(file, mirror, folder, digest) -> Path:
    import keras

    place = {} if folder is None else {"cache_dir": folder, "cache_subdir": "."}
    path = keras.utils.get_file(
        file, mirror, file_hash=digest, hash_algorithm="sha256", **place
    )
    return Path(path)


def _known(name) -> Known:
    if name not in KNOWN:
        raise ValueError(f"The weights must be one of {list(KNOWN)}. Received: {name}")
    return KNOWN[name]


def _digest(known, name, sha256):
    if sha256 is not None:
        sha256 = sha256.lower()
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise ValueError(
                f"`sha256` must be 64 hexadecimal digits. Received: {sha256}"
            )
        if known.sha256 not in (None, sha256):
            raise ValueError(
                f"`{name}` has another digest on record, {known.sha256}. "
                f"Received: sha256={sha256}"
            )
    elif known.sha256 is None:
        raise ValueError(
            f"No digest of `{name}` is on record, so it is not fetched: nothing would "
            "tell it from another file. Give `sha256`, or fetch it by other means and "
            f"name its path. Published at: {', '.join(known.mirrors)}"
        )
    return sha256 or known.sha256
