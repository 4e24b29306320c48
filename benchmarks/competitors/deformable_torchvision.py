"""torchvision's deformable convolution, channels first."""

import torch
from torchvision.ops import deform_conv2d

from competitors import worker, workload


def build(network, batch_size, form):
    """See `worker.main`. The form says what offsets, and whether gradients."""
    _, offsets, work = form.split("-")
    arrays = workload.layer(network, batch_size, whole=offsets == "whole")
    tensors = {
        "inputs": torch.tensor(arrays["inputs"]).movedim(-1, 1).contiguous(),
        "offsets": torch.tensor(arrays["offsets"]).movedim(-1, 1).contiguous(),
        "filters": torch.tensor(arrays["filters"]).permute(3, 2, 0, 1).contiguous(),
        "bias": torch.tensor(arrays["bias"]),
    }
    for tensor in tensors.values():
        tensor.requires_grad_(work == "training")

    def step():
        outputs = deform_conv2d(
            tensors["inputs"],
            tensors["offsets"],
            tensors["filters"],
            tensors["bias"],
            padding=1,
        )
        if work == "training":
            torch.autograd.grad(outputs.sum(), list(tensors.values()))

    return step, tensors["filters"].numel() + tensors["bias"].numel()


if __name__ == "__main__":
    worker.main(build)
