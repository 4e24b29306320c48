"""Deformable convolutions and their gradients by torchvision.

In: `cases`, a JSON list; case i says `strides`, `padding`, `dilation_rate` (pairs) and
whether it has `mask`; arrays `i/inputs`, `i/offsets`, `i/filters`, `i/bias`, `i/mask`
and `i/weights` (of the outputs in the loss), channels last.
Out: `i/outputs`, and the loss's gradients `i/d_inputs`, `i/d_offsets`, ...
"""

import json
import sys

import numpy as np
import torch
from torchvision.ops import deform_conv2d

TO_TORCH = {"filters": (3, 2, 0, 1), "bias": (0,)}
TO_KERAS = {"filters": (2, 3, 1, 0), "bias": (0,)}
CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def one_case(case, arrays):
    tensors = {
        name: torch.tensor(
            array.transpose(TO_TORCH.get(name, CHANNELS_FIRST)).copy(),
            requires_grad=name != "weights",
        )
        for name, array in arrays.items()
    }
    outputs = deform_conv2d(
        tensors["inputs"],
        tensors["offsets"],
        tensors["filters"],
        tensors["bias"],
        stride=case["strides"],
        padding=case["padding"],
        dilation=case["dilation_rate"],
        mask=tensors.get("mask"),
    )
    (outputs * tensors["weights"]).sum().backward()
    results = {"outputs": outputs.detach().numpy().transpose(CHANNELS_LAST)}
    for name, tensor in tensors.items():
        if tensor.grad is not None:
            order = TO_KERAS.get(name, CHANNELS_LAST)
            results[f"d_{name}"] = tensor.grad.numpy().transpose(order)
    return results


def main(inputs, outputs):
    results = {}
    with np.load(inputs) as arrays:
        for number, case in enumerate(json.loads(arrays["cases"].item())):
            prefix = f"{number}/"
            own = {
                name.removeprefix(prefix): arrays[name]
                for name in arrays
                if name.startswith(prefix)
            }
            for name, value in one_case(case, own).items():
                results[prefix + name] = value
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
