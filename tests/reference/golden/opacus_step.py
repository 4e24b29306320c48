"""One noise-free DP-SGD step by Opacus 1.6.0 on the same networks in PyTorch.

In and out as in `dp_step.py`: Keras' layer names, channels last and Keras' layout of
weights, carried over here. Knows the layers and losses named in LAYERS and LOSSES.
"""

import json
import sys

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn


class ChannelsLastFlatten(nn.Module):
    def forward(self, x):
        return x.movedim(1, -1).flatten(1)


class MeanOverTime(nn.Module):
    def forward(self, x):
        return x.mean(dim=1)


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
LAYERS = {
    "Dense": lambda c, w: [nn.Linear(*w[0].shape)],
    "Conv2D": lambda c, w: [
        nn.Conv2d(
            w[0].shape[2], c["filters"], c["kernel_size"], padding=c.get("padding", 0)
        )
    ],
    "GroupNormalization": lambda c, w: [
        nn.GroupNorm(c["groups"], len(w[0]), eps=c["epsilon"])
    ],
    "LayerNormalization": lambda c, w: [nn.LayerNorm(len(w[0]), eps=c["epsilon"])],
    "Embedding": lambda c, w: [nn.Embedding(c["input_dim"], c["output_dim"])],
    "MaxPooling2D": lambda c, w: [nn.MaxPool2d(2)],
    "Flatten": lambda c, w: [ChannelsLastFlatten()],
    "GlobalAveragePooling1D": lambda c, w: [MeanOverTime()],
}
LOSSES = {
    "SparseCategoricalCrossentropy": nn.CrossEntropyLoss(reduction="none"),
    "MeanSquaredError": nn.MSELoss(reduction="none"),
}
# How many weights a Keras layer has; none where it is not named.
WEIGHTS = {
    "Dense": 2,
    "Conv2D": 2,
    "GroupNormalization": 2,
    "LayerNormalization": 2,
    "Embedding": 1,
}
# Keras' axes in the order that PyTorch wants them, and back.
TO_TORCH = {"Dense": (1, 0), "Conv2D": (3, 2, 0, 1)}
TO_KERAS = {"Dense": (1, 0), "Conv2D": (2, 3, 1, 0)}


def build(case, weights):
    """The network with those weights, and the layer that each weight came from."""
    modules, owners, left = [], [], list(weights)
    for name, config in case["layers"]:
        count = WEIGHTS.get(name, 0)
        own, left = left[:count], left[count:]
        modules += LAYERS[name](config, own)
        for parameter, value in zip(modules[-1].parameters(), own, strict=True):
            if value.ndim > 1:
                value = value.transpose(TO_TORCH.get(name, range(value.ndim)))
            parameter.data = torch.tensor(value)
            owners.append(name)
        if config.get("activation"):
            modules.append(ACTIVATIONS[config["activation"]]())
    return nn.Sequential(*modules), owners


def in_keras_layout(tensor, owner):
    value = tensor.detach().numpy()
    if value.ndim > 1 and owner in TO_KERAS:
        return value.transpose(TO_KERAS[owner])
    return value


def one_case(case, x, y, weights):
    module, owners = build(case, weights)
    module = GradSampleModule(module, loss_reduction="mean")
    optimizer = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=case["learning_rate"]),
        noise_multiplier=0.0,
        max_grad_norm=case["l2_norm_clip"],
        expected_batch_size=len(x),
        loss_reduction="mean",
    )
    x, y = torch.tensor(x), torch.tensor(y)
    if x.ndim == 4:
        # Opacus computes strides from shapes, and is wrong on a mere view.
        x = x.movedim(-1, 1).contiguous()
    name, _ = case["loss"]
    losses = LOSSES[name](module(x), y.long() if name.startswith("Sparse") else y)
    losses.reshape(len(x), -1).mean(dim=1).mean().backward()

    parameters = list(module.parameters())
    rows = [parameter.grad_sample.flatten(1) for parameter in parameters]
    results = {"norms": torch.cat(rows, dim=1).norm(dim=1).numpy()}
    optimizer.step()
    for index, (parameter, owner) in enumerate(zip(parameters, owners, strict=True)):
        results[f"g{index}"] = in_keras_layout(parameter.summed_grad, owner)
        results[f"v{index}"] = in_keras_layout(parameter, owner)
    return results


def main(inputs, outputs):
    results = {}
    with np.load(inputs) as arrays:
        for number, case in enumerate(json.loads(arrays["cases"].item())):
            count = sum(name.startswith(f"{number}/w") for name in arrays)
            weights = [arrays[f"{number}/w{index}"] for index in range(count)]
            x, y = arrays[f"{number}/x"], arrays[f"{number}/y"]
            for name, value in one_case(case, x, y, weights).items():
                results[f"{number}/{name}"] = value
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
