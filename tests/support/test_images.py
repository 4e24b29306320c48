"""Each kind of image file is read the same by all four systems, or refused by name.

The table of docs/images.md, row by row. The wanted values are computed here, from the
values that were written.
"""

import io
import struct
import types
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from tfpriv.captioning import cli as captioning
from tfpriv.captioning import decode as captions
from tfpriv.captioning import store
from tfpriv.editing import pictures as editing
from tfpriv.inpainting.photos.anonymiser import Anonymiser, Settings
from tfpriv.shuffling import Key, jobs, png
from tfpriv.support import decoding, images

SIZE = 8
RGB = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
GREY, ALPHA = RGB[..., 0], np.where(RGB[..., 1] < 128, 0, 255).astype(np.uint8)
DEEP = np.random.default_rng(1).integers(0, 2**16, (SIZE, SIZE), np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(values, kind="PNG", mode=None, **options) -> bytes:
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    with io.BytesIO() as file:
        (image if mode is None else image.convert(mode)).save(file, kind, **options)
        return file.getvalue()


def several(kind) -> bytes:
    other = Image.fromarray(255 - RGB)
    return saved(RGB, kind, save_all=True, append_images=[other])


def on_white(values, alpha):
    return np.where(alpha[..., None] == 0, np.uint8(255), values)


def three(grey):
    return np.repeat(grey[..., None], 3, -1)


def scaled(deep):
    """0..65535 to 0..255."""
    return three(np.rint(deep.astype(float) * 255 / 65535).astype(np.uint8))


def swapped_profile() -> bytes:
    """sRGB under another name, with red and green exchanged."""
    profile = SRGB.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    for old, new in [(b"rXYZ", b"swap"), (b"gXYZ", b"rXYZ"), (b"swap", b"gXYZ")]:
        profile = profile.replace(old, new)
    return profile


def exif_of(*entries) -> bytes:
    """EXIF of (tag, type, count, 4 bytes), as no program should write it."""
    content = struct.pack("<H", len(entries))
    for tag, kind, count, value in sorted(entries):
        content += struct.pack("<HHI", tag, kind, count) + value
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + content + struct.pack("<I", 0)


TURNED = (ExifTags.Base.Orientation, 3, 1, struct.pack("<HH", 6, 0))
TEXT_FOR_A_NUMBER = (ExifTags.Base.XResolution, 2, 4, b"abc\0")
BEYOND_THE_END = (ExifTags.Base.Make, 2, 99, struct.pack("<I", 10**6))


def chunk(kind, content) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png_of(values, colour_type, extra=b"") -> bytes:
    """PNG that Pillow does not write."""
    height, width = values.shape[:2]
    depth = 8 * values.itemsize
    header = struct.pack(">2I5B", width, height, depth, colour_type, 0, 0, 0)
    rows = values.astype(values.dtype.newbyteorder(">"))
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def tiff_of(data, bits, photometric) -> bytes:
    """Grey TIFF of SIZE x SIZE pixels that Pillow does not write."""
    start = 8 + 2 + 9 * 12 + 4
    tags = {256: SIZE, 257: SIZE, 258: bits, 259: 1, 262: photometric, 273: start}
    tags |= {277: 1, 278: SIZE, 279: len(data)}
    content = struct.pack("<H", len(tags))
    content += b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags.items())
    return b"II*\0" + struct.pack("<I", 8) + content + struct.pack("<I", 0) + data


def twelve_bits() -> bytes:
    bits = "".join(f"{value >> 4:012b}" for value in DEEP.ravel())
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def palette(**options):
    return saved(Image.fromarray(RGB).quantize(16), **options)


def shown_by_pillow(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


FIRST = palette(transparency=0)
INDICES = np.asarray(Image.open(io.BytesIO(FIRST)))
CMYK = saved(RGB, "JPEG", "CMYK", quality=95)
YCBCR = saved(RGB, "TIFF", "YCbCr")
DECODED = shown_by_pillow(saved(RGB, "JPEG", quality=95, subsampling=0))
BLACK_AND_WHITE = np.asarray(Image.fromarray(GREY).convert("1")) * np.uint8(255)
GREY_ALPHA, RGBA = np.dstack([GREY, ALPHA]), np.dstack([RGB, ALPHA])
BIG_ENDIAN = Image.frombytes("I;16B", (SIZE, SIZE), DEEP.byteswap().tobytes())
RADIANCE = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 8\n" + bytes(256)
PSD = (
    b"8BPS\0\1"
    + bytes(6)
    + struct.pack(">H2I2H", 3, SIZE, SIZE, 8, 3)
    + bytes(14)
    + np.moveaxis(RGB, -1, 0).tobytes()
)
COLOUR16 = np.stack([DEEP, DEEP.T, DEEP[::-1]], -1)

HIGH_BYTES = (COLOUR16 >> 8).astype(np.uint8)


def unlike_the_first(values):
    """bool (height, width): which pixels have another value than the first."""
    same = values == values[0, 0]
    return ~(same if same.ndim == 2 else same.all(-1))


def jpeg(*entries):
    return saved(RGB, "JPEG", quality=95, subsampling=0, exif=exif_of(*entries))


def row(name, *values):
    return pytest.param(*values, id=name)


def first_transparent(values, colour_type) -> bytes:
    colour = values[:1, 0].astype(">u2").tobytes()
    return png_of(values, colour_type, chunk(b"tRNS", colour))


# A file's content, and what every system reads.
READ = [
    row("1", saved(GREY, mode="1"), three(BLACK_AND_WHITE)),
    row("L", saved(GREY), three(GREY)),
    row("LA", saved(GREY_ALPHA), on_white(three(GREY), ALPHA)),
    row(
        "L with a transparent shade",
        saved(GREY, transparency=int(GREY[0, 0])),
        on_white(three(GREY), unlike_the_first(GREY)),
    ),
    row("P", palette(), shown_by_pillow(palette())),
    row("P with transparency", FIRST, on_white(shown_by_pillow(FIRST), INDICES)),
    row(
        "GIF with transparency",
        palette(kind="GIF", transparency=0),
        on_white(shown_by_pillow(FIRST), INDICES),
    ),
    row("RGB", saved(RGB), RGB),
    row(
        "RGB with a transparent colour",
        saved(RGB, transparency=tuple(map(int, RGB[0, 0]))),
        on_white(RGB, unlike_the_first(RGB)),
    ),
    row("RGBA", saved(RGBA), on_white(RGB, ALPHA)),
    row(
        "RGBA, WebP",
        saved(RGBA, "WEBP", lossless=True, exact=True),
        on_white(RGB, ALPHA),
    ),
    row("JPEG", jpeg(), DECODED),
    row("MPO", several("MPO"), shown_by_pillow(several("MPO"))),
    row("BMP", saved(RGB, "BMP"), RGB),
    row("TIFF", saved(RGB, "TIFF"), RGB),
    row("16-bit grey PNG", saved(DEEP), scaled(DEEP)),
    row("16-bit grey TIFF", saved(DEEP, "TIFF"), scaled(DEEP)),
    row("16-bit grey TIFF, big-endian", saved(BIG_ENDIAN, "TIFF"), scaled(DEEP)),
    row("16-bit grey TIFF, white is 0", tiff_of(DEEP.tobytes(), 16, 0), scaled(~DEEP)),
    row("12-bit grey TIFF", tiff_of(twelve_bits(), 12, 1), scaled(DEEP & 0xFFF0)),
    row("sRGB profile", saved(RGB, icc_profile=SRGB), RGB),
    row("damaged profile", saved(RGB, icc_profile=b"no profile"), RGB),
    row("turned", saved(RGB, exif=exif_of(TURNED)), np.rot90(RGB, -1)),
    row(
        "16 bits, turned",
        saved(DEEP, exif=exif_of(TURNED)),
        np.rot90(scaled(DEEP), -1),
    ),
    row("a text in an EXIF number", jpeg(TEXT_FOR_A_NUMBER), DECODED),
    row(
        "a text in an EXIF number, turned",
        jpeg(TEXT_FOR_A_NUMBER, TURNED),
        np.rot90(DECODED, -1),
    ),
    row("EXIF beyond its end", jpeg(BEYOND_THE_END, TURNED), np.rot90(DECODED, -1)),
    row("damaged EXIF", saved(RGB, exif=b"Exif\0\0nothing"), RGB),
]
LOSSY = [
    row("CMYK", CMYK, shown_by_pillow(CMYK)),
    row("YCbCr TIFF", YCBCR, shown_by_pillow(YCBCR)),
    row("16-bit RGB", png.encode(COLOUR16, {}), HIGH_BYTES),
    row(
        "16-bit RGB with a transparent colour",
        first_transparent(COLOUR16, 2),
        on_white(HIGH_BYTES, unlike_the_first(HIGH_BYTES)),
    ),
    row(
        "16-bit grey with a transparent shade",
        first_transparent(DEEP, 0),
        on_white(scaled(DEEP), unlike_the_first(DEEP)),
    ),
]
OTHER_FORMATS = [
    row("PSD", PSD, RGB),
    row("8-bit PGM", b"P5 8 8 255\n" + GREY.tobytes(), three(GREY)),
    row("16-bit PGM", b"P5 8 8 65535\n" + DEEP.astype(">u2").tobytes(), scaled(DEEP)),
]
SEVERAL, DAMAGED = "several images.*2 images", "cannot be decoded"
REFUSED = [
    row("32-bit whole numbers", saved(DEEP.astype(np.int32), "TIFF"), "range.*mode I"),
    row("float", saved(DEEP.astype(np.float32), "TIFF"), "range.*mode F"),
    row("LAB", saved(Image.new("LAB", (SIZE, SIZE)), "TIFF"), "mode LAB"),
    row("Radiance HDR", RADIANCE, DAMAGED),
    row("animated GIF", several("GIF"), SEVERAL),
    row("animated WebP", several("WEBP"), SEVERAL),
    row("animated PNG", several("PNG"), SEVERAL),
    row("multi-page TIFF", several("TIFF"), SEVERAL),
    row("no pixels", png_of(RGB[:0], 2), DAMAGED),
    row("cut short PNG", saved(RGB)[:-40], DAMAGED),
    row("cut short JPEG", jpeg()[:-40], DAMAGED),
    row("cut short TIFF", saved(RGB, "TIFF")[:-60], DAMAGED),
    row("cut short GIF", palette(kind="GIF")[:-30], DAMAGED),
    row("cut short WebP", saved(RGB, "WEBP")[:-20], DAMAGED),
    row("bomb", saved(Image.new("1", (9000, 9000))), "too large"),
    row("nothing", b"", DAMAGED),
]


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder / "image.png"  # contents decide, not names


def captioning_generate(path, monkeypatch):
    """What `caption generate` shows its model."""
    seen = []
    model = types.SimpleNamespace(image_size=SIZE)
    monkeypatch.setattr(store, "load_captioner", lambda path: model)
    monkeypatch.setattr(
        captions, "caption_pictures", lambda _, shown, beams: seen.extend(shown) or [""]
    )
    options = {"model": "model", "pictures": [path], "sheet": None, "beams": 1}
    captioning.generate(types.SimpleNamespace(**options))
    return seen[0]


def edit_invert(path, monkeypatch):
    """What `edit invert` inverts."""
    face = editing.read_face(path, SIZE, aligned=True)
    return images.to_uint8(face)


def inpaint(path, monkeypatch):
    """What `inpaint` writes where there is no face to cover."""
    anonymiser = Anonymiser(
        Settings(inpainter="black", if_no_face="copy"), find=lambda pixels: []
    )
    outcome = anonymiser(path.name, path.read_bytes())
    if outcome.content is None:
        raise ValueError(outcome.remark)
    return shown_by_pillow(outcome.content)


def shuffle_protect(path, monkeypatch):
    """What is seen of a file that was protected and put in order again."""
    key, protected, back = Key(bytes(32)), *map(path.with_name, ("p.png", "b.png"))
    jobs.protect(path, protected, key)
    jobs.unprotect(protected, back, key)
    return images.load(back)


LOSING = [captioning_generate, edit_invert, inpaint]
SYSTEMS = [*LOSING, shuffle_protect]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("content", "wanted"), READ)
def test_all_systems_read_the_same_pixels(path, monkeypatch, content, wanted, system):
    path.write_bytes(content)
    np.testing.assert_array_equal(system(path, monkeypatch), wanted)


@pytest.mark.parametrize("system", LOSING)
@pytest.mark.parametrize(("content", "wanted"), LOSSY + OTHER_FORMATS)
def test_what_protect_alone_refuses(path, monkeypatch, content, wanted, system):
    """It keeps every value or none, and takes the formats that cameras write."""
    path.write_bytes(content)
    np.testing.assert_array_equal(system(path, monkeypatch), wanted)
    with pytest.raises(ValueError, match=r"may be lost|must be one of"):
        shuffle_protect(path, monkeypatch)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_all_systems_refuse_the_same(path, monkeypatch, content, message, system):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        system(path, monkeypatch)
    assert path.name in str(refused.value)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_brought_to_srgb(path, monkeypatch, system, alpha):
    values = np.dstack([RGB, ALPHA]) if alpha else RGB
    path.write_bytes(saved(values, icc_profile=swapped_profile()))
    wanted = RGB[..., [1, 0, 2]]
    wanted = on_white(wanted, ALPHA) if alpha else wanted
    found = system(path, monkeypatch)
    np.testing.assert_allclose(found.astype(int), wanted.astype(int), atol=2)


def test_partly_transparent_pixels_are_mixed_with_white(path):
    alpha = RGB[..., 2]
    path.write_bytes(saved(np.dstack([RGB, alpha])))
    share = alpha[..., None] / 255
    np.testing.assert_allclose(
        images.load(path), share * RGB + (1 - share) * 255, atol=1
    )


def test_sixteen_bits_end_at_black_and_white():
    ends = Image.fromarray(np.array([[0, 128, 32896, 65535 - 128, 65535]], np.uint16))
    found = np.asarray(decoding.as_shown(ends))[0, :, 0]
    assert found.tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    tall = RGB[:5]
    path.write_bytes(saved(tall, exif=exif))
    flipped = tall[:, ::-1] if orientation in (2, 4, 5, 7) else tall
    turns = {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    np.testing.assert_array_equal(images.load(path), np.rot90(flipped, turns))


def test_metadata_that_cannot_be_written_is_dropped_and_the_rest_kept():
    from tfpriv.inpainting.photos import files

    make = (ExifTags.Base.Make, 2, 4, b"Cam\0")
    content = saved(RGB, "JPEG", exif=exif_of(TEXT_FOR_A_NUMBER, TURNED, make))
    photograph = files.read(content, "photo.jpg")
    written = files.encode(
        photograph.pixels, "photo.png", photograph, keep_metadata=True
    )
    with Image.open(io.BytesIO(written)) as picture:
        assert dict(picture.getexif()) == {ExifTags.Base.Make: "Cam"}
