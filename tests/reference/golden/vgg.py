"""VGG-16's features by torchvision and LPIPS by its authors' package.

The weights are random; they are saved where the inputs say.
"""

import sys

import lpips
import numpy as np
import torch
import torchvision

inputs = np.load(sys.argv[1])
torch.manual_seed(int(inputs["seed"]))
network = torchvision.models.vgg16(weights=None)
state = {k: v for k, v in network.state_dict().items() if k.startswith("features.")}
torch.save(state, str(inputs["path"]))

distance = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
for name, weight in distance.net.named_parameters():
    number, kind = name.split(".")[-2:]
    weight.data = state[f"features.{number}.{kind}"]

pictures = torch.from_numpy(inputs["pictures"]).permute(0, 1, 4, 2, 3)  # -1 to 1
mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
outputs = {}
with torch.no_grad():
    x = ((pictures[0] + 1) / 2 - mean) / deviation
    for number, layer in enumerate(network.features):
        x = layer(x)
        if f"relu_{number}" in inputs["relus"]:
            outputs[f"relu_{number}"] = x.permute(0, 2, 3, 1).numpy()
    outputs["distances"] = distance(pictures[0], pictures[1])[:, 0, 0, 0].numpy()
np.savez(sys.argv[2], **outputs)
