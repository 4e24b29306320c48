"""What each weight is called in genforce's and NVlabs' files, and how it lies there."""

import dataclasses

import numpy as np

from tfpriv.networks.stylegan.synthesis import FIRST

# Axes of an array in a file, in the order in which ours has them.
AS_IS = None
TORCH_DENSE = (1, 0)
TORCH_CONV = (2, 3, 1, 0)
CHANNELS_FIRST = (0, 2, 3, 1)


@dataclasses.dataclass(frozen=True)
class Name:
    """A weight's name in a file, and its layout there.

    Args:
        text: The name.
        axes: Axes of the file's array in our order; `None`: as they are.
    """

    text: str
    axes: tuple[int, ...] | None = AS_IS

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in the file of what has a shape here."""
        if self.axes is None:
            return tuple(ours)
        return tuple(ours[self.axes.index(axis)] for axis in range(len(ours)))

    def to_ours(self, array: np.ndarray) -> np.ndarray:
        """The file's array, laid out as ours."""
        return array if self.axes is None else array.transpose(self.axes)

    def from_ours(self, array: np.ndarray) -> np.ndarray:
        """Our array, laid out as the file's."""
        return array if self.axes is None else array.transpose(np.argsort(self.axes))


def genforce(generator) -> dict:
    """genforce's names: dict from `Name` to the generator's variable."""
    found = {Name("truncation.w_avg"): generator.w_avg}
    for number, dense in enumerate(generator.mapping.layers):
        at = f"mapping.dense{number}"
        found |= _genforce_dense(at, dense)
    for number, layer in enumerate(generator.synthesis.layers):
        at = f"synthesis.layer{number}"
        if layer.form == "constant":
            found[Name(f"{at}.first_layer", CHANNELS_FIRST)] = layer.constant
        elif layer.form == "fused":
            found[Name(f"{at}.weight")] = layer.conv.kernel
        else:
            found[Name(f"{at}.conv.weight", TORCH_CONV)] = layer.conv.kernel
        at += ".epilogue"
        found[Name(f"{at}.apply_noise.noise", CHANNELS_FIRST)] = layer.noise
        found[Name(f"{at}.apply_noise.weight")] = layer.noise_weight
        found[Name(f"{at}.bias")] = layer.bias
        found |= _genforce_dense(f"{at}.style_mod.dense", layer.style)
    at = f"synthesis.output{len(generator.channels) - 1}"
    found[Name(f"{at}.conv.weight", TORCH_CONV)] = generator.synthesis.to_rgb.kernel
    found[Name(f"{at}.bias")] = generator.synthesis.to_rgb.bias
    return found


def _genforce_dense(at, dense):
    return {
        Name(f"{at}.linear.weight", TORCH_DENSE): dense.kernel,
        Name(f"{at}.wscale.bias"): dense.bias,
    }


def genforce_unused(generator) -> dict[str, tuple[int, ...]]:
    """Names in genforce's files that a finished network does not need: their shapes.

    Outputs of lower resolutions, from the time when it grew.
    """
    shapes = {"synthesis.lod": ()}
    for level, channels in enumerate(generator.channels[:-1]):
        shapes[f"synthesis.output{level}.conv.weight"] = (3, channels, 1, 1)
        shapes[f"synthesis.output{level}.bias"] = (3,)
    return shapes


def genforce_constants(generator) -> dict[str, tuple[int, ...]]:
    """Names of constants that PyTorch's own `state_dict` adds: their shapes."""
    shapes = {"truncation.truncation": (1, generator.num_layers, 1)}
    for number, layer in enumerate(generator.synthesis.layers):
        if layer.form in ("up", "fused"):
            shapes[f"synthesis.layer{number}.blur.kernel"] = (layer.channels, 1, 3, 3)
    return shapes


def nvlabs(generator) -> dict:
    """NVlabs' names: dict from `Name` to the generator's variable."""
    found = {Name("dlatent_avg"): generator.w_avg}
    for number, dense in enumerate(generator.mapping.layers):
        found |= _nvlabs_dense(f"Dense{number}", dense)
    for number, layer in enumerate(generator.synthesis.layers):
        size = f"{layer.resolution}x{layer.resolution}"
        if layer.form == "constant":
            at = f"{size}/Const"
            found[Name(f"{at}/const", CHANNELS_FIRST)] = layer.constant
        else:
            at = f"{size}/{_nvlabs_convolution(layer)}"
            found[Name(f"{at}/weight")] = layer.conv.kernel
        found[Name(f"noise{number}", CHANNELS_FIRST)] = layer.noise
        found[Name(f"{at}/Noise/weight")] = layer.noise_weight
        found[Name(f"{at}/bias")] = layer.bias
        found |= _nvlabs_dense(f"{at}/StyleMod", layer.style)
    found[Name("ToRGB_lod0/weight")] = generator.synthesis.to_rgb.kernel
    found[Name("ToRGB_lod0/bias")] = generator.synthesis.to_rgb.bias
    return found


def _nvlabs_convolution(layer):
    if layer.form != "same":
        return "Conv0_up"
    return "Conv" if layer.resolution == FIRST else "Conv1"


def _nvlabs_dense(at, dense):
    return {Name(f"{at}/weight"): dense.kernel, Name(f"{at}/bias"): dense.bias}


def nvlabs_unused(generator) -> dict[str, tuple[int, ...]]:
    """Names in NVlabs' files that a finished network does not need: their shapes."""
    shapes = {"lod": ()}
    for lod, channels in enumerate(generator.channels[-2::-1], 1):
        shapes[f"ToRGB_lod{lod}/weight"] = (1, 1, channels, 3)
        shapes[f"ToRGB_lod{lod}/bias"] = (3,)
    return shapes
