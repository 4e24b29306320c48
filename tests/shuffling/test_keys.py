"""Keys: derived as RFC 5869 says, private on the disk, hidden everywhere else."""

import copy
import hashlib
import hmac
import json
import os
import pickle
import re
import subprocess
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpriv.shuffling import Key

BITS = bytes(range(32))
TEXT = "tfpriv shuffling key 1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
CHECK = "check 0970880ab48d0a96\n"


def hkdf(bits: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256 and no salt, for 32 bytes."""
    extracted = hmac.digest(bytes(32), bits, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@given(st.binary(min_size=32, max_size=32), st.text(max_size=40))
def test_derived_keys_are_those_of_rfc_5869(bits, purpose):
    info = b"tfpriv.shuffling/1 " + purpose.encode()
    assert Key(bits).derive(purpose) == hkdf(bits, info)


def test_derived_keys_are_pinned():
    """Pictures that were shuffled once must always open."""
    derived = {
        "picture 32x32 per picture": "4e49bf3c27fadd075d34bad7e178bc27"
        "0a2bc8f28cb528eefd25362a28cb4938",
        "picture 32x32 fixed": "be365786512912a178b8c84521549647"
        "0978e573b2bc0cb26b1fee75c11c3683",
    }
    for purpose, bits in derived.items():
        assert Key(BITS).derive(purpose).hex() == bits
    assert Key(BITS).check_value().hex() == CHECK.split()[1]


def test_purposes_and_keys_differ():
    one, other = Key.generate(), Key.generate()
    derived = [key.derive(p) for key in (one, other) for p in ("a", "b", "a ", "")]
    assert len(set(derived)) == 8


def test_file_format_is_pinned(tmp_path):
    Key(BITS).save(tmp_path / "a.key")
    Key(BITS).save(tmp_path / "b.key", check_value=True)
    assert (tmp_path / "a.key").read_text() == TEXT
    assert (tmp_path / "b.key").read_text() == TEXT + CHECK
    for name in ("a.key", "b.key"):
        assert Key.load(tmp_path / name) == Key(BITS)
    assert sorted(os.listdir(tmp_path)) == ["a.key", "b.key"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_a_key_file_is_for_its_owner_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        Key.generate().save(tmp_path / "a.key")
    finally:
        os.umask(before)
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "a.key"
    Key.generate().save(path)
    path.chmod(mode)
    with pytest.raises(PermissionError, match=f"chmod 600.*mode {mode:04o}"):
        Key.load(path)
    path.chmod(0o400)
    Key.load(path)


def test_a_file_that_is_no_key_need_not_be_closed(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8 a picture")
    path.chmod(0o644)
    with pytest.raises(ValueError, match="not a key file"):
        Key.load(path)


def test_a_file_of_another_user_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.key"
    Key.generate().save(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="belongs to another user"):
        Key.load(path)


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "a.key"
    key = Key.generate()
    key.save(path)
    with pytest.raises(FileExistsError, match="name another file"):
        Key.generate().save(path)
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        Key.generate().save(tmp_path / "link.key")
    assert Key.load(path) == key
    assert sorted(os.listdir(tmp_path)) == ["a.key", "link.key"]


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return path


HEADER, BASE64 = TEXT.splitlines()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a key file"),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "not a key file"),
        (b"\x89PNG\r\n\xff\xfe", "not a key file"),
        (TEXT + "x" * 2000, "not a key file"),
        (f"tfpriv shuffling key 2\n{BASE64}\n", "version 1"),
        (f"{HEADER}\n", "damaged"),
        (f"{HEADER}\n{BASE64[:-2]}\n", "damaged"),
        (f"{HEADER}\n{BASE64[4:]}\n", "wrong length"),
        (f"{HEADER}\n{BASE64} \n", "damaged"),
        (f"{HEADER}\n{BASE64.replace('E', '*')}\n", "damaged"),
        (TEXT + "check zz\n", "damaged"),
        (TEXT + CHECK + CHECK, "damaged"),
        (TEXT + CHECK.replace("0970", "0971"), "check value is that of another key"),
        (TEXT.replace("DA0O", "DA0P") + CHECK, "check value is that of another key"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    path = write(tmp_path / "a.key", content)
    with pytest.raises(ValueError, match=message) as failure:
        Key.load(path)
    shown = "".join(traceback.format_exception(failure.value))
    assert str(path) in shown
    for secret in (BASE64, BASE64[:12], BITS.hex(), repr(BITS)):
        assert secret not in shown


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Key.load(tmp_path / "a.key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="no regular file"):
        Key.load(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        Key.load(tmp_path)


def test_nothing_shows_the_bits():
    key = Key(BITS)
    shown = [repr(key), str(key), f"{key}", "%r" % [key]]
    assert shown == ["Key(hidden)"] * 3 + ["[Key(hidden)]"]
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            way(key)
    for way in (json.dumps, vars, hash, bytes):
        with pytest.raises(TypeError):
            way(key)


def test_equality():
    assert Key(BITS) == Key(BITS)
    assert Key(BITS) != Key(BITS[:-1] + b"x")
    assert Key(BITS) != BITS
    assert Key.generate() != Key.generate()


def test_check_values():
    key = Key.generate()
    assert key.matches(key.check_value())
    assert len(key.check_value()) == 8
    assert not key.matches(Key.generate().check_value())
    assert not key.matches(key.check_value()[:4])
    assert not key.matches(b"")


@pytest.mark.parametrize("bits", [b"", bytes(31), bytes(33), "a" * 32, 5, None])
def test_wrong_bits(bits):
    with pytest.raises(ValueError, match="32 bytes") as failure:
        Key(bits)
    assert "aaaa" not in str(failure.value)


def test_keys_need_no_tensorflow():
    code = "from tfpriv.shuffling import Key; Key.generate(); import sys; "
    code += "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


KILLED = """
import os, signal, sys
from tfpriv.shuffling import Key
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Key.generate().save(sys.argv[1])
"""


def test_a_kill_leaves_no_half_key(tmp_path):
    path = tmp_path / "a.key"
    run = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert run.returncode == -9
    assert not path.exists()
    for left in tmp_path.iterdir():
        assert re.fullmatch(r"\.[0-9a-f]{8}\.a\.key", left.name)
        assert left.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_no_half_key(tmp_path, full_disk):
    with full_disk(10), pytest.raises(OSError, match="large"):
        Key.generate().save(tmp_path / "a.key")
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_gets_no_key(read_only):
    with read_only as folder:
        with pytest.raises(PermissionError):
            Key.generate().save(folder / "a.key")
        assert not list(folder.iterdir())
