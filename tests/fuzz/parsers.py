"""Every parser of tfpriv's own: a good file to begin with, and what it may raise."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mutate
import numpy as np
from PIL import Image

from tfpriv import files, images, weights
from tfpriv.accounting import Journal, Ledger, LedgerError, mechanisms
from tfpriv.captioning import coco, scenes
from tfpriv.editing import scores
from tfpriv.editing.boundary import Boundary
from tfpriv.faces import celeba
from tfpriv.inpainting.diffusion import loading, tokenizer
from tfpriv.models import load_model
from tfpriv.shuffling import Key, codec, data

sys.path.insert(0, str(Path(__file__).parents[1] / "editing" / "stylegan"))

import foreign_files

REFUSED = (ValueError, FileNotFoundError)  # as all of them document


class Parser(NamedTuple):
    """What is fuzzed.

    Attributes:
        name: Of it.
        make: Writes a good file into a folder, with what must lie beside it, and
            returns its path.
        read: From a path; it may raise what `refused` names.
        refused: Exceptions that are the documented answer to damage.
        change: Changes a file's bytes.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    refused: tuple[type[BaseException], ...] = REFUSED
    change: Callable[[np.random.Generator, bytes], bytes] = mutate.damaged


def parsers() -> list[Parser]:
    """All of them."""
    in_zip = {"change": mutate.in_a_zip}
    arrays = {"x": np.arange(6.0).reshape(2, 3), "n": np.array(["a", "bc"])}
    return [
        Parser("ledger", _ledger, _same_ledger, (LedgerError,)),
        Parser(
            "ledger, checksum right", _ledger, _stable_ledger, (LedgerError,)
        )._replace(change=mutate.in_a_ledger),
        Parser("journal", _journal, _journal_counts, (LedgerError,)),
        Parser("key", _key, _same_key),
        Parser("protected picture", _protected, _read_protected),
        Parser("picture: PNG", _picture(".png"), images.load),
        Parser("picture: JPEG", _picture(".jpg"), images.load),
        Parser("picture: WebP", _picture(".webp"), images.load),
        Parser("picture: TIFF", _picture(".tif"), images.load),
        Parser("JSON", _json, files.read_json),
        Parser("array", _array, files.read_array),
        Parser("arrays", _arrays(arrays), files.read_arrays),
        Parser("arrays, checksum right", _arrays(arrays), files.read_arrays, **in_zip),
        Parser("boundary", _boundary, Boundary.load),
        Parser("boundary, checksum right", _boundary, Boundary.load, **in_zip),
        Parser("scores", _scores, lambda path: scores.read_scores(path, "age")),
        Parser("weights of PyTorch", _torch(False), weights.read_torch),
        Parser("the same, checksum right", _torch(False), weights.read_torch, **in_zip),
        Parser("weights of PyTorch, old", _torch(True), weights.read_torch),
        Parser("pickle of arrays", _pickle, weights.read_pickle),
        Parser("COCO's captions", _coco, lambda path: coco.load_coco(path.parents[1])),
        *(
            Parser(f"CelebA's {name}", _celeba(name), _read_celeba)
            for name in (
                celeba.IDENTITIES,
                celeba.PARTITIONS,
                celeba.ATTRIBUTE_LIST,
                celeba.LANDMARKS,
                celeba.TRUTH,
            )
        ),
        Parser("CIFAR's own file", _cifar, lambda path: data.load(path.parent)),
        Parser("archive of pictures", _pictures, data.load),
        Parser("archive of pictures, checksum right", _pictures, data.load, **in_zip),
        Parser("tokenizer: vocabulary", _tokens("vocab.json"), _read_tokens),
        Parser("tokenizer: pairs", _tokens("merges.txt"), _read_tokens),
        Parser("tokenizer: settings", _tokens("tokenizer_config.json"), _read_tokens),
        Parser("VAE: configuration", _vae("config.json"), _read_vae),
        Parser("VAE: weights", _vae("diffusion_pytorch_model.safetensors"), _read_vae),
        Parser("Keras model", _keras, load_model),
        Parser("Keras model, checksum right", _keras, load_model, **in_zip),
    ]


# Ledger, journal, key.


def _spent():
    ledger = Ledger()
    train = mechanisms.poisson(0.01, 1.1, population=60_000, notes=("ä",))
    ledger.record(train, unit="image", purpose="training", count=1000)
    ledger.record(mechanisms.non_private("words"), unit="image", purpose="words")
    ledger.mark_not_for_release("seeded noise")
    ledger.speak_for("abc")
    return ledger


def _ledger(folder):
    _spent().save(folder / "ledger.json")
    return folder / "ledger.json"


def _same_ledger(path):
    """No damage may pass as another ledger."""
    assert Ledger.load(path) == _spent()


def _stable_ledger(path):
    """What was forged with care is read as it is written."""
    ledger = Ledger.load(path)
    assert Ledger.from_bytes(ledger.to_bytes()) == ledger


STEPS = 3


def _journal(folder):
    with Journal(folder / "journal") as journal:
        for _ in range(STEPS):
            step = mechanisms.poisson(0.01, 1.1, population=60_000)
            journal.spend(step, unit="image", purpose="training")
    return folder / "journal"


def _journal_counts(path):
    """Whole last lines may be gone; nothing that never was may be there."""
    with Journal(path) as journal:
        assert len(journal.ledger()) <= STEPS


BITS = bytes(range(32))


def _key(folder):
    Key(BITS).save(folder / "my.key", check_value=True)
    return folder / "my.key"


def _same_key(path):
    """With a check value, damage never passes as another key; without, it may."""
    key = Key.load(path)
    if b"check" in path.read_bytes():
        assert key == Key(BITS)


# Pictures.


def _drawn():
    rows, columns = np.mgrid[:24, :20]
    return np.stack([rows * 10, columns * 12, rows * columns % 256], -1).astype("uint8")


def _picture(ending):
    def make(folder):
        Image.fromarray(_drawn()).save(folder / f"a{ending}")
        return folder / f"a{ending}"

    return make


def _protected(folder):
    plain = codec.Picture(_drawn())
    (content,) = codec.protect([plain], Key(BITS), fixed=False, check_value=True)
    (folder / "a.png").write_bytes(content)
    return folder / "a.png"


def _read_protected(path):
    codec.unprotect([codec.read_protected(path, Key(BITS))], Key(BITS))


# Arrays.


def _json(folder):
    files.write_json(folder / "a.json", {"a": [1, 2.5, None], "b": {"c": "d"}})
    return folder / "a.json"


def _array(folder):
    np.save(folder / "a.npy", np.arange(12.0).reshape(3, 4))
    return folder / "a.npy"


def _arrays(arrays):
    def make(folder):
        np.savez(folder / "a.npz", **arrays)
        return folder / "a.npz"

    return make


def _boundary(folder):
    found = Boundary(
        np.arange(1.0, 9.0), "age", 0.5, generator="0" * 16, truncation=0.7
    )
    found.save(folder / "age.npz")
    return folder / "age.npz"


def _scores(folder):
    values = np.array([[0.5, 1.0], [np.nan, -2.0], [3.25, 0.0]])
    scores.write_scores(folder / "a.csv", ("age", "smile"), values)
    return folder / "a.csv"


def _torch(legacy):
    def make(folder):
        arrays = {"a": np.ones((2, 3), "<f4"), "b": np.arange(4)}
        foreign_files.write_torch(folder / "a.pth", arrays, legacy=legacy)
        return folder / "a.pth"

    return make


def _pickle(folder):
    content = {"a": np.arange(6.0), "b": [1, "two", b"three", None, (True, 4.5)]}
    (folder / "a.pkl").write_bytes(pickle.dumps(content, 4))
    return folder / "a.pkl"


# Data sets.


def _coco(folder):
    scenes.write_dataset(folder / "coco", 2, validation=1, size=16)
    return next((folder / "coco" / "annotations").glob("captions_train*.json"))


def _celeba(name):
    def make(folder):
        celeba.write_dataset(folder / "faces", 2, 2, size=16)
        return folder / "faces" / name

    return make


def _read_celeba(path):
    found = celeba.CelebA.load(path.parent)
    found.landmarks()
    celeba.read_truth(path.parent)


def _cifar(folder):
    record = bytes([3]) + bytes(3072)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / f"{name}.bin").write_bytes(record)
    (folder / "batches.meta.txt").write_text("a b c d\n")
    return folder / "data_batch_1.bin"


def _pictures(folder):
    content = {"class_names": np.array(["a", "b"])}
    for split in ("train", "test"):
        encoded = [images.encode(_square(), ".jpg") for _ in range(2)]
        content[f"{split}_bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
        content[f"{split}_offsets"] = np.cumsum([0, *map(len, encoded)])
        content[f"{split}_labels"] = np.array([0, 1], np.uint8)
    np.savez(folder / "a.npz", **content)
    return folder / "a.npz"


def _square():
    return np.resize(_drawn(), (data.SIDE, data.SIDE, 3))


# Networks.


def _tokens(name):
    def make(folder):
        words = ("a", "a</w>", "aa</w>", "!", "<|startoftext|>", "<|endoftext|>")
        vocabulary = {word: number for number, word in enumerate(words)}
        tokenizer.Tokenizer(vocabulary, ["a a</w>"], pad_token="!").save(folder)
        return folder / name

    return make


def _read_tokens(path):
    tokenizer.read_tokenizer(path.parent)(["a aa"])


def _vae(name):
    def make(folder):
        config = {"block_out_channels": [8], "norm_num_groups": 4, "sample_size": 8}
        loading.write_network(loading.VAE(config), folder / "vae")
        return folder / "vae" / name

    return make


def _read_vae(path):
    loading.read_vae(path.parent)


def _keras(folder):
    import keras

    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(folder / "a.keras")
    return folder / "a.keras"
