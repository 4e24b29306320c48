"""gaussian_noise computes what it says: against RFC 8439 and a plain numpy oracle."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from tfpriv.ops import gaussian_noise, loader
from tfpriv.ops.reference import chacha as chacha_reference
from tfpriv.ops.reference import noise as noise_reference

TWO_PI = 2 * np.longdouble("3.14159265358979323846264338327950288")


def keystream(key: bytes, stream: int, blocks: int) -> np.ndarray:
    """The cipher's stream from another implementation, as 64-bit integers."""
    start = struct.pack("<QQ", 0, stream)
    cipher = Cipher(algorithms.ChaCha20(bytes(key), start), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(64 * blocks)), "<u8")


def oracle(key: bytes, stream: int, size: int) -> np.ndarray:
    """Box-Muller on the same stream, in extended precision with numpy's functions."""
    words = keystream(key, stream, -(-size // 8))
    uniform = (words.astype(np.longdouble) + 1) / np.longdouble(2) ** 64
    u, v = uniform[0::2].astype(np.float64), uniform[1::2].astype(np.float64)
    radius = np.sqrt(-2 * np.log(u.astype(np.longdouble)))
    angle = TWO_PI * v.astype(np.longdouble)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:size]


def both(monkeypatch, *args, **kwargs):
    """The native op's values and the twin's."""
    values = []
    for choice in ("0", "1"):
        monkeypatch.setenv(loader.ENV, choice)
        values.append(gaussian_noise(*args, **kwargs))
    return values


def test_block_function_of_rfc_8439():
    # RFC 8439, section 2.3.2: counter 1, nonce 000000090000004a00000000.
    last_row = np.array([1, 0x09000000, 0x4A000000, 0], np.uint32)
    words = chacha_reference.chacha20_blocks(
        tf.constant(range(32), tf.uint8), last_row[:, None]
    )
    block = words.numpy()[:, 0].astype("<u4").tobytes().hex()
    assert block == (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )


def test_block_counter_is_64_bits_wide(key):
    counter = np.array([[0xFFFFFFFF, 0], [0, 1], [5, 5], [0, 0]], np.uint32)
    words = chacha_reference.chacha20_blocks(tf.constant(key), counter).numpy()
    for column, block in enumerate((2**32 - 1, 2**32)):
        start = struct.pack("<QQ", block, 5)
        cipher = Cipher(algorithms.ChaCha20(bytes(key), start), mode=None).encryptor()
        expected = np.frombuffer(cipher.update(bytes(64)), "<u4")
        np.testing.assert_array_equal(words[:, column], expected)


@pytest.mark.parametrize("stream", [0, 1, 2**32, 2**63 - 1])
def test_equals_the_oracle(implementation, key, stream):
    size = 100_003
    values = gaussian_noise(key, [size], "float64", stream=stream).numpy()
    expected = oracle(key, stream, size)
    np.testing.assert_allclose(values, expected, rtol=1e-14, atol=1e-14)
    rounded = gaussian_noise(key, [size], "float32", stream=stream).numpy()
    np.testing.assert_array_equal(rounded, values.astype(np.float32))


def test_transform_is_accurate_over_its_whole_range(key):
    # Half of the points crowd at the ends, where digits would cancel.
    words = keystream(key, 0, 50_000).astype(np.float64) / 2.0**64
    u = np.concatenate([words[0::2], words[1::2] ** 16, 1 - words[0::2] ** 16])
    u = np.clip(u, 2.0**-64, 1.0)
    exact = -np.log(u.astype(np.longdouble))
    ours = noise_reference._minus_log(tf.constant(u)).numpy()
    np.testing.assert_allclose(ours, exact, rtol=5e-16)
    cos, sin = noise_reference._cos_sin_turns(tf.constant(u))
    angle = TWO_PI * u.astype(np.longdouble)
    np.testing.assert_allclose(cos, np.cos(angle), atol=3e-16)
    np.testing.assert_allclose(sin, np.sin(angle), atol=3e-16)


def test_extreme_uniforms_reach_beyond_8_sigma_and_stay_finite():
    ends = tf.constant([0, 2**32 - 1], tf.uint32)
    u = noise_reference.uniforms(
        *(tf.reshape(x, (-1,)) for x in tf.meshgrid(ends, ends))
    )
    assert u.numpy().min() == 2.0**-64
    assert u.numpy().max() == 1.0
    u, v = (tf.reshape(x, (-1,)) for x in tf.meshgrid(u, u))
    values = np.stack(noise_reference.box_muller(u, v))
    assert np.isfinite(values).all()
    assert 9.4 < np.abs(values).max() < 9.42


@settings(max_examples=40, deadline=None)
@given(
    key=st.binary(min_size=32, max_size=32),
    shape=array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=40),
    dtype=st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    stream=st.integers(0, 2**63 - 1),
)
def test_twin_and_native_give_the_same_bits(key, shape, dtype, stream):
    if not loader.LIBRARY.exists():
        pytest.skip("no native ops")
    key = np.frombuffer(key, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        native, twin = both(patch, key, shape, dtype, stream=stream)
    assert native.dtype == twin.dtype == tf.as_dtype(dtype)
    assert native.shape == twin.shape == shape
    np.testing.assert_array_equal(native.numpy(), twin.numpy())


def test_twin_and_native_agree_across_chunks_and_threads(native, monkeypatch, key):
    size = 3 * chacha_reference.BLOCKS_PER_CHUNK * noise_reference.VALUES_PER_BLOCK + 5
    one, other = both(monkeypatch, key, [size], "float64", stream=7)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [1, 31, 32_768, 200_003])
def test_thread_count_does_not_matter(native, key, size):
    def draw(threads):
        return native.tfpriv_gaussian_noise(
            key=key, shape=[size], stream=3, dtype=tf.float32, num_threads=threads
        ).numpy()

    alone = draw(1)
    for threads in (2, 3, 7, 64):
        np.testing.assert_array_equal(draw(threads), alone)


def test_a_shorter_draw_is_the_start_of_a_longer_one(implementation, key):
    long = gaussian_noise(key, [1000], stream=2).numpy()
    short = gaussian_noise(key, [3, 7], stream=2).numpy()
    np.testing.assert_array_equal(short.reshape(-1), long[:21])
