"""Pictures by the generator of genforce/interfacegan, run from a checkout of it.

In: `checkout` (the repository's folder, with `models/`), `weights` (a `.pth` file in
its naming), `resolution`, latents `z` (n, 512) and `wp` (n, layers, 512).
Out: for psi 0.7 and 1, 8 layers: `w/<psi>` pictures of w = mapping(z), truncated;
`wp/<psi>` W+ itself at psi 1, and truncated at 0.7; channels last. And `mapped`, w.

The numbers that `test_stylegan.py` compares with were taken from here, and
TFPRIV_GENFORCE=<checkout> repeats the comparison.
"""

import sys

import numpy as np
import torch


def load(checkout, weights, resolution, psi):
    sys.path.insert(0, checkout)
    from models.stylegan_generator_model import StyleGANGeneratorModel

    model = StyleGANGeneratorModel(
        resolution=resolution, truncation_psi=psi, truncation_layers=8
    ).eval()
    arrays = torch.load(weights, weights_only=True)
    constants = {"truncation.truncation"}
    constants |= {name for name in model.state_dict() if name.endswith("blur.kernel")}
    own = {name: model.state_dict()[name] for name in constants}
    model.load_state_dict(own | arrays)
    return model


def main(inputs, outputs):
    with np.load(inputs) as given:
        given = {name: given[name] for name in given}
    results = {}
    for psi in (0.7, 1.0):
        model = load(
            str(given["checkout"]), str(given["weights"]), int(given["resolution"]), psi
        )
        with torch.no_grad():
            w = model.mapping(torch.tensor(given["z"]))
            results["mapped"] = w.numpy()
            for name, latents in (("w", w), ("wp", torch.tensor(given["wp"]))):
                pictures = model.synthesis(model.truncation(latents))
                results[f"{name}/{psi}"] = pictures.permute(0, 2, 3, 1).numpy()
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
