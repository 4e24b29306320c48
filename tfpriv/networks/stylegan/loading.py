"""Generators from files: genforce's, NVlabs' and our own."""

import os
import re
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import safetensors
import safetensors.numpy

from tfpriv.networks.stylegan import names
from tfpriv.networks.stylegan.generator import FUSED_FROM, RESOLUTIONS, StyleGAN
from tfpriv.networks.stylegan.synthesis import FIRST
from tfpriv.support import weights
from tfpriv.support.models import load_model
from tfpriv.support.outputs import atomic_file, atomic_path

ENDINGS = (".pth", ".pt", ".pkl", ".keras", ".weights.h5", ".safetensors")
_NETWORK = "dnnlib.tflib.network.Network"
_DICTIONARY = "dnnlib.util.EasyDict"
# What NVlabs' code can vary and ours does not.
_FIXED = {
    "use_wscale": True,
    "use_styles": True,
    "use_noise": True,
    "use_pixel_norm": False,
    "use_instance_norm": True,
    "const_input_layer": True,
    "normalize_latents": True,
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "mapping_lrmul": 0.01,
    "blur_filter": [1, 2, 1],
    "label_size": 0,
    "num_channels": 3,
}
_FUSED_FROM = "fused_from"  # attribute of our .weights.h5; Keras writes no arguments
_NEVER = 2 * RESOLUTIONS[-1]  # a resolution that no generator reaches
_FUSED_SCALES = {"auto": FUSED_FROM, True: FIRST, False: _NEVER}  # NVlabs' option
_SHOWN = 6  # names of one kind in an error


def load_generator(path: str | os.PathLike) -> StyleGAN:
    """Loads a StyleGAN generator; its file says how large it is.

    Args:
        path: By its ending: genforce's `.pth` (`stylegan_ffhq.pth`), NVlabs' `.pkl`
            (the long-term average of its three networks), or what `save_generator`
            wrote: `.keras`, `.weights.h5`, `.safetensors`.

    Returns:
        The generator. Nothing in a file is executed: of pickles, arrays are read and
        plain values.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another ending; a damaged file; a pickle that asks for code; weights
            that are missing, too many, of a wrong shape or not finite, by their names.
    """
    path = Path(path)
    ending = _ending(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no generator here. Received: {path}")
    if ending == ".keras":
        return _load_keras(path)
    if ending == ".weights.h5":
        return _load_h5(path)
    if ending == ".pkl":
        return _from_nvlabs(path)
    if ending == ".safetensors":
        return _from_genforce(_read_safetensors(path), path, ours=True)
    return _from_genforce(weights.read_torch(path), path, ours=False)


def save_generator(generator: StyleGAN, path: str | os.PathLike) -> None:
    """Writes a generator, whole or not at all.

    Args:
        generator: The generator.
        path: Ends in `.keras`, `.weights.h5` or `.safetensors`, whose names are
            genforce's.

    Raises:
        ValueError: For another ending.
    """
    path = Path(path)
    ending = _ending(path)
    if ending not in (".keras", ".weights.h5", ".safetensors"):
        raise ValueError(
            "Generators are written as .keras, .weights.h5 or .safetensors. "
            f"Received: {path}"
        )
    if ending == ".safetensors":
        arrays = {
            name.text: np.ascontiguousarray(name.from_ours(np.asarray(variable)))
            for name, variable in names.genforce(generator).items()
        }
        content = safetensors.numpy.save(arrays)
        with atomic_file(path) as file:
            file.write(content)
        return
    with atomic_path(path) as partial:
        if ending == ".keras":
            generator.save(partial)
        else:
            generator.save_weights(partial)
            with h5py.File(partial, "a") as file:
                file.attrs[_FUSED_FROM] = generator.fused_from


def _ending(path):
    for ending in ENDINGS:
        if path.name.endswith(ending):
            return ending
    raise ValueError(
        f"A generator's file ends in one of {', '.join(ENDINGS)}. Received: {path}"
    )


# --- Our own files ---


def _load_keras(path):
    return load_model(path, "a generator of tfpriv", StyleGAN)


def _load_h5(path):
    try:
        generator = StyleGAN(**_h5_arguments(path))
        generator.load_weights(path)
    except Exception as error:
        raise ValueError(
            "The weights cannot be loaded: damaged, or not those of a generator. "
            f"Received: {path} ({type(error).__name__}: {error})"
        ) from error
    return generator


def _h5_arguments(path):
    """The generator's arguments, from the shapes of its styles."""
    with h5py.File(path) as file:
        layers = file["layers/synthesis/layers"]
        styles = [
            layers[_numbered_name("styled_layer", number)]["style/vars/0"]
            for number in range(len(layers))
        ]
        return {
            "resolution": FIRST << (len(styles) // 2 - 1),
            "latent_dim": int(styles[0].shape[0]),
            "channels": tuple(int(style.shape[1]) // 2 for style in styles[::2]),
            "fused_from": int(file.attrs.get(_FUSED_FROM, FUSED_FROM)),
            "mapping_layers": len(file["layers/mapping/layers"]),
        }


def _numbered_name(name, number):
    """As Keras names the members of a list."""
    return f"{name}_{number}" if number else name


# --- genforce's names ---


def _read_safetensors(path):
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"The file is no safetensors file, or damaged ({error}). Received: {path}"
        ) from error


def _from_genforce(arrays, path, ours):
    generator = StyleGAN(**_genforce_arguments(arrays, path))
    unused = names.genforce_unused(generator)
    constants = names.genforce_constants(generator)
    _assign(
        generator,
        names.genforce(generator),
        arrays,
        required={} if ours else unused,
        optional=unused | constants,
        path=path,
    )
    return generator


def _genforce_arguments(arrays, path):
    """The generator's arguments, as most of the weights would have them."""
    count = _numbered(arrays, r"synthesis\.layer(\d+)\.")
    levels = range(_levels(count, path))
    channels = []
    for level in levels:
        votes = Counter()
        for layer in (2 * level, 2 * level + 1):
            at = f"synthesis.layer{layer}"
            votes += _votes(arrays, f"{at}.epilogue.bias", 0)
            votes += _votes(arrays, f"{at}.epilogue.apply_noise.weight", 0)
            votes += _votes(arrays, f"{at}.conv.weight", 0)
        channels.append(_most(votes, path))
    votes = Counter()
    for dense in range(_numbered(arrays, r"mapping\.dense(\d+)\.")):
        votes += _votes(arrays, f"mapping.dense{dense}.wscale.bias", 0)
    votes += _votes(arrays, "truncation.w_avg", 0)
    return {
        "resolution": FIRST << (len(levels) - 1),
        "latent_dim": _most(votes, path),
        "channels": tuple(channels),
        "fused_from": _fused_from(arrays, levels),
        "mapping_layers": _numbered(arrays, r"mapping\.dense(\d+)\."),
    }


def _fused_from(arrays, levels):
    """The resolution that most kernels' names agree with, if need be the published."""

    def agreeing(resolution):
        return sum(
            f"synthesis.layer{2 * level}"
            + (".weight" if FIRST << level >= resolution else ".conv.weight")
            in arrays
            for level in levels
        )

    return max((FUSED_FROM, *RESOLUTIONS, _NEVER), key=agreeing)


# --- NVlabs' pickles ---


def _from_nvlabs(path):
    found = weights.read_pickle(path, records=(_NETWORK,), dictionaries=(_DICTIONARY,))
    network = found[-1] if isinstance(found, tuple | list) and found else found
    try:
        parts = {"": network.state} | {
            name: part.state for name, part in network.state["components"].items()
        }
        if not {"mapping", "synthesis"} <= set(parts):
            raise KeyError("mapping, synthesis")
        arrays, options = {}, {}
        for part in parts.values():
            options |= part["static_kwargs"]
            arrays |= {
                name: np.asarray(value, np.float32) for name, value in part["variables"]
            }
        fused_from = _FUSED_SCALES[options.get("fused_scale", "auto")]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "The pickle holds no generator of NVlabs' StyleGAN: a tuple (G, D, Gs) of "
            f"networks with a mapping and a synthesis. Received: {path} ({error})"
        ) from error
    for name, value in _FIXED.items():
        if options.get(name, value) != value:
            raise ValueError(
                f"Only generators with {name}={value!r} are supported. "
                f"Received: {name}={options[name]!r} in {path}"
            )
    generator = StyleGAN(**_nvlabs_arguments(arrays, fused_from, path))
    unused = names.nvlabs_unused(generator)
    wanted = names.nvlabs(generator)
    _assign(generator, wanted, arrays, required=unused, optional=unused, path=path)
    return generator


def _nvlabs_arguments(arrays, fused_from, path):
    """The generator's arguments, as most of the weights would have them."""
    levels = range(_levels(_numbered(arrays, r"noise(\d+)$"), path))
    channels = []
    for level in levels:
        votes = Counter()
        for name in ("Const", "Conv", "Conv0_up", "Conv1"):
            at = f"{FIRST << level}x{FIRST << level}/{name}"
            votes += _votes(arrays, f"{at}/bias", 0)
            votes += _votes(arrays, f"{at}/Noise/weight", 0)
            votes += _votes(arrays, f"{at}/weight", 3)
        channels.append(_most(votes, path))
    depth = _numbered(arrays, r"Dense(\d+)/")
    votes = _votes(arrays, "dlatent_avg", 0)
    for dense in range(depth):
        votes += _votes(arrays, f"Dense{dense}/bias", 0)
    return {
        "resolution": FIRST << (len(levels) - 1),
        "latent_dim": _most(votes, path),
        "channels": tuple(channels),
        "fused_from": fused_from,
        "mapping_layers": depth,
    }


# --- What both share ---


def _numbered(arrays, pattern):
    """One more than the highest number that names have at a place.

    At most as many as there are names: a number in a file may be anything.
    """
    found = [re.match(pattern, name) for name in arrays]
    highest = max((int(match[1]) for match in found if match), default=-1)
    return min(highest + 1, len(arrays))


def _levels(layers, path):
    levels = (layers + 1) // 2
    if not 2 <= levels <= len(RESOLUTIONS) + 1:
        raise ValueError(
            "The file holds no StyleGAN generator of 8 to 1024 pixels: of its "
            f"synthesis there are {layers} layers. Received: {path}"
        )
    return levels


def _votes(arrays, name, axis):
    """What a weight says about the size of an axis, if it is there."""
    shape = np.shape(arrays[name]) if name in arrays else ()
    return Counter(shape[axis : axis + 1])


def _most(votes, path):
    if not votes:
        raise ValueError(f"The file holds no StyleGAN generator. Received: {path}")
    return votes.most_common(1)[0][0]


def _assign(generator, wanted, arrays, required, optional, path):
    """Sets the generator's weights, or says by name what is wrong with the file's."""
    shapes = {name.text: name.shape(v.shape) for name, v in wanted.items()}
    missing = [name for name in shapes | required if name not in arrays]
    extra = [name for name in arrays if name not in shapes | optional]
    wrong = [
        f"{name}: expected {shape}, received {arrays[name].shape}"
        for name, shape in (shapes | optional).items()
        if name in arrays and arrays[name].shape != shape
    ]
    bad = [
        name
        for name in shapes
        if name in arrays and not np.isfinite(arrays[name]).all()
    ]
    faults = {"missing": missing, "extra": extra, "misshapen": wrong, "not finite": bad}
    told = [f"{kind}: {_listed(found)}" for kind, found in faults.items() if found]
    if told:
        raise ValueError(
            "These are not the weights of a StyleGAN generator of "
            f"{generator.resolution} pixels. {'; '.join(told)}. Received: {path}"
        )
    for lod in ("synthesis.lod", "lod"):
        if lod in arrays and float(arrays[lod]) != 0:
            raise ValueError(
                "Only finished generators are supported, whose level of detail (lod) "
                f"is 0. Received: {lod}={float(arrays[lod])} in {path}"
            )
    for name, variable in wanted.items():
        variable.assign(np.asarray(name.to_ours(arrays[name.text]), np.float32))


def _listed(found):
    rest = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + rest
