"""`tfpriv shuffle`: exit codes and what people read."""

import subprocess
import sys

import numpy as np
import pytest
from viewing import pixels_of

from tfpriv import cli
from tfpriv.shuffling import Key


@pytest.fixture
def run(capsys):
    def run(*words):
        code = cli.main(["shuffle", *map(str, words)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def keyfile(tmp_path, key):
    key.save(tmp_path / "my.key")
    return tmp_path / "my.key"


def test_a_new_key(run, tmp_path):
    code, out, err = run("keygen", tmp_path / "a.key")
    assert (code, err) == (0, "")
    assert "Keep a copy" in out
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    code, out, err = run("keygen", tmp_path / "a.key")
    assert (code, out) == (2, "")
    assert "There is a file already" in err
    assert run("keygen", tmp_path / "b.key", "--check-value")[0] == 0
    assert "check" in (tmp_path / "b.key").read_text()
    keys = [Key.load(tmp_path / name) for name in ("a.key", "b.key")]
    assert keys[0] != keys[1]


def test_a_new_key_needs_no_tensorflow(tmp_path):
    code = "import sys; from tfpriv import cli; cli.main(sys.argv[1:]); "
    code += "assert 'tensorflow' not in sys.modules"
    run = [sys.executable, "-c", code, "shuffle", "keygen", tmp_path / "a.key"]
    subprocess.run(run, check=True, capture_output=True)


@pytest.mark.parametrize("options", [(), ("--fixed",), ("--check-value",)])
def test_there_and_back(run, folder, tmp_path, keyfile, options):
    out, back = tmp_path / "out", tmp_path / "back"
    how = ("--key", keyfile, "--output")
    code, said, _ = run("protect", folder, *how, out, *options)
    assert code == 0
    assert f"Pictures protected: 6 in {out}" in said
    assert "no pictures, and links to folders: 2" in said
    code, said, err = run("unprotect", out, *how, back)
    assert code == 0
    assert f"Pictures in order again: 6 in {back}" in said
    assert ("Without a check value: 6" in err) == ("--check-value" not in options)
    np.testing.assert_array_equal(
        pixels_of(back / "b.png"), pixels_of(folder / "b.jpg")
    )


def test_broken_pictures_make_the_exit_code_1(run, folder, tmp_path, keyfile):
    for i in range(25):
        (folder / f"bad{i}.jpg").write_bytes(b"no picture")
    how = ("--key", keyfile, "--output")
    code, out, err = run("protect", folder, *how, tmp_path / "out")
    assert code == 1
    assert "Pictures protected: 6" in out
    assert err.count("cannot be decoded") == 20
    assert "left out: 5 more" in err
    assert "Traceback" not in err


def test_a_wrong_key(run, folder, tmp_path, keyfile):
    how = ("--key", keyfile, "--output")
    run("protect", folder / "a.png", *how, tmp_path / "x.png", "--check-value")
    Key.generate().save(tmp_path / "other.key")
    wrong = ("--key", tmp_path / "other.key", "--output")
    code, out, err = run("unprotect", tmp_path / "x.png", *wrong, tmp_path / "y.png")
    assert (code, out) == (2, "")
    assert "not the key of the picture" in err
    assert not (tmp_path / "y.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("protect", "plain", "--output", "x"), "--key"),
        (("protect", "plain", "--key", "my.key"), "--output"),
        (("protect", "plain", "--key", "no.key", "--output", "x"), "no.key"),
        (("protect", "none.png", "--key", "my.key", "--output", "x.png"), "none.png"),
        (("protect", "plain/b.jpg", "--key", "my.key", "--output", "x.jpg"), "destroy"),
        (
            ("unprotect", "plain/a.png", "--key", "my.key", "--output", "x.png"),
            "not pr",
        ),
        (("protect", "plain", "--key", "plain", "--output", "x"), "a folder, plain"),
        (("protect", "plain", "--key", "open.key", "--output", "x"), "chmod 600"),
        (("keygen",), "FILE"),
        (("keygen", "no/folder/a.key"), "no/folder"),
        ((), "action"),
    ],
)
def test_mistakes_are_one_line(
    run, folder, tmp_path, keyfile, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    Key.generate().save("open.key")
    (tmp_path / "open.key").chmod(0o644)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_help_answers_without_tensorflow():
    code = "import sys; from tfpriv import cli; "
    code += "assert cli.main(['shuffle', 'protect', '--help']) == 0; "
    code += "assert not {'tensorflow', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
