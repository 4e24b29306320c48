"""Photographs as files: every kind is handled, or refused by name; nothing is told."""

import io
import struct

import numpy as np
import pytest
from photo_scenes import decoded, encoded, scene
from PIL import ExifTags, Image, ImageCms

from tfpriv.inpainting.photos import files

SECRET = b"THE ORIGINAL'S THUMBNAIL"
MAKE, GPS = ExifTags.Base.Make, ExifTags.IFD.GPSInfo


def exif_with_thumbnail() -> bytes:
    """EXIF as a camera writes it: a first folder, and a second one with a thumbnail."""
    thumbnail = b"\xff\xd8" + SECRET + b"\xff\xd9"
    make = b"Camera\0"
    first = struct.pack("<H", 1) + struct.pack("<HHII", MAKE, 2, len(make), 38)
    second_at = 38 + len(make) + 1
    first += struct.pack("<I", second_at)
    data_at = second_at + 2 + 2 * 12 + 4
    second = struct.pack("<H", 2)
    second += struct.pack("<HHII", ExifTags.Base.JpegIFOffset, 4, 1, data_at)
    second += struct.pack("<HHII", ExifTags.Base.JpegIFByteCount, 4, 1, len(thumbnail))
    second += struct.pack("<I", 0)
    head = (b"II*\0" + struct.pack("<I", 8) + first).ljust(38, b"\0")
    return b"Exif\0\0" + (head + make).ljust(second_at, b"\0") + second + thumbnail


def rich_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[MAKE] = "Camera"
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.XMLPacket] = SECRET
    exif.get_ifd(GPS)[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif.get_ifd(GPS)[ExifTags.GPS.GPSLatitude] = (51.0, 28.0, 38.0)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.MakerNote] = SECRET
    details[ExifTags.Base.UserComment] = 300 * SECRET
    details[ExifTags.Base.ExposureTime] = 0.5
    return exif


def test_a_photograph_stands_upright():
    picture = scene((5, 3))
    content = encoded(picture, exif=rich_exif().tobytes())
    found = files.read(content, "a.png")
    np.testing.assert_array_equal(found.pixels, np.rot90(picture, -1))


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_metadata_are_dropped(name):
    content = encoded(scene(), "JPEG", exif=rich_exif().tobytes(), comment=SECRET)
    assert SECRET in content
    photograph = files.read(content, name)
    written = files.encode(photograph.pixels, name, photograph, keep_metadata=False)
    assert SECRET not in written
    assert b"Camera" not in written
    opened = Image.open(io.BytesIO(written))
    assert not opened.getexif()
    assert set(opened.info) <= {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
    }


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_metadata_are_kept_but_for_what_shows_the_original(name):
    content = encoded(scene(), "JPEG", exif=rich_exif().tobytes(), comment=SECRET)
    photograph = files.read(content, name)
    written = files.encode(photograph.pixels, name, photograph, keep_metadata=True)
    assert SECRET not in written
    exif = Image.open(io.BytesIO(written)).getexif()
    assert exif[MAKE] == "Camera"
    assert ExifTags.Base.Orientation not in exif  # it stands upright already
    assert exif.get_ifd(GPS)[ExifTags.GPS.GPSLatitude] == (51.0, 28.0, 38.0)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details == {ExifTags.Base.ExposureTime: 0.5}


@pytest.mark.parametrize("keep", [True, False])
def test_thumbnails_are_always_dropped(keep):
    content = encoded(scene(), "JPEG", exif=exif_with_thumbnail())
    assert SECRET in content
    assert Image.open(io.BytesIO(content)).getexif().get_ifd(ExifTags.IFD.IFD1)
    photograph = files.read(content, "a.jpg")
    written = files.encode(photograph.pixels, "a.jpg", photograph, keep_metadata=keep)
    assert SECRET not in written
    assert (b"Camera" in written) == keep


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "CMYK"])
def test_other_modes(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    content = encoded(scene((5, 3)), kind, mode)
    photograph = files.read(content, "a.png")
    np.testing.assert_allclose(photograph.pixels, decoded(content), atol=1)
    assert photograph.grey == (mode in ("L", "1", "LA"))
    painted = np.zeros((64, 80, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    written = decoded(files.encode(painted, "a.png", photograph, keep_metadata=False))
    assert (np.ptp(written, -1) == 0).all() == photograph.grey


def test_what_is_transparent_becomes_white_whatever_lies_hidden_there():
    layers = np.dstack([scene((5, 3)), np.full((64, 80), 255, np.uint8)])
    layers[:30, :30, 3] = 0
    with io.BytesIO() as file:
        Image.fromarray(layers).save(file, "PNG")
        photograph = files.read(file.getvalue(), "a.png")
    assert (photograph.pixels[:30, :30] == 255).all()
    np.testing.assert_array_equal(photograph.pixels[30:], layers[30:, :, :3])


def other_profile() -> bytes:
    """Pillow's sRGB under another name, with red and green exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in [
        ("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be")),
        (b"rXYZ", b"swap"),
        (b"gXYZ", b"rXYZ"),
        (b"swap", b"gXYZ"),
    ]:
        profile = profile.replace(old, new)
    return profile


def test_colour_profiles_are_used_and_dropped():
    picture = scene((5, 3))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, same in [
        (other_profile(), False),
        (srgb, True),
        (b"no profile", True),
        (None, True),
    ]:
        content = encoded(picture, icc_profile=profile)
        photograph = files.read(content, "a.png")
        shown = picture if same else picture[..., [1, 0, 2]]
        np.testing.assert_allclose(photograph.pixels, shown, atol=0 if same else 2)
        written = files.encode(
            photograph.pixels, "a.png", photograph, keep_metadata=True
        )
        assert "icc_profile" not in Image.open(io.BytesIO(written)).info


def several_frames() -> bytes:
    with io.BytesIO() as file:
        one, two = Image.fromarray(scene()), Image.fromarray(scene(seed=1))
        one.save(file, "GIF", save_all=True, append_images=[two])
        return file.getvalue()


def unbounded() -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(np.zeros((9, 9), np.float32)).save(file, "TIFF")
        return file.getvalue()


def enormous() -> bytes:
    with io.BytesIO() as file:
        Image.new("1", (9000, 9000)).save(file, "PNG")
        return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be decoded"),
        (b"no picture", "cannot be decoded"),
        (encoded(scene(), "JPEG")[:900], "cannot be decoded"),
        (encoded(scene())[:-400], "cannot be decoded"),
        (several_frames(), "several images"),
        (unbounded(), "8 bits a channel"),
        (enormous(), "too large"),
    ],
)
def test_refused_by_name(content, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: some.jpg"):
        files.read(content, "some.jpg")


def test_names_of_results():
    assert files.target("a/b.jpg") == "a/b.jpg"
    assert files.target("b.JPEG") == "b.JPEG"
    assert files.target("a.b/c.d.webp") == "a.b/c.d.png"
