"""Every kind of picture is kept to the last bit, or refused with the reason."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tfpriv.shuffling import Key, codec, png

SIZE = (7, 5)


def saved(picture, kind, **options) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    file.seek(0)
    return file


def there_and_back(file, key, *, fixed=False, check_value=False) -> np.ndarray:
    """What Pillow reads of a picture that was protected and opened again."""
    plain = codec.read_plain(file, "plain")
    (protected,) = codec.protect([plain], key, fixed=fixed, check_value=check_value)
    shuffled = codec.read_protected(io.BytesIO(protected), key, "protected")
    (opened,) = codec.unprotect([shuffled], key)
    with Image.open(io.BytesIO(opened)) as picture:
        assert not picture.info
        return np.asarray(picture)


@pytest.fixture
def colours(rng):
    return Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype="uint8"))


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
def test_modes_are_kept(colours, key, mode, fixed):
    picture = colours.convert(mode)
    if "A" in mode:
        picture.putalpha(colours.convert("L"))
    wanted = picture.convert({"1": "L", "P": "RGB"}.get(mode, mode))
    back = there_and_back(saved(picture, "PNG"), key, fixed=fixed)
    np.testing.assert_array_equal(back, wanted)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_kept(rng, key, kind):
    pixels = rng.integers(0, 2**16, SIZE, dtype="uint16")
    back = there_and_back(saved(Image.fromarray(pixels), kind), key)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_becomes_alpha(colours, key, mode):
    picture = colours.convert(mode)
    colour = {"P": 3, "L": 3, "RGB": (1, 2, 3)}[mode]
    file = saved(picture, "PNG", transparency=colour)
    with Image.open(file) as reopened:
        wanted = np.asarray(reopened.convert("RGBA"))
    file.seek(0)
    np.testing.assert_array_equal(there_and_back(file, key), wanted)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats(colours, key, kind):
    file = saved(colours, kind)
    with Image.open(file) as picture:
        wanted = np.asarray(picture.convert("RGB"))
    file.seek(0)
    np.testing.assert_array_equal(there_and_back(file, key), wanted)


def test_the_picture_is_upright_and_says_nothing_else(colours, key):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    exif[0x010E] = "a secret place"
    texts = PngInfo()
    texts.add_text("Comment", "a secret place")
    options = {"exif": exif, "pnginfo": texts, "icc_profile": b"a secret place"}
    plain = codec.read_plain(saved(colours, "PNG", **options), "plain")
    turned = np.rot90(np.asarray(colours), k=-1)
    np.testing.assert_array_equal(plain.pixels, turned)
    (content,) = codec.protect([plain], key, fixed=False, check_value=False)
    assert b"secret" not in content
    with Image.open(io.BytesIO(content)) as protected:
        assert set(protected.info) == {
            "tfpriv-shuffling",
            "tfpriv-mode",
            "tfpriv-size",
            "tfpriv-nonce",
        }


def test_the_first_picture_of_a_camera_file_is_taken(colours, key):
    small = colours.resize((2, 2))
    file = saved(colours, "MPO", save_all=True, append_images=[small])
    assert there_and_back(file, key).shape == (*SIZE, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_what_moves_is_refused(colours, kind):
    other = Image.fromarray(255 - np.asarray(colours))
    file = saved(colours, kind, save_all=True, append_images=[other])
    with pytest.raises(ValueError, match=r"several images.*clip \(2 images\)"):
        codec.read_plain(file, "clip")


def deep_colour(channels):
    pixels = np.arange(35 * channels, dtype="uint16").reshape(*SIZE, channels)
    return io.BytesIO(png.encode(pixels * 300, {}))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (lambda c: deep_colour(2), "more than 8 bits"),
        (lambda c: deep_colour(3), "more than 8 bits of RGB"),
        (lambda c: deep_colour(4), "more than 8 bits of RGBA"),
        (lambda c: saved(c.convert("CMYK"), "JPEG"), "mode CMYK"),
        (lambda c: saved(c.convert("F"), "TIFF"), "mode F"),
        (lambda c: saved(c.convert("I"), "TIFF"), "mode I"),
        (lambda c: saved(c, "PPM"), "PPM"),
        (lambda c: saved(c, "ICO"), "ICO"),
        (lambda c: io.BytesIO(b"no picture"), "cannot be decoded"),
        (lambda c: io.BytesIO(), "cannot be decoded"),
    ],
)
def test_what_would_be_lost_is_refused(colours, file, message):
    with pytest.raises(ValueError, match=rf"Received: x\b.*{message}|{message}.*: x\b"):
        codec.read_plain(file(colours), "x")


def protected(colours, key, **options) -> bytes:
    plain = codec.read_plain(saved(colours, "PNG"), "plain")
    options = {"fixed": False, "check_value": False, **options}
    return codec.protect([plain], key, **options)[0]


def test_twice_is_refused(colours, key):
    with pytest.raises(ValueError, match="protected already"):
        codec.read_plain(io.BytesIO(protected(colours, key)), "x")


def test_a_wrong_key_is_told_only_by_a_check_value(colours, key):
    other = Key.generate()
    file = io.BytesIO(protected(colours, key, check_value=True))
    with pytest.raises(ValueError, match="not the key of the picture"):
        codec.read_protected(file, other, "x")
    unchecked = protected(colours, key)
    picture = codec.read_protected(io.BytesIO(unchecked), other, "x")
    (opened,) = codec.unprotect([picture], other)
    assert (np.asarray(Image.open(io.BytesIO(opened))) != np.asarray(colours)).any()


def test_what_was_changed_since_is_refused(colours, key):
    with Image.open(io.BytesIO(protected(colours, key))) as picture:
        texts = PngInfo()
        for keyword, text in picture.text.items():
            texts.add_text(keyword, text)
        smaller = saved(picture.resize((3, 4)), "PNG", pnginfo=texts)
        bare = saved(picture, "PNG")
        lossy = saved(picture, "JPEG")
        texts.add_text("tfpriv-nonce", "00")
        odd = saved(picture, "PNG", pnginfo=texts)
    for file, message in (
        (smaller, r"scaled or cut.*x, 4x3 pixels, shuffled with 7x5"),
        (bare, "not protected"),
        (lossy, "not protected"),
        (odd, "damaged"),
    ):
        with pytest.raises(ValueError, match=rf"{message}.*") as failure:
            codec.read_protected(file, key, "x")
        assert "Received: x" in str(failure.value)


def test_every_damaged_byte_is_noticed_or_harmless(colours, key):
    """PNG checks each chunk; what it does not check changes nothing."""
    content = protected(colours, key, check_value=True)
    wanted = codec.read_protected(io.BytesIO(content), key, "x")
    for i in range(len(content)):
        broken = bytearray(content)
        broken[i] ^= 16
        try:
            found = codec.read_protected(io.BytesIO(bytes(broken)), key, "x")
        except ValueError:
            continue
        assert found.record == wanted.record
        np.testing.assert_array_equal(found.pixels, wanted.pixels)


def test_each_picture_has_its_own_permutation(colours, key):
    plain = codec.read_plain(saved(colours, "PNG"), "plain")
    many = codec.protect([plain] * 5, key, fixed=False, check_value=False)
    assert len(set(many)) == 5
    same = codec.protect([plain] * 5, key, fixed=True, check_value=False)
    assert len(set(same)) == 1
