"""genforce's StyleGAN, from a checkout that an environment variable names."""

import os
import sys

import torch

from competitors import worker, workload


def build(network, batch_size, form):
    """See `worker.main`. The form is `"picture"` or `"inversion"`."""
    sys.path.insert(0, os.environ[workload.GENFORCE])
    from models.stylegan_generator_model import StyleGANGeneratorModel

    model = StyleGANGeneratorModel(resolution=workload.STYLEGANS[network])
    synthesis = model.synthesis.eval().requires_grad_(False)
    wp = torch.tensor(workload.styles(network, batch_size))

    def picture():
        with torch.no_grad():
            return synthesis(wp).numpy()

    def inversion():
        latents = wp.clone().requires_grad_(True)
        loss = synthesis(latents).square().mean()
        return torch.autograd.grad(loss, latents)[0].numpy()

    # Outputs of lower resolutions are in the files but not in a picture.
    last = f"output{len(synthesis.channels) - 2}."
    weights = sum(
        parameter.numel()
        for name, parameter in synthesis.named_parameters()
        if name.startswith(("layer", last))
    )
    return (picture if form == "picture" else inversion), weights


if __name__ == "__main__":
    worker.main(build)
