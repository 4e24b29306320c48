"""png.encode writes what Pillow reads, whatever the pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tfpriv.shuffling import png

SIDES = st.integers(1, 12)


def decode(content: bytes) -> np.ndarray:
    """Pixels of a PNG file without predictors, read by the letter of the standard."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length)[0] == zlib.crc32(
            kind + body
        )
        chunks.append((kind, body))
        at += 12 + length
    assert chunks[0][0] == b"IHDR"
    assert chunks[-1] == (b"IEND", b"")
    width, height, depth, colour, *rest = struct.unpack(">2I5B", chunks[0][1])
    assert rest == [0, 0, 0]
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    rows = zlib.decompress(dict(chunks)[b"IDAT"])
    rows = np.frombuffer(rows, np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    dtype = {8: ">u1", 16: ">u2"}[depth]
    pixels = np.ascontiguousarray(rows[:, 1:]).view(dtype)
    return pixels.reshape(height, width, channels)


@settings(max_examples=60, deadline=None)
@given(
    pixels=st.tuples(SIDES, SIDES, st.integers(1, 4)).flatmap(
        lambda shape: hnp.arrays(st.sampled_from(["uint8", "uint16"]), shape)
    )
)
def test_every_kind_comes_back(pixels):
    content = png.encode(pixels, {"one": "1", "two": "zwölf"})
    np.testing.assert_array_equal(decode(content), pixels)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.text == {"one": "1", "two": "zwölf"}
        picture.load()
        if pixels.dtype == np.uint8 or pixels.shape[2] == 1:
            read = np.asarray(picture).reshape(pixels.shape)
            np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize(("values", "share"), [(256, 1.02), (8, 0.5), (1, 0.2)])
def test_few_values_take_less_room(values, share):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, values, (100, 100, 3), dtype="uint8")
    content = png.encode(pixels, {})
    assert len(content) < share * pixels.nbytes
    np.testing.assert_array_equal(decode(content), pixels)
