"""Weights, and what lies beside them: configurations and tokenizers."""

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import safetensors.numpy
from target import Target, as_json, is_inside, place, written

from tfpriv.editing.boundary import Boundary
from tfpriv.networks.diffusion import loading, schedulers
from tfpriv.networks.diffusion.text_encoder import text_encoder
from tfpriv.networks.diffusion.tokenizer import read_tokenizer
from tfpriv.networks.diffusion.unet import UNet
from tfpriv.networks.diffusion.vae import VAE
from tfpriv.support import weights
from tfpriv.support.files import parse_json
from tfpriv.support.training import restore_state, save_state

sys.path.insert(0, str(Path(__file__).parents[1] / "networks" / "stylegan"))
sys.path.insert(0, str(Path(__file__).parents[1] / "networks" / "diffusion"))

import foreign_files
import tiny_inpainter

_ARRAYS = {
    "a.weight": np.arange(6, dtype="f4").reshape(2, 3),
    "b": np.ones(4, "f2"),
    "c": np.array(3),
}
# What a file must never bring about, as Python's audit hooks call it.
_FORBIDDEN = ("os.", "subprocess.", "pickle.find_class", "socket.", "ctypes.")
_HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk")


class _Watch:
    """Notes forbidden events while a file is read."""

    def __init__(self):
        self.active, self.seen = False, []
        sys.addaudithook(self._event)

    def _event(self, event, arguments):
        if self.active and event.startswith(_FORBIDDEN) and event not in _HARMLESS:
            self.seen.append(event)

    def run(self, read, *arguments):
        """Calls a reader; `AssertionError` if it did more than read."""
        self.active, self.seen = True, []
        try:
            return read(*arguments)
        finally:
            self.active = False
            assert not self.seen, f"the file was executed: {self.seen}"


WATCH = _Watch()


class _Command:
    def __reduce__(self):
        import os

        return os.system, ("true",)


COMMAND = pickle.dumps(_Command())


def _torch(legacy):
    path = place("seed.pth")
    foreign_files.write_torch(path, _ARRAYS, legacy=legacy)
    return path.read_bytes()


def _read_torch(data):
    WATCH.run(weights.read_torch, written("a.pth", data))


def _members():
    with zipfile.ZipFile(io.BytesIO(_torch(False))) as archive:
        return [archive.read("archive/data.pkl")]


def _read_member(data):
    """The pickle of an archive whose checksums are right."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_torch(False))) as archive,
        zipfile.ZipFile(stream, "w") as other,
    ):
        for name in archive.namelist():
            changed = name.endswith("data.pkl")
            other.writestr(name, data if changed else archive.read(name))
    _read_torch(stream.getvalue())


def _pickles():
    path = place("seed.pkl")
    foreign_files.write_nvlabs(path, {"": {"lod": np.float32(0)}})
    plain = [pickle.dumps([_ARRAYS, (1, "two", b"3")], p) for p in (2, 4, 5)]
    return [path.read_bytes(), *plain, COMMAND]


def _read_pickle(data):
    path = written("a.pkl", data)
    WATCH.run(
        weights.read_pickle,
        path,
        ("dnnlib.tflib.network.Network",),
        ("dnnlib.util.EasyDict",),
    )


def _safetensors():
    arrays = {name: _ARRAYS[name] for name in ("a.weight", "b")}
    return [safetensors.numpy.save(arrays), safetensors.numpy.save(arrays, {"a": "b"})]


def _read_safetensors(data):
    for _, shape, read in loading._arrays(written("a.safetensors", data)):
        assert read().shape == shape, "another shape than stated"


def _read_index(data):
    path = written("weights/a.safetensors.index.json", data)
    for part in loading._shards(path):
        assert is_inside(part, path.parent), "a file of another folder"


def _scheduler_configs():
    kinds = ("DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler")
    configs = []
    for kind in kinds:
        config = getattr(schedulers, kind)().get_config()
        configs.append(as_json(config | {"_class_name": kind}))
    return configs


def _read_scheduler(data):
    config = parse_json(data)
    if not isinstance(config, dict):
        raise ValueError("read_json lets no other pass")
    schedulers.from_config(config)


_SMALL = 64  # larger networks take too long to build


def _network(name, kind, config):
    """A target: the configuration of a network, which is built."""

    def read(data):
        found = parse_json(data)
        if not isinstance(found, dict):
            raise ValueError("read_json lets no other pass")
        if not all(abs(number) <= _SMALL for number in _numbers(found)):
            raise ValueError("too large to be built here")
        kind(config | found)  # by default, networks are large

    return Target(f"config of a {name}", lambda: [as_json(config)], read)


def _numbers(content):
    if isinstance(content, dict | list):
        inner = content.values() if isinstance(content, dict) else content
        return [number for value in inner for number in _numbers(value)]
    return [content] if isinstance(content, int | float) else []


_VOCABULARY = {
    token: number
    for number, token in enumerate(
        ["a", "b", "ab", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    )
}
_SETTINGS = {"model_max_length": 77, "pad_token": {"content": "<|endoftext|>"}}
_WHOLE = {"model": {"vocab": _VOCABULARY, "merges": ["a b</w>", ["a", "b"]]}}
_TOKENIZER = {
    "vocab.json": as_json(_VOCABULARY),
    "merges.txt": b"#version: 0.2\na b</w>\n",
    "tokenizer_config.json": as_json(_SETTINGS),
}


def _tokenizer(name, content):
    """A target: one file of a tokenizer's folder, the others as they should be."""
    files = {name: content} if name == "tokenizer.json" else _TOKENIZER

    def read(data):
        for other, good in files.items():
            path = written(f"{name}-folder/{other}", data if other == name else good)
        read_tokenizer(path.parent)(["ab a"])

    return Target(f"tokenizer: {name}", lambda: [content], read)


def _states():
    path = place("seed.state")
    save_state(path, [np.arange(3.0)], {"recipe": 1}, 7)
    return [path.read_bytes()]


class _Variable:
    """Takes what a variable of three numbers takes."""

    def assign(self, value):
        if np.shape(value) != (3,):
            raise ValueError("another shape")


def _read_state(data):
    done = restore_state(written("a.state", data), [_Variable()], {"recipe": 1})
    assert type(done) is int, "steps that are no number"


def _boundaries():
    boundary = Boundary(np.arange(1.0, 5.0), "age", 0.5, generator="g", truncation=0.7)
    path = place("seed.npz")
    boundary.save(path)
    return [path.read_bytes()]


def _read_boundary(data):
    boundary = Boundary.load(written("b.npz", data))
    assert np.isfinite(boundary.score(np.zeros_like(boundary.normal)))


def _boundary_marks():
    with np.load(io.BytesIO(_boundaries()[0])) as arrays:
        return [str(arrays["marks"]).encode()]


def _read_marks(data):
    stream = io.BytesIO()
    np.savez(stream, normal=np.ones(4), marks=np.array(data.decode()))
    boundary = Boundary.load(written("b.npz", stream.getvalue()))
    assert isinstance(boundary.attribute, str), "a name that is no text"
    assert boundary.generator is None or isinstance(boundary.generator, str)
    json.dumps({"attribute": boundary.attribute, "intercept": boundary.intercept})


def _interfacegan():
    path = place("seed.npy")
    Boundary(np.arange(1.0, 5.0), "age").save(path)
    return [path.read_bytes()]


def _read_interfacegan(data):
    Boundary.load(written("b.npy", data))


TARGETS = (
    Target("torch archive", lambda: [_torch(False), _torch(True)], _read_torch),
    Target("torch archive: its pickle", _members, _read_member),
    Target("pickle", _pickles, _read_pickle),
    Target("safetensors", _safetensors, _read_safetensors),
    Target(
        "index of weights",
        lambda: [as_json({"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}})],
        _read_index,
    ),
    Target("scheduler's config", _scheduler_configs, _read_scheduler),
    _network("UNet", UNet, tiny_inpainter.UNET),
    _network("VAE", VAE, tiny_inpainter.VAE),
    _network("text encoder", text_encoder, tiny_inpainter.TEXT),
    *(_tokenizer(name, content) for name, content in _TOKENIZER.items()),
    _tokenizer("tokenizer.json", as_json(_WHOLE)),
    Target("state of a training", _states, _read_state),
    Target("boundary", _boundaries, _read_boundary),
    Target("boundary: its marks", _boundary_marks, _read_marks),
    Target("boundary of InterFaceGAN", _interfacegan, _read_interfacegan),
)
