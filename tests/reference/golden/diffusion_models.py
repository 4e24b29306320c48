"""Tiny networks of diffusers and transformers, saved, and what they answer.

The inputs name a folder; each network is saved in one of its own there, and if
`halves` says so in half precision, too.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

inputs = np.load(sys.argv[1])
folder, configs = Path(str(inputs["folder"])), json.loads(str(inputs["configs"]))
torch.manual_seed(int(inputs["seed"]))
outputs = {}


def first(array):
    """Pictures with channels first."""
    return torch.from_numpy(inputs[array]).permute(0, 3, 1, 2)


def last(tensor):
    """An array with channels last."""
    return tensor.permute(0, 2, 3, 1).numpy()


def shaken(network):
    """With norms and biases that are not ones and zeros, either."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 1:
                weight += 0.2 * torch.randn_like(weight)
    return network.eval()


with torch.no_grad():
    for name, config in configs.items():
        if name.startswith("unet"):
            network = shaken(UNet2DConditionModel(**config))
            answer = network(
                first("noisy"),
                torch.from_numpy(inputs["times"]),
                torch.from_numpy(inputs["context"]),
            )
            outputs[name] = last(answer.sample)
        elif name.startswith("vae"):
            network = shaken(AutoencoderKL(**config))
            posterior = network.encode(first("pictures")).latent_dist
            outputs[f"{name}_mean"] = last(posterior.mean)
            outputs[f"{name}_log_variance"] = last(posterior.logvar)
            outputs[f"{name}_decoded"] = last(network.decode(first("latents")).sample)
        else:
            network = shaken(CLIPTextModel(CLIPTextConfig(**config)))
            tokens = torch.from_numpy(inputs["tokens"])
            outputs[name] = network(tokens).last_hidden_state.numpy()
        for half in (False, True) if inputs["halves"] else (False,):
            where = folder / (f"{name}_half" if half else name)
            (network.half() if half else network).save_pretrained(where)
np.savez(sys.argv[2], **outputs)
