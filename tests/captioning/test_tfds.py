"""TFDS' `coco_captions`, through its own mock: the same features, random content."""

import numpy as np
import pytest
import tensorflow as tf

from tfpriv.captioning import tfds_data

tfds = pytest.importorskip("tensorflow_datasets")


def example(number, captions):
    return {
        "image": np.full((20, 30, 3), number, "uint8"),
        "image/id": np.int64(number),
        "captions": {
            "id": np.array([i for i, _ in captions], "int64"),
            "text": np.array([t.encode() for _, t in captions], "object"),
        },
    }


def mocked(builder, split, **options):
    """Stands for `as_dataset`: the features are the builder's own, checked here."""
    spec = builder.info.features.get_tensor_spec()
    assert split == "val[:2]"
    used = {key: spec[key] for key in ("image", "image/id")}
    used["captions"] = {key: spec["captions"][key] for key in ("id", "text")}
    rows = [example(7, [(9, "last"), (2, "first")]), example(3, [(5, "only")])]
    return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=used)


def test_the_real_loading_code_on_mocked_files(tmp_path):
    with tfds.testing.mock_data(as_dataset_fn=mocked):
        data = tfds_data.load_tfds("val", image_size=16, data_dir=tmp_path, limit=2)
    assert data.ids == (3, 7)
    assert data.captions == (("only",), ("first", "last"))
    assert data.name == "tfds:val[:2]"
    assert data.arrays(16).shape == (2, 16, 16, 3)


def test_pictures_and_captions_come_in_order_of_their_ids():
    data = tfds_data.from_examples(
        [example(7, [(9, "last"), (2, " first ")]), example(3, [(5, "only")])], 16, "x"
    )
    assert data.ids == (3, 7)
    assert data.captions == (("only",), ("first", "last"))
    assert data.pictures[:, 0, 0, 0].tolist() == [3, 7]
    with pytest.raises(ValueError, match="another size"):
        data.arrays(32)


def test_errors():
    with pytest.raises(ValueError, match=r"no caption.*7"):
        tfds_data.from_examples([example(7, [])], 16, "x")
    with pytest.raises(ValueError, match="empty"):
        tfds_data.from_examples([], 16, "x")
    with pytest.raises(ValueError, match="'validation'"):
        tfds_data.load_tfds("validation", image_size=16)


def test_nothing_is_downloaded_unasked(tmp_path):
    with pytest.raises(FileNotFoundError, match="downloading is off"):
        tfds_data.load_tfds("val", image_size=16, data_dir=tmp_path, download=False)
