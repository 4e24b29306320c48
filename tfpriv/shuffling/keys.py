"""Secret keys: made by the operating system, kept in private files, never shown."""

import base64
import binascii
import contextlib
import hmac
import os
import stat
from pathlib import Path
from typing import Any, NoReturn, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tfpriv.shuffling.used_nonces import UsedNonces
from tfpriv.support.tracing import refuse_in_graph

KEY_BYTES = 32
CHECK_BYTES = 8
_INFO = b"tfpriv.shuffling/1 "
_CHECK_PURPOSE = "check value"
_HEADER = "tfpriv shuffling key 1"
_ANY_VERSION = _HEADER.rpartition(" ")[0].encode()
_MAX_FILE_BYTES = 1024


class Key:
    """A secret of 256 bits, from which every permutation is derived.

    A key does not show its bits: not when printed, not to pickle or copy. `key.save`
    is the only way to a file. It remembers the nonces that `shuffle` used with it, in
    memory only.

    Args:
        bits: The 32 bytes of a key that is kept elsewhere; `Key.generate()` makes a
            new one.

    Raises:
        ValueError: Not 32 bytes.

    >>> key = Key.generate()
    >>> key
    Key(hidden)
    """

    __slots__ = ("_bits", "used_nonces")

    def __init__(self, bits: bytes) -> None:
        if not isinstance(bits, bytes) or len(bits) != KEY_BYTES:
            size = f" of length {len(bits)}" if isinstance(bits, bytes) else ""
            raise ValueError(
                f"A key is {KEY_BYTES} bytes; `Key.generate()` makes a new one. "
                f"Received: {type(bits).__name__}{size}"
            )
        self._bits = bits
        self.used_nonces = UsedNonces()

    @classmethod
    def generate(cls) -> Self:
        """Makes a new key from the operating system's generator.

        Raises:
            RuntimeError: TensorFlow traces a function: the key would be a constant.
        """
        refuse_in_graph("Key.generate()")
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads a key file.

        Args:
            path: What `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            PermissionError: It belongs to another user, or others may read it.
            ValueError: Not a key file, damaged, or of a later version. The message
                holds nothing of what the file holds.
        """
        bits, check = _parse(_read_private(Path(path)), path)
        key = cls(bits)
        if check is not None and not key.matches(check):
            raise _damaged(path, "its check value is that of another key")
        return key

    def save(self, path: str | os.PathLike, *, check_value: bool = False) -> None:
        """Writes the key to a new file that only its owner may read (mode 0600).

        The file appears complete or not at all, and never in place of another: a key
        that is overwritten takes all its pictures with it.

        Args:
            path: Where to; nothing may be there yet.
            check_value: Also write the key's check value, by which `load` notices a
                damaged file.

        Raises:
            FileExistsError: There is something at `path`.
        """
        from tfpriv.support.outputs import atomic_file  # imports NumPy

        lines = [_HEADER, base64.b64encode(self._bits).decode()]
        if check_value:
            lines.append(f"check {self.check_value().hex()}")
        content = "".join(f"{line}\n" for line in lines).encode()
        try:
            with atomic_file(path, private=True, durable=True, new=True) as file:
                file.write(content)
        except FileExistsError:
            raise FileExistsError(
                "There is a file already, and a key that is overwritten is lost with "
                f"all its pictures; name another file. Received: {path}"
            ) from None

    def derive(self, purpose: str) -> bytes:
        """Derives a key of 32 bytes for one purpose; it tells nothing about any other.

        Args:
            purpose: What the derived key is for.

        Reference: RFC 5869, HKDF-SHA256 without salt.
        """
        info = _INFO + purpose.encode()
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(self._bits)

    def check_value(self) -> bytes:
        """Eight bytes by which this key is recognised; they tell nothing else about it.

        Whoever sees two check values knows whether they are of one key. A wrong key
        has the same check value with probability 2^-64.
        """
        return self.derive(_CHECK_PURPOSE)[:CHECK_BYTES]

    def matches(self, check_value: bytes) -> bool:
        """Whether a check value is this key's.

        Args:
            check_value: What `check_value` returned, maybe of another key.
        """
        return hmac.compare_digest(self.check_value(), check_value)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return hmac.compare_digest(self._bits, other._bits)

    def __repr__(self) -> str:
        return "Key(hidden)"

    def __reduce_ex__(self, protocol) -> NoReturn:
        raise TypeError(
            "A Key is secret: it is not pickled, copied or written into a config. Use "
            "`key.save(path)` and `Key.load(path)`."
        )


def is_key_file(path: str | os.PathLike) -> bool:
    """Whether a key is kept in this file, of whatever version."""
    with contextlib.suppress(OSError):
        if os.path.isfile(path):  # a pipe would block
            with open(path, "rb") as file:
                return file.read(len(_ANY_VERSION)) == _ANY_VERSION
    return False


def _read_private(path: Path) -> bytes:
    """The bytes of a file that is the user's own and nobody else's to read."""
    if path.is_dir():
        raise IsADirectoryError(f"Expected a key file. Received: a folder, {path}")
    # A pipe without a writer would otherwise block here.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no key file {path}; `tfpriv shuffle keygen {path}` makes one."
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _damaged(path, "it is no regular file")
        if status.st_uid != os.geteuid():
            raise PermissionError(
                "The key file belongs to another user; a key is its owner's alone. "
                f"Received: {path} (user {status.st_uid})"
            )
        content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES or not content.startswith(_ANY_VERSION):
            raise ValueError(
                "This is not a key file; `tfpriv shuffle keygen` makes one. Received: "
                f"{path}"
            )
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise PermissionError(
                "The key file is open to other users: if nobody can have read it, "
                "close it with `chmod 600`, else make a new key. Received: "
                f"{path} (mode {mode:04o})"
            )
        return content


def _parse(content: bytes, path) -> tuple[bytes, bytes | None]:
    """The key's bits and the check value, if there is one."""
    lines = content.decode("ascii", errors="replace").splitlines()
    if lines[0] != _HEADER:
        raise ValueError(
            f"This version of tfpriv reads key files of version {_HEADER.split()[-1]}. "
            f"Received: {path}"
        )
    # `from None`: what could not be decoded is secret, and an exception would keep it.
    try:
        bits = base64.b64decode(lines[1], validate=True)
        checks = [line.removeprefix("check ") for line in lines[2:]]
        check = bytes.fromhex(checks[0]) if checks else None
    except (IndexError, ValueError, binascii.Error):
        raise _damaged(path, "it cannot be decoded") from None
    if len(bits) != KEY_BYTES or len(checks) > 1:
        raise _damaged(path, "it has the wrong length")
    return bits, check


def _damaged(path, reason: str) -> ValueError:
    return ValueError(f"The key file is damaged: {reason}. Received: {path}")
