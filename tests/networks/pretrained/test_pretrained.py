"""Published weights: nothing is fetched that could not be told from another file."""

import dataclasses
import functools
import hashlib
import http.server
import re
import threading

import pytest

from tfpriv import cli
from tfpriv.networks import pretrained
from tfpriv.networks.pretrained import known

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; from `half` on the way, the connection breaks."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path != "/half.pt":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])


@pytest.fixture
def server(tmp_path):
    """The address of a folder's files."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "w.pt").write_bytes(CONTENT)
    (folder / "other.pt").write_bytes(CONTENT[::-1])
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


@pytest.fixture
def entry(server, monkeypatch):
    """Makes `try` known, published at paths of the server."""

    def make(*paths, sha256=DIGEST):
        mirrors = tuple(server + path for path in paths)
        one = known.Known("w.pt", "a test", "none", mirrors, len(CONTENT), sha256)
        monkeypatch.setitem(known.KNOWN, "try", one)
        return one

    return make


def test_the_table():
    for one in known.KNOWN.values():
        assert all((one.licence, one.use, one.mirrors))
        assert one.sha256 is None or re.fullmatch("[0-9a-f]{64}", one.sha256)
        web = all(mirror.startswith("https://") for mirror in one.mirrors)
        assert web != one.folder
    # Torchvision's file says the beginning of its digest in its name.
    vgg = known.KNOWN["vgg16"]
    assert vgg.file == f"vgg16-{vgg.sha256[:8]}.pth"


def test_the_next_mirror_answers(entry, tmp_path):
    entry("none.pt", "w.pt")
    path = pretrained.download("try", tmp_path)
    assert path.read_bytes() == CONTENT
    assert pretrained.download("try", tmp_path) == path


def test_another_file_is_refused_and_not_kept_as_good(entry, tmp_path):
    entry("other.pt")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"corrupt|hash"):
            pretrained.download("try", tmp_path)


def test_an_interrupted_download_is_not_kept(entry, tmp_path):
    entry("half.pt")
    with pytest.raises(OSError, match=r"No mirror gave .w.pt(.|\n)*half"):
        pretrained.download("try", tmp_path)
    assert not (tmp_path / "w.pt").exists()
    entry("half.pt", "w.pt")
    assert pretrained.download("try", tmp_path).read_bytes() == CONTENT


def test_what_a_kill_left_of_a_download_is_fetched_again(entry, tmp_path):
    (tmp_path / "w.pt").write_bytes(CONTENT[:100])
    entry("w.pt")
    assert pretrained.download("try", tmp_path).read_bytes() == CONTENT


def test_no_mirror(entry, tmp_path):
    entry("none.pt", "neither.pt")
    with pytest.raises(OSError, match=r"No mirror gave .w.pt(.|\n)*none(.|\n)*neither"):
        pretrained.download("try", tmp_path)


def test_without_a_digest_nothing_is_fetched(entry, tmp_path):
    entry("w.pt", sha256=None)
    with pytest.raises(ValueError, match="No digest"):
        pretrained.download("try", tmp_path)
    assert (
        pretrained.download("try", tmp_path, sha256=DIGEST.upper()).read_bytes()
        == CONTENT
    )


def test_a_digest_that_contradicts(entry, tmp_path):
    entry("w.pt")
    with pytest.raises(ValueError, match="another digest"):
        pretrained.download("try", tmp_path, sha256="0" * 64)
    for wrong in ("", "12", "g" * 64):
        with pytest.raises(ValueError, match="hexadecimal"):
            pretrained.download("try", tmp_path, sha256=wrong)


def test_names():
    with pytest.raises(ValueError, match=r"one of .*vgg16.*Received: none"):
        pretrained.download("none")
    with pytest.raises(ValueError, match="hf download"):
        pretrained.download("stable-diffusion-inpainting")


def test_identify(tmp_path, monkeypatch):
    path = tmp_path / "w"
    path.write_bytes(CONTENT)
    assert pretrained.identify(path) == (DIGEST, [])
    one = dataclasses.replace(known.KNOWN["vgg16"], sha256=DIGEST)
    monkeypatch.setitem(known.KNOWN, "vgg16", one)
    assert pretrained.identify(path) == (DIGEST, ["vgg16"])
    with pytest.raises(FileNotFoundError, match="no such file"):
        pretrained.identify(tmp_path)


def test_command(tmp_path, capsys):
    path = tmp_path / "w"
    path.write_bytes(CONTENT)
    assert cli.main(["weights"]) == 0
    shown = capsys.readouterr().out
    for one in known.KNOWN.values():
        assert all(text in shown for text in (one.file, one.licence, *one.mirrors))
    assert cli.main(["weights", "check", str(path)]) == 1
    assert f"not known, sha256 {DIGEST}" in capsys.readouterr().out
    assert cli.main(["weights", "fetch", "facenet-casia"]) == 2
    assert "No digest" in capsys.readouterr().err
