"""Reads and writes the folders of diffusers: configurations and weights.

Weights come from safetensors, or by `tfpriv.support.weights` from PyTorch's files;
nothing in any of them is executed.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tfpriv.networks.diffusion import schedulers
from tfpriv.networks.diffusion.names import Weight, weights
from tfpriv.networks.diffusion.text_encoder import text_encoder, text_weights
from tfpriv.networks.diffusion.tokenizer import read_tokenizer
from tfpriv.networks.diffusion.unet import UNet
from tfpriv.networks.diffusion.vae import VAE
from tfpriv.support.files import is_plain_name, read_json
from tfpriv.support.outputs import atomic_path, new_directory, write_json
from tfpriv.support.weights import read_torch

INDEX, CONFIG = "model_index.json", "config.json"
SCHEDULER = "scheduler_config.json"
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
# In the order of preference; half precision takes half of the disk.
_ENDINGS = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
_OWN = (CONFIG, _STEMS[0] + _ENDINGS[0])  # as `write_network` names them
# What older files call the parts of the VAE's attention.
_OLDER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_JSON = ".json"
_POSITIONS = "embeddings.position_ids"  # the numbers from 0, in older files


def read_folder(folder: str | os.PathLike, dtype=None) -> dict:
    """The parts of an inpainter in a folder of diffusers.

    Args:
        folder: As `StableDiffusionInpainter.from_diffusers` takes it.
        dtype: Of weights and computations.

    Returns:
        The arguments of `StableDiffusionInpainter`.
    """
    folder = Path(folder)
    index = read_json(folder / INDEX)
    parts = {
        "scheduler": schedulers.from_config(
            read_json(folder / "scheduler" / SCHEDULER)
        ),
        "vae": read_vae(folder / "vae", dtype),
        "unet": read_unet(folder / "unet", dtype),
    }
    if (index.get("text_encoder") or [None])[0] is not None:
        parts["text_encoder"] = read_text_encoder(folder / "text_encoder", dtype)
        parts["tokenizer"] = read_tokenizer(folder / "tokenizer")
    return parts


def write_folder(
    folder: str | os.PathLike, *, unet, vae, scheduler, text_encoder, tokenizer
) -> None:
    """Writes what `read_folder` reads, whole or not at all.

    Args:
        folder: It must not exist yet, or be empty.
        unet: The UNet.
        vae: The VAE.
        scheduler: The scheduler.
        text_encoder: CLIP's, or None.
        tokenizer: For it, or None.

    Raises:
        FileExistsError: There is something in the folder.
    """
    text = text_encoder is not None
    index = {
        "_class_name": "StableDiffusionInpaintPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", type(scheduler).__name__],
        "text_encoder": ["transformers", "CLIPTextModel"] if text else [None, None],
        "tokenizer": ["transformers", "CLIPTokenizer"] if text else [None, None],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    with new_directory(folder) as work:
        write_json(work / INDEX, index)
        (work / "scheduler").mkdir()
        write_json(work / "scheduler" / SCHEDULER, scheduler.get_config())
        write_network(unet, work / "unet")
        write_network(vae, work / "vae")
        if text:
            write_network(text_encoder, work / "text_encoder")
            (work / "tokenizer").mkdir()
            tokenizer.save(work / "tokenizer")


def others_below(folder: str | os.PathLike) -> list[str]:
    """What `write_folder` does not write of an inpainter without a text encoder."""
    parts = [f"{part}/{name}" for part in ("unet", "vae") for name in _OWN]
    known = {INDEX, "scheduler", f"scheduler/{SCHEDULER}", "unet", "vae", *parts}
    below = Path(folder).rglob("*")
    return sorted({path.relative_to(folder).as_posix() for path in below} - known)


def read_unet(folder: str | os.PathLike, dtype=None) -> UNet:
    """The UNet in a folder of diffusers: `config.json` and weights."""
    network = UNet(read_json(Path(folder) / CONFIG), dtype=dtype)
    _assign(weights(network), _weights_files(folder))
    return network


def read_vae(folder: str | os.PathLike, dtype=None) -> VAE:
    """The VAE in a folder of diffusers: `config.json` and weights."""
    network = VAE(read_json(Path(folder) / CONFIG), dtype=dtype)
    _assign(weights(network), _weights_files(folder))
    return network


def read_text_encoder(folder: str | os.PathLike, dtype=None):
    """CLIP's text encoder in a folder of transformers: `config.json` and weights."""
    network = text_encoder(read_json(Path(folder) / CONFIG), dtype)
    _assign(text_weights(network), _weights_files(folder))
    return network


def write_network(network, folder: str | os.PathLike) -> None:
    """Writes `config.json` and weights as diffusers or transformers read them.

    Args:
        network: A `UNet`, a `VAE` or what `text_encoder` returned.
        folder: Created if need be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(network, UNet | VAE):
        kinds = {UNet: "UNet2DConditionModel", VAE: "AutoencoderKL"}
        notes = {"_class_name": kinds[type(network)]}
        found, stem = weights(network), _STEMS[0]
    else:
        notes = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"}
        found, stem = text_weights(network), _STEMS[1]
    write_json(folder / CONFIG, notes | network.config)
    with atomic_path(folder / f"{stem}.safetensors") as partial:
        arrays = {weight.name: weight.array() for weight in found}
        save_file(arrays, partial, metadata={"format": "pt"})


def _weights_files(folder) -> list[Path]:
    """The file of weights, or those that an index names, in the order of preference."""
    folder = Path(folder)
    names = [f"{stem}{ending}" for ending in _ENDINGS for stem in _STEMS]
    for name in names:
        if (folder / name).is_file():
            return [folder / name]
        stem, dot, ending = name.partition(".")
        # diffusers puts a variant's name behind `.index`, transformers before it.
        variant = ending.rpartition(".")[0]
        indices = {f"{name}.index{_JSON}"}
        if variant:
            kind = ending.rpartition(".")[2]
            indices.add(f"{stem}{dot}{kind}.index.{variant}{_JSON}")
        for index in sorted(indices):
            if (folder / index).is_file():
                return _shards(folder / index)
    raise FileNotFoundError(
        f"There are no weights; expected one of {names}, or the index of its parts. "
        f"Received: {folder}"
    )


def _shards(index: Path) -> list[Path]:
    """The files that an index names, all of its own folder."""
    parts = read_json(index).get("weight_map")
    names = list(parts.values()) if isinstance(parts, dict) else [None]
    wrong = [n for n in names if not isinstance(n, str) or not is_plain_name(n)]
    if wrong or not names:
        raise ValueError(
            "An index must name files of its folder for its weights. Received: "
            f"{wrong[:1] or parts} in {index}"
        )
    return [index.parent / name for name in sorted(set(names))]


def _assign(expected: Iterator[Weight], paths: list[Path]) -> None:
    """Gives each weight its array of the files; reads one at a time."""
    by_name = {weight.name: weight for weight in expected}
    seen: set[str] = set()
    for path in paths:
        seen |= _assign_some(by_name, path)
    missing = sorted(set(by_name) - seen)
    if missing:
        raise ValueError(
            f"The file lacks {len(missing)} weights of the network, {missing[0]!r} "
            f"the first. Received: {', '.join(map(str, paths))}"
        )


def _assign_some(by_name, path) -> set[str]:
    """Gives weights the arrays of a file; returns their names."""
    seen = set()
    for name, shape, read in _arrays(path):
        own = _own_name(name, by_name)
        if own is None:
            if name.endswith(_POSITIONS):
                continue
            raise ValueError(
                f"The file has a weight that the network lacks. Received: {name!r} in "
                f"{path}"
            )
        if own.shape != shape:
            raise ValueError(
                f"The weight {name!r} must have the shape {own.shape}. Received: "
                f"{shape} in {path}"
            )
        own.assign(_finite(read(), name, path))
        seen.add(own.name)
    return seen


def _own_name(name, by_name):
    """Our weight for a name of a file, in any of the spellings that there were."""
    if name in by_name:
        return by_name[name]
    *rest, part, kind = f".{name}".split(".")
    older = ".".join([*rest, _OLDER.get(part, part), kind])[1:]
    return by_name.get(older) or by_name.get(f"text_model.{name}")


def _finite(array, name, path):
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(
            f"Weights must be finite floating point numbers. Received: {name!r} in "
            f"{path}"
        )
    return array


def _arrays(path):
    """Yields name, shape and a function that reads the array."""
    if path.suffix == ".bin":
        for name, array in read_torch(path).items():
            yield name, array.shape, lambda array=array: array
        return
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():
                shape = tuple(file.get_slice(name).get_shape())
                yield name, shape, lambda name=name: file.get_tensor(name)
    except SafetensorError as error:
        raise ValueError(
            f"The file is no safetensors, or damaged ({error}). Received: {path}"
        ) from error
