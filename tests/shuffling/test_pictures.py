"""shuffle and unshuffle: the right places, there and back, in arrays and tensors."""

import os
import sys

import numpy as np
import permutation_oracle as oracle
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfpriv.ops import loader
from tfpriv.shuffling import Key, new_nonces, pictures, shuffle, unshuffle
from tfpriv.shuffling.used_nonces import UsedNonces
from tfpriv.support.randomness import Randomness

BITS = bytes(range(32))
SIDES = st.integers(1, 6)


def shuffled_by_hand(picture, key, nonce):
    """One picture, pixel by pixel."""
    height, width, _ = picture.shape
    mode = "fixed" if nonce is None else "per picture"
    secret = key.derive(f"picture {height}x{width} {mode}")
    places = oracle.permutation(secret, nonce or bytes(12), height * width)
    result = np.zeros_like(picture)
    for q, p in enumerate(places):
        result[q // width, q % width] = picture[p // width, p % width]
    return result


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(0, 3), SIDES, SIDES, st.integers(0, 4)),
    dtype=st.sampled_from(["uint8", "uint16", "float32", "bool", "int64"]),
    fixed=st.booleans(),
    single=st.booleans(),
    tensor=st.booleans(),
    key=st.binary(min_size=32, max_size=32).map(Key),
)
def test_places_and_round_trip(data, shape, dtype, fixed, single, tensor, key):
    if single:
        shape = shape[1:]
    images = data.draw(hnp.arrays(dtype, shape))
    count = 1 if single else shape[0]
    nonces = None if fixed else new_nonces(count)
    nonce = nonces[0] if single and not fixed else nonces
    given_ = tf.constant(images) if tensor else images
    result = shuffle(given_, key, nonce)
    assert tf.is_tensor(result) == tensor
    assert result.dtype == dtype
    assert result.shape == shape
    for i in range(count):
        one = images if single else images[i]
        by_hand = shuffled_by_hand(one, key, None if fixed else bytes(nonces[i]))
        np.testing.assert_array_equal(result if single else result[i], by_hand)
    np.testing.assert_array_equal(unshuffle(result, key, nonce), images)


def test_places_are_pinned():
    """Pictures that were shuffled once must always open."""
    picture = np.arange(12, dtype="uint8").reshape(3, 4, 1)
    fixed = shuffle(picture, Key(BITS))
    nonce = shuffle(picture, Key(BITS), bytes(range(12)))
    assert fixed.ravel().tolist() == [0, 8, 7, 10, 4, 9, 6, 11, 3, 1, 5, 2]
    assert nonce.ravel().tolist() == [5, 7, 1, 6, 11, 9, 0, 4, 3, 2, 8, 10]


def test_many_large_pictures_are_moved_in_parts(monkeypatch):
    images = np.random.default_rng(0).integers(0, 255, (7, 8, 8, 3), "uint8")
    key, nonces = Key.generate(), new_nonces(7)
    whole = shuffle(images, key, nonces)
    monkeypatch.setattr(pictures, "_PLACES_AT_ONCE", 130)
    np.testing.assert_array_equal(shuffle(images, key, nonces), whole)
    np.testing.assert_array_equal(unshuffle(whole, key, nonces), images)


def test_fixed_mode_is_one_permutation_and_nonces_are_many():
    key = Key.generate()
    images = np.tile(np.arange(64, dtype="uint8").reshape(8, 8, 1), (2, 1, 1, 1))
    one, other = shuffle(images, key)
    np.testing.assert_array_equal(one, other)
    one, other = shuffle(images, key, new_nonces(2))
    assert (one != other).any()  # equal with probability 1 / 64!


def test_a_wrong_key_or_nonce_or_mode_gives_disorder():
    picture = np.arange(64, dtype="uint8").reshape(8, 8, 1)
    key, nonce = Key.generate(), new_nonces(1)[0]
    result = shuffle(picture, key, nonce)
    for back in (
        unshuffle(result, Key.generate(), nonce),
        unshuffle(result, key, new_nonces(1)[0]),
        unshuffle(result, key),
    ):
        # 16 places right by chance: probability below 1 / 16! = 5e-14.
        assert (back == picture).sum() < 16
        assert sorted(back.ravel()) == sorted(picture.ravel())


def test_new_nonces():
    nonces = new_nonces(1000)
    assert nonces.dtype == np.uint8
    assert nonces.shape == (1000, 12)
    assert len({bytes(nonce) for nonce in nonces}) == 1000
    assert new_nonces(0).shape == (0, 12)


def test_repeated_nonces_are_refused():
    key, images = Key.generate(), np.zeros((3, 2, 2, 1), "uint8")
    nonces = new_nonces(3)
    twice = nonces[[0, 1, 0]]
    for wrap in (np.asarray, tf.constant):
        with pytest.raises(ValueError, match=r"comes twice.*used twice"):
            shuffle(wrap(images), key, wrap(twice))
    run = tf.function(lambda images, nonces: shuffle(images, key, nonces))
    with pytest.raises(tf.errors.InvalidArgumentError, match="comes twice"):
        run(tf.constant(images), tf.constant(twice))
    run(tf.constant(images), tf.constant(nonces))
    unshuffle(images, key, twice)  # the same picture may be opened twice


@pytest.mark.parametrize(
    ("shape", "nonce", "message"),
    [
        ((4, 4), None, "shape=\\(4, 4\\)"),
        ((1, 2, 3, 4, 5), None, "Pictures must have"),
        ((0, 4, 3), None, "at least 1"),
        ((4, 4, 3), np.zeros(11, "uint8"), "12 bytes"),
        ((4, 4, 3), np.zeros(12, "int64"), "int64"),
        ((4, 4, 3), np.zeros((1, 12), "uint8"), "12 bytes"),
        ((4, 4, 3), b"short", "12 bytes"),
        ((2, 4, 4, 3), bytes(12), "\\(n, 12\\)"),
        ((2, 4, 4, 3), np.zeros((3, 12), "uint8"), "3 nonces for 2 pictures"),
    ],
)
def test_wrong_arguments(shape, nonce, message):
    for images in (np.zeros(shape), tf.zeros(shape)):
        with pytest.raises(ValueError, match=message):
            shuffle(images, Key.generate(), nonce)


@pytest.mark.parametrize("key", [BITS, "key", None])
def test_a_key_is_a_key(key):
    with pytest.raises(TypeError, match=r"Received: (bytes|str|NoneType)"):
        shuffle(np.zeros((2, 2, 1)), key)


def constants(graph):
    """The contents of all constants of a graph and of its functions."""
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    return [
        tf.make_ndarray(node.attr["value"].tensor).tobytes()
        for node in nodes
        if node.op == "Const"
    ]


@pytest.mark.parametrize("choice", ["0", "1"])
def test_the_key_is_in_no_graph(choice, monkeypatch):
    monkeypatch.setenv(loader.ENV, choice)
    key = Key.generate()
    images = tf.constant(np.arange(32, dtype="uint8").reshape(2, 4, 4, 1))
    nonces = tf.constant(new_nonces(2))

    @tf.function
    def both(images, nonces):
        return unshuffle(shuffle(images, key, nonces), key, nonces), shuffle(
            images, key
        )

    back, fixed = both(images, nonces)
    np.testing.assert_array_equal(back, images)
    np.testing.assert_array_equal(fixed, shuffle(images.numpy(), key))
    kept = constants(both.get_concrete_function(images, nonces).graph)
    secrets = [key.derive(f"picture 4x4 {mode}") for mode in ("fixed", "per picture")]
    assert not any(secret in value for secret in secrets for value in kept)
    planted = tf.function(lambda: tf.constant(np.frombuffer(secrets[0], np.uint8)) + 1)
    assert secrets[0] in constants(planted.get_concrete_function().graph)


def test_in_a_data_pipeline():
    key = Key.generate()
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 6, 3), "uint8")
    nonces = new_nonces(5)
    data = tf.data.Dataset.from_tensor_slices((images, nonces)).batch(2)
    data = data.map(lambda x, n: shuffle(x, key, n))
    result = np.concatenate([batch.numpy() for batch in data])
    np.testing.assert_array_equal(result, shuffle(images, key, nonces))


def shuffle_batch(key):
    """The route that docs/shuffling.md gives for `tf.data`."""

    def protect(images):
        nonces = new_nonces(tf.shape(images)[0])
        return shuffle(images, key, nonces), nonces

    return protect


def some_images(count=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (count, 4, 6, 3), "uint8")


@pytest.mark.parametrize("parallel", [None, 2])
def test_nonces_are_drawn_for_each_batch_of_a_pipeline(parallel):
    key, images = Key.generate(), some_images()
    data = tf.data.Dataset.from_tensor_slices(images).repeat(2).batch(4)
    data = data.map(shuffle_batch(key), num_parallel_calls=parallel)
    assert data.element_spec[1].shape.as_list() == [None, 12]
    batches = list(data.as_numpy_iterator())
    assert len({bytes(nonce) for _, nonces in batches for nonce in nonces}) == 16
    opened = [unshuffle(shuffled, key, nonces) for shuffled, nonces in batches]
    np.testing.assert_array_equal(np.concatenate(opened), np.tile(images, (2, 1, 1, 1)))


def test_nonces_are_drawn_each_time_that_a_function_runs():
    draw = tf.function(lambda: (new_nonces(2), new_nonces(2)))
    drawn = np.concatenate([*draw(), *draw()])
    assert drawn.shape == (8, 12)
    assert len({bytes(nonce) for nonce in drawn}) == 8
    key, images = Key.generate(), some_images(2)  # arrays, though in a graph
    moved = tf.function(lambda: shuffle_batch(key)(images))
    for result, nonces in (moved(), moved()):
        np.testing.assert_array_equal(unshuffle(result, key, nonces), images)


def test_planted_nonces_that_are_traced_once_are_found(monkeypatch):
    monkeypatch.setattr(
        sys.modules[__name__], "new_nonces", lambda _: pictures._drawn_nonces(4)
    )
    data = tf.data.Dataset.from_tensor_slices(some_images()).batch(4)
    data = data.map(shuffle_batch(Key.generate()))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"comes twice.*before"):
        list(data)


def test_nonces_of_another_image_are_refused_across_calls():
    key, images, nonces = Key.generate(), some_images(), new_nonces(8)
    run = tf.function(lambda images, nonces: shuffle(images, key, nonces))
    shuffle(images[:2], key, nonces[:2])
    for same in (shuffle, lambda x, _, n: shuffle(tf.constant(x), key, n)):
        same(images[:2], key, nonces[:2])
    run(tf.constant(images[:2]), tf.constant(nonces[:2]))
    with pytest.raises(ValueError, match="another image"):
        shuffle(images[1:3], key, nonces[:2])
    with pytest.raises(ValueError, match="another image"):
        shuffle(images[1], key, bytes(nonces[0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="another image"):
        run(tf.constant(images[1:3]), tf.constant(nonces[:2]))
    shuffle(images[1:3], Key.generate(), nonces[:2])  # another key
    shuffle(images[1:3, :2], key, nonces[:2])  # another size, so another permutation
    masks = images[:2, ..., :1] > 99
    shuffle(masks, key, nonces[:2])  # a label for each pixel, in the image's order


def test_augmented_images_do_not_share_a_nonce():
    key, images = Key.generate(), some_images(4)
    data = tf.data.Dataset.from_tensor_slices((images, new_nonces(4))).repeat(2)
    data = data.enumerate().map(lambda i, x: (x[0] + tf.cast(i // 4, tf.uint8), x[1]))
    data = data.batch(4).map(lambda x, n: shuffle(x, key, n))
    with pytest.raises(tf.errors.InvalidArgumentError, match="another image"):
        list(data)


def test_the_oldest_nonces_are_forgotten():
    used = UsedNonces(limit=2)
    used.claim("kind", [b"a", b"b", b"c"], [b"1", b"2", b"3"])
    used.claim("kind", [b"a"], [b"other"])
    with pytest.raises(ValueError, match="comes twice"):
        used.claim("kind", [b"d", b"c"], [b"4", b"other"])
    used.claim("kind", [b"d"], [b"another than 4"])  # nothing was kept of the refusal


def test_a_key_is_not_drawn_while_a_function_is_traced():
    for draw in (Key.generate, Randomness().key, Randomness(seed=1).key):
        with pytest.raises(RuntimeError, match="while a function is traced"):
            tf.function(lambda draw=draw: tf.constant(0) if draw() else None)()
    inside = tf.function(
        lambda: tf.numpy_function(Randomness().key, [], tf.string, stateful=True)
    )
    assert inside().numpy() != inside().numpy()


def test_gradients_flow():
    key = Key.generate()
    x = tf.random.normal((2, 3, 3, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(shuffle(x, key) * shuffle(tf.square(x), key))
    np.testing.assert_allclose(tape.gradient(y, x), 3 * x**2, rtol=1e-5)


def test_arrays_are_not_changed():
    images = np.arange(48, dtype="uint8").reshape(1, 4, 4, 3)
    before = images.copy()
    result = shuffle(images, Key.generate())
    result[:] = 0
    np.testing.assert_array_equal(images, before)


def test_random_bytes_come_from_the_system(monkeypatch):
    monkeypatch.setattr(os, "urandom", lambda n: b"\x07" * n)
    assert Key.generate() == Key(b"\x07" * 32)
    assert (new_nonces(2) == 7).all()
