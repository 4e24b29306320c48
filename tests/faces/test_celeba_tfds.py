"""TFDS' `celeb_a`, through its own mock, comes out in CelebA's layout."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfpriv.faces import CelebA, celeba_tfds
from tfpriv.faces.celeba import NAMES, POINTS

tfds = pytest.importorskip("tensorflow_datasets")


def picture(value):
    file = io.BytesIO()
    Image.new("RGB", (178, 218), (value, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def example(number):
    return {
        "image": picture(number),
        "identity": {"Identity_No": np.int64(100 + number // 2)},
        "attributes": {name: name == NAMES[number] for name in NAMES},
        "landmarks": {name: np.int64(number + i) for i, name in enumerate(POINTS)},
    }


def mocked(builder, split, **options):
    """Two examples of each split; the features are the builder's own."""
    spec = dict(builder.info.features.get_tensor_spec())
    assert set(spec) == {"image", "identity", "attributes", "landmarks"}
    spec["image"] = tf.TensorSpec((), tf.string)  # not decoded
    assert "image" in options["decoders"]
    first = 2 * celeba_tfds.SPLITS.index(split.removesuffix("[:2]"))
    rows = [example(first), example(first + 1)]
    found = tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=spec)
    return found.apply(tf.data.experimental.assert_cardinality(2))


def test_the_folder_is_celebas(tmp_path):
    with tfds.testing.mock_data(as_dataset_fn=mocked):
        folder = celeba_tfds.export_tfds(tmp_path / "out", data_dir=tmp_path, limit=2)
    celeba = CelebA.load(folder)
    assert celeba.identity.tolist() == [100, 100, 101, 101, 102, 102]
    assert celeba.partition.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(celeba.attributes[:, :6], np.eye(6, dtype=bool))
    assert celeba.landmarks()[3].tolist() == np.reshape(range(3, 13), (5, 2)).tolist()
    for number, path in enumerate(celeba.paths()):
        assert path.read_bytes() == picture(number)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="has not prepared"):
        celeba_tfds.export_tfds(tmp_path / "out", data_dir=tmp_path, download=False)
