"""permutations computes what it says: RFC 8439's vectors and a word-by-word oracle."""

import numpy as np
import permutation_oracle as oracle
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv import ops
from tfpriv.ops import loader
from tfpriv.ops.reference import permutations as permutations_reference

# RFC 8439, appendix A.1, vectors 1 and 2: key and nonce zero, counters 0 and 1.
RFC_STREAM = bytes.fromhex(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)


def test_the_oracle_reads_the_stream_of_rfc_8439():
    words = oracle.keystream(bytes(32), bytes(12), 16)
    assert np.array(words, "<u8").tobytes() == RFC_STREAM


def test_stream_of_rfc_8439(implementation):
    words = np.frombuffer(RFC_STREAM, "<u8").tolist()
    places = [0] + [words[2 * (8 - i)] % (i + 1) for i in range(1, 9)]
    zero = np.zeros((1, 12), "uint8")
    result = ops.permutations(np.zeros(32, "uint8"), zero, 9)
    assert result[0].numpy().tolist() == oracle.fisher_yates(places)


def test_nonce_and_counter_lie_where_rfc_8439_puts_them(implementation):
    """Pinned: pictures that were shuffled once must always open."""
    key = np.arange(32, dtype="uint8")
    nonce = np.frombuffer(bytes.fromhex("000000090000004a00000000"), "uint8")
    result = ops.permutations(key, nonce[None], 12)
    assert result.numpy().tolist() == [[5, 11, 3, 2, 10, 8, 4, 0, 7, 9, 1, 6]]


@settings(max_examples=40, deadline=None)
@given(
    key=st.binary(min_size=32, max_size=32),
    nonces=st.lists(st.binary(min_size=12, max_size=12), max_size=4),
    size=st.one_of(st.integers(1, 70), st.integers(500, 1100)),
    native=st.booleans(),
)
def test_equals_the_oracle(key, nonces, size, native):
    if native and not loader.LIBRARY.exists():
        pytest.skip("no native ops")
    rows = np.frombuffer(b"".join(nonces), "uint8").reshape(-1, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(loader.ENV, "0" if native else "1")
        result = ops.permutations(np.frombuffer(key, "uint8"), rows, size)
    assert result.dtype == tf.int32
    assert result.shape == (len(nonces), size)
    for row, nonce in zip(result.numpy().tolist(), nonces, strict=True):
        assert row == oracle.permutation(key, nonce, size)


def test_native_and_twin_agree_across_chunks(native, monkeypatch, key):
    nonces = np.arange(36, dtype="uint8").reshape(3, 12)
    one = ops.permutations(key, nonces, 40_000)
    monkeypatch.setenv(loader.ENV, "1")
    np.testing.assert_array_equal(one, ops.permutations(key, nonces, 40_000))


@pytest.mark.parametrize("size", [1, 1024, 9001])
def test_thread_count_does_not_matter(native, key, size):
    nonces = np.arange(60, dtype="uint8").reshape(5, 12)

    def draw(nonces, threads):
        return native.tfpriv_permutations(
            key=key, nonces=nonces, size=size, num_threads=threads
        ).numpy()

    alone = draw(nonces, 1)
    for threads in (2, 3, 64):
        np.testing.assert_array_equal(draw(nonces, threads), alone)
    np.testing.assert_array_equal(draw(nonces[3:4], 1), alone[3:4])


@pytest.mark.parametrize(
    "places",
    [
        lambda size, rng: np.zeros(size, int),
        lambda size, rng: np.arange(size),
        lambda size, rng: np.maximum(np.arange(size) - 1, 0),  # one long chain
        lambda size, rng: np.arange(size) // 2,
        lambda size, rng: rng.integers(0, np.arange(size) + 1),
    ],
    ids=["first", "none", "neighbours", "halves", "random"],
)
def test_steps_at_once_are_steps_one_by_one(places):
    """The twin runs Fisher-Yates right on places that a key would hardly draw."""
    rng = np.random.default_rng(0)
    rows = np.stack([places(200, rng) for _ in range(3)])
    result = permutations_reference._shuffle(
        tf.constant(rows), tf.constant(200, tf.int64)
    )
    wanted = [oracle.fisher_yates(row) for row in rows.tolist()]
    assert result.numpy().tolist() == wanted


def test_size_one_and_no_pictures(implementation, key):
    one = ops.permutations(key, np.zeros((2, 12), "uint8"), 1)
    assert one.numpy().tolist() == [[0], [0]]
    assert ops.permutations(key, np.zeros((0, 12), "uint8"), 7).shape == (0, 7)


def test_in_a_graph_with_unknown_sizes(implementation, key):
    @tf.function(
        input_signature=[
            tf.TensorSpec(None, tf.uint8),
            tf.TensorSpec((None, None), tf.uint8),
            tf.TensorSpec((), tf.int32),
        ]
    )
    def draw(key, nonces, size):
        result = ops.permutations(key, nonces, size)
        assert result.shape.as_list() == [None, None]
        return result

    nonces = np.arange(24, dtype="uint8").reshape(2, 12)
    np.testing.assert_array_equal(
        draw(key, nonces, 33), ops.permutations(key, nonces, 33)
    )
    for size in (0, -3):
        with pytest.raises(tf.errors.InvalidArgumentError, match="size must be in"):
            draw(key, nonces, size)
    with pytest.raises(tf.errors.InvalidArgumentError):
        draw(key[:31], nonces, 33)
    with pytest.raises(tf.errors.InvalidArgumentError):
        draw(key, nonces[:, :11], 33)


def test_shapes_are_known_before_the_run(implementation, key):
    @tf.function
    def draw():
        result = ops.permutations(key, np.zeros((2, 12), "uint8"), 5)
        assert result.shape == (2, 5)
        return result

    draw()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": np.zeros(31, "uint8")}, "these key"),
        ({"key": np.zeros(32, "int32")}, "these key"),
        ({"nonces": np.zeros(12, "uint8")}, "these nonces"),
        ({"nonces": np.zeros((1, 13), "uint8")}, "these nonces"),
        ({"nonces": np.zeros((1, 12))}, "these nonces"),
        ({"size": 0}, "size=0"),
        ({"size": 2**31}, "size=2147483648"),
        ({"size": 3.0}, "size=3.0"),
    ],
)
def test_wrong_arguments(change, message):
    arguments = {
        "key": np.zeros(32, "uint8"),
        "nonces": np.zeros((1, 12), "uint8"),
        "size": 4,
    }
    with pytest.raises(ValueError, match=f"Received.*{message}|{message}.*Received"):
        ops.permutations(**{**arguments, **change})


@settings(max_examples=100, deadline=None)
@given(
    key=st.lists(st.integers(0, 40), max_size=3),
    nonces=st.lists(st.integers(0, 14), max_size=3),
    size=st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-2, 50)),
    vector=st.booleans(),
)
def test_malformed_calls_are_errors_and_not_crashes(key, nonces, size, vector):
    if not loader.native_available():
        pytest.skip(loader.why_not_native())
    good = key == [32] and len(nonces) == 2 and nonces[1] == 12 and not vector
    if good and 1 <= size < 2**31:
        return  # test_equals_the_oracle
    with pytest.raises(tf.errors.InvalidArgumentError):
        loader.native_ops().tfpriv_permutations(
            key=np.zeros(key, "uint8"),
            nonces=np.zeros(nonces, "uint8"),
            size=[size] if vector else size,
        )


def test_saved_model(implementation, tmp_path, key):
    module = tf.Module()
    module.draw = tf.function(
        lambda key, nonces: ops.permutations(key, nonces, 20),
        input_signature=[
            tf.TensorSpec((32,), tf.uint8),
            tf.TensorSpec((None, 12), tf.uint8),
        ],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    nonces = np.arange(24, dtype="uint8").reshape(2, 12)
    np.testing.assert_array_equal(
        loaded.draw(key, nonces), ops.permutations(key, nonces, 20)
    )
