"""Pictures in, pictures out, and every way in which a file can be bad."""

import numpy as np
import pytest
from PIL import Image

from tfpriv.support import images
from tfpriv.support.outputs import atomic_file


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype="uint8")


def test_png_comes_back_as_it_went(tmp_path, noise):
    images.save(tmp_path / "a.png", noise)
    np.testing.assert_array_equal(images.load(tmp_path / "a.png"), noise)


def test_exif_orientation_is_applied(tmp_path, noise):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    Image.fromarray(noise).save(tmp_path / "a.png", exif=exif)
    turned = images.load(tmp_path / "a.png")
    np.testing.assert_array_equal(turned, np.rot90(noise, k=-1))


def test_crop_takes_the_middle_and_pad_keeps_everything(tmp_path):
    picture = np.zeros((30, 90, 3), "uint8")
    picture[:, 30:60] = 255
    images.save(tmp_path / "a.png", picture)
    assert images.load(tmp_path / "a.png", 30).min() == 255
    padded = images.load(tmp_path / "a.png", 30, fit="pad")
    assert padded[15, 15, 0] == 255
    assert padded[0].max() == 0
    assert padded[15, 2].max() == 0


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path, noise, mode):
    name = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(noise).convert(mode).save(name)
    assert images.load(name).shape == (40, 60, 3)


def test_a_jpeg_cut_in_half_names_the_file(tmp_path, noise):
    images.save(tmp_path / "whole.jpg", noise)
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut short.*half\.jpg"):
        images.load(tmp_path / "half.jpg")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0broken"])
def test_what_is_no_picture_names_the_file(tmp_path, content):
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be decoded.*bad\.jpg"):
        images.load(tmp_path / "bad.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new("1", (3000, 3000)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 1_000_000)
    with pytest.raises(ValueError, match=r"too large.*bomb\.png"):
        images.load(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000_000)  # Pillow only warns here
    with pytest.raises(ValueError, match=r"too large.*bomb\.png"):
        images.load(tmp_path / "bomb.png")


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        images.load(tmp_path / "none.png")


def test_nothing_half_written(tmp_path, noise):
    images.save(tmp_path / "a.png", noise)
    before = (tmp_path / "a.png").read_bytes()

    def broken_write():
        with atomic_file(tmp_path / "a.png") as file:
            file.write(b"half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk"):
        broken_write()
    assert (tmp_path / "a.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_contact_sheet_shows_each_picture(noise):
    sheet = images.contact_sheet([noise] * 5, ["one two three"] * 5, columns=2)
    assert sheet.width < sheet.height
    with pytest.raises(ValueError, match="as many captions"):
        images.contact_sheet([noise], [])


@pytest.mark.parametrize(
    "arguments", [{"fit": "stretch"}, {"size": 0}, {"size": (3, -1)}]
)
def test_wrong_arguments(tmp_path, noise, arguments):
    images.save(tmp_path / "a.png", noise)
    with pytest.raises(ValueError, match="Received"):
        images.load(tmp_path / "a.png", **arguments)
