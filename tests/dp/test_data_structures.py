"""Data in every form that Keras' own `fit` takes."""

import keras
import numpy as np
import pytest
import scipy.sparse
import small
import tensorflow as tf

import tfpriv.dp as dp
from tfpriv.dp import clipping, feeding, fitting, validate
from tfpriv.dp.sources import as_arrays, as_source

X1 = np.arange(12, dtype="float32").reshape(6, 2) / 12
X2 = np.arange(18, dtype="float32").reshape(6, 3) / 18
Y = np.linspace(-1, 1, 6, dtype="float32")[:, np.newaxis]
WEIGHTS = np.linspace(0.5, 1, 6, dtype="float32")
LABELS = np.array([0, 1] * 3)


def plain():
    """A model with two inputs and two outputs, in lists; weights are set."""
    a, b = keras.Input((2,)), keras.Input((3,))
    joined = keras.layers.Concatenate()([a, b])
    outputs = [keras.layers.Dense(1, name=name)(joined) for name in ("p", "q")]
    model = keras.Model([a, b], outputs)
    model.set_weights([np.full_like(w, 0.1) for w in model.get_weights()])
    return model


def private(**options):
    return small.compiled(
        dp.make_private(plain()),
        small.sgd(0.1, l2_norm_clip=1e6, noise_multiplier=0.0),
        loss=["mse", "mae"],
        **options,
    )


@pytest.fixture(scope="module")
def shared():
    """One model for what needs no fresh one: its step is traced once."""
    return private()


def test_fit_takes_lists_and_does_what_keras_does():
    """With everybody in the batch, no noise and no clipping: Keras' own step."""
    model, expected = private(), plain()
    data = {"x": [X1, X2], "y": [Y, -Y], "sample_weight": [WEIGHTS, WEIGHTS**2]}
    expected.compile(keras.optimizers.SGD(0.1), ["mse", "mae"])
    for one in (model, expected):
        one.fit(**data, batch_size=6, verbose=0)
    for found, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sampler", [dp.PoissonSampler, dp.FixedSizeSampler])
def test_lists_in_samplers(sampler, shared):
    made = sampler(([X1, X2], [Y, -Y]), 6)
    assert feeding.signature(made) == feeding.signature(sampler(((X1, X2), (Y, -Y)), 6))


def test_every_way_into_one_model(shared):
    x, y = [X1, X2], [Y, -Y]
    shared.fit(x, y, sample_weight=WEIGHTS, batch_size=6, verbose=0)
    shared.fit(dp.PoissonSampler((tuple(x), y, [WEIGHTS] * 2), 3), verbose=0)
    history = shared.fit(x, y, batch_size=3, validation_data=dp.Public(x, y), verbose=0)
    public = shared.evaluate(dp.Public(x, y), verbose=0)
    assert history.history["val_loss"][-1] == pytest.approx(public[0])
    assert public == shared.evaluate(x, y, verbose=0)
    steps = len(shared.privacy.ledger)
    shared.train_on_batch(x, y)
    assert len(shared.privacy.ledger) == steps + 1


def test_clipped_gradients_of_lists_are_those_of_tuples(shared):
    options = {"loss": ["mse", "mse"], "l2_norm_clip": 1.0}
    of_lists, _ = dp.clipped_gradients(shared, [X1, X2], [Y, Y], **options)
    of_tuples, _ = dp.clipped_gradients(shared, (X1, X2), (Y, Y), **options)
    for a, b in zip(of_lists, of_tuples, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


NESTED = {
    "lists in a dict": {"a": [X1, X2], "b": X1},
    "dicts in a list": [{"a": X1}, {"b": X2}],
    "a tuple of a list": ([X1], X2),
}


@pytest.mark.parametrize("kind", NESTED)
def test_nested_structures_are_drawn_with_tuples_for_lists(kind):
    source = as_source((NESTED[kind], LABELS))
    wanted = keras.tree.lists_to_tuples(NESTED[kind])
    taken = source.take(np.array([5, 0]))
    keras.tree.assert_same_structure(taken["x"], wanted)
    for rows, array in zip(
        keras.tree.flatten(taken["x"]), keras.tree.flatten(wanted), strict=True
    ):
        np.testing.assert_array_equal(rows, array[[5, 0]])


def test_lists_in_items_and_groups():
    items = [([a, b], y) for a, b, y in zip(X1, X2, Y, strict=True)]
    sampler = dp.PoissonSampler(
        items, 2, groups=[0, 0, 1, 1, 2, 2], max_examples_per_group=2
    )
    spec = feeding.signature(sampler)["batch"]
    assert [s.shape.as_list() for s in spec["x"]] == [[None, 2, 2], [None, 2, 3]]


class Frame:
    """Stands in for a pandas `DataFrame` or `Series`, which is not installed here."""

    iloc = None

    def __init__(self, values):
        self._values = values
        self.shape, self.ndim = values.shape, values.ndim

    def __array__(self, dtype=None, copy=None):
        return self._values


@pytest.mark.parametrize(
    ("leaf", "wanted"),
    [
        (tf.constant(X1), X1),
        (tf.Variable(X1), X1),
        (Frame(X1), X1),
        (Frame(X1[:, 0]), X1[:, :1]),
        ([1, 0, 2], np.array([1, 0, 2])),
        ([0.5, 1], np.array([0.5, 1.0])),
        (LABELS.astype(object), LABELS),
        (X1.astype(object), X1),
        (np.array([True, False], object), np.array([True, False])),
    ],
)
def test_what_is_made_an_array(leaf, wanted):
    array = as_arrays(leaf)
    np.testing.assert_array_equal(array, wanted)
    assert array.dtype.kind == wanted.dtype.kind


def test_rows_of_equal_shape_in_an_object_array_are_stacked():
    rows = np.empty(6, object)
    rows[:] = list(X2)
    np.testing.assert_array_equal(as_arrays(rows), X2)


def ragged_rows():
    rows = np.empty(3, object)
    rows[:] = [np.ones(i) for i in range(3)]
    return rows


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (ragged_rows(), r"different shapes.*pad_sequences.*\(0,\), \(1,\)"),
        (tf.ragged.constant([[1], [1, 2]]), "dense.*to_tensor.*RaggedTensor"),
        (tf.sparse.from_dense(X1), "tf.sparse.to_dense"),
        (scipy.sparse.csr_matrix(X1), "toarray"),
        (np.array([1, "a"], object), "elements of types.*int.*str"),
        (np.array([1.0, None]), "elements of types.*NoneType"),
        (np.array(["2024-01-01"], "datetime64[D]"), r"differences.*datetime64"),
        ([[1.0, 2.0], [3.0, 4.0]], "np.asarray.*nested lists"),
        (object(), "elements of types.*object"),
    ],
)
def test_what_cannot_be_an_array_is_named(leaf, message):
    with pytest.raises(ValueError, match=message):
        as_arrays(leaf)


def test_object_labels_in_a_batch_of_the_users():
    batch = clipping.as_batch(X1, LABELS.astype(object))
    assert batch["y"].dtype == tf.int64


def spec_of(*data):
    return dp.PoissonSampler(data, 2).element_spec()


@pytest.mark.parametrize("dtype", [None, object])
def test_string_labels_are_told_from_texts(dtype):
    labels = np.array(list("ababab"), dtype)
    with pytest.raises(ValueError, match=r"StringLookup.*np\.unique.*y of dtype"):
        validate.check_numbers(spec_of(X1, labels))
    with pytest.raises(ValueError, match=r"TextVectorization.*x of dtype string"):
        validate.check_numbers(spec_of(labels, LABELS))


class Batches(keras.utils.PyDataset):
    """Batches of two."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(2 * index, 2 * index + 2)
        return [X1[rows], LABELS[rows]]


class InputsAlone(Batches):
    def __getitem__(self, index):
        return X1[index : index + 1]


def test_a_pydataset_of_inputs_alone():
    taken = as_source(InputsAlone()).take(np.array([2, 1]))
    np.testing.assert_array_equal(taken["x"], X1[[2, 1]])
    assert "y" not in taken


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (Batches(), {}, "batches of one example.*a batch of 2 examples"),
        ((X1, LABELS), {"load": print}, r"list\(zip\(x, y\)\).*tuple of 2"),
        ((["a", "b"], [0, 1]), {"load": print}, r"list\(zip\(x, y\)\)"),
        ({"x": X1}, {"load": print}, "list of items.*dict"),
        ([X1, X2], {}, r"several inputs.*\(\[x1, x2\], y\)"),
        ((None, LABELS), {}, "NoneType"),
        ((list(X1), LABELS), {}, "np.stack"),
    ],
)
def test_samplers_say_what_was_meant(data, options, message):
    with pytest.raises(ValueError, match=message):
        dp.PoissonSampler(data, 4, **options)


def test_items_of_different_shapes_are_named():
    source = as_source([np.ones(2), np.ones(3)])
    with pytest.raises(ValueError, match=r"in `load`.*\(2,\), \(3,\)"):
        source.take(np.array([0, 1]))


def test_streams_of_sparse_or_ragged_batches_are_refused():
    ragged = tf.ragged.constant([[1.0], [1.0, 2.0]])
    dataset = tf.data.Dataset.from_tensor_slices((ragged, [0, 1])).batch(2)
    with pytest.raises(ValueError, match=r"to_tensor.*RaggedTensorSpec"):
        dp.Stream(dataset, 1)


def test_a_stream_without_targets_but_with_weights():
    dataset = tf.data.Dataset.from_tensor_slices((X1, WEIGHTS)).batch(2)
    stream = dp.Stream(dataset.map(lambda x, w: (x, None, w)), 1)
    assert set(stream.element_spec()) == {"x", "sample_weight"}


class Items:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X1[index], LABELS[index]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (tf.data.Dataset.from_tensor_slices(X1), r"from_dataset.*dp\.Stream"),
        (Batches(), r"dp\.PoissonSampler\(dataset"),
        (Items(), r"load=.*Items"),
        ((a for a in [X1]), r"from_generator.*generator"),
        (scipy.sparse.csr_matrix(X1), "toarray"),
        (None, "NoneType"),
    ],
)
def test_fit_names_the_way_in(x, message, shared):
    with pytest.raises(ValueError, match=message):
        shared.fit(x)


def test_class_weight_of_several_outputs_is_refused(shared):
    for train in (shared.fit, shared.train_on_batch):
        with pytest.raises(ValueError, match="single output"):
            train([X1, X2], [LABELS, LABELS], class_weight={0: 0.5, 1: 1.0})


def test_class_weight_of_a_list_of_labels():
    model = small.private()
    found = fitting.weights_of_classes(model, [0, 1, 1], {0: 0.1, 1: 0.3})
    np.testing.assert_allclose(found, [0.1, 0.3, 0.3])
