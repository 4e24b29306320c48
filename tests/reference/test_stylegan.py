"""StyleGAN's generator beside the PyTorch code of genforce/interfacegan.

That code is no package that an environment could hold, and is not copied here.
`golden/stylegan.json` has what it drew from weights that are built here: some pixels,
and statistics of the whole pictures. With
TFPRIV_GENFORCE=<checkout of the repository> every pixel is compared, and
TFPRIV_STORE_GOLDEN=1 stores the numbers anew.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "networks" / "stylegan"))

from foreign_files import write_torch
from random_weights import genforce_weights

from tfpriv.networks.stylegan import load_generator

STORED = Path(__file__).parent / "golden" / "stylegan.json"
TOLERANCE = 1e-4
PSIS = (0.7, 1.0)
PROBES = 24
RESOLUTIONS = [64, 256, pytest.param(1024, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=RESOLUTIONS)
def drawn(request, tmp_path_factory):
    """Weights on disk, latents, and our pictures of them: {case: picture}."""
    resolution = request.param
    path = tmp_path_factory.mktemp("weights") / f"{resolution}.pth"
    write_torch(path, genforce_weights(resolution))
    generator = load_generator(path)
    random = np.random.RandomState(1)
    z = random.standard_normal((1, 512)).astype(np.float32)
    wp = random.standard_normal((1, generator.num_layers, 512)).astype(np.float32)
    w = generator.mapping(z)
    pictures = {
        f"{name}/{psi}": np.asarray(
            generator.synthesis(generator.truncate(latents, psi, 8))
        )
        for psi in PSIS
        for name, latents in (("w", w), ("wp", wp))
    }
    inputs = {"weights": str(path), "resolution": resolution, "z": z, "wp": wp}
    return inputs, pictures


def summary(picture):
    """Some pixels, and the mean, deviation and least and greatest values of all."""
    size = picture.shape[1]
    places = np.random.RandomState(2).randint(size, size=(PROBES, 2))
    statistics = picture.mean(), picture.std(), picture.min(), picture.max()
    pixels = picture[0, places[:, 0], places[:, 1]]
    return np.array([*pixels.ravel(), *statistics], np.float64)


def test_equals_what_genforces_code_drew(drawn):
    inputs, pictures = drawn
    stored = json.loads(STORED.read_text())[str(inputs["resolution"])]
    assert stored.keys() == pictures.keys()
    for case, wanted in stored.items():
        np.testing.assert_allclose(
            summary(pictures[case]), wanted, rtol=0, atol=TOLERANCE, err_msg=case
        )


def test_no_two_cases_are_the_same(drawn):
    """Truncation that was left out, or W for W+, would be seen."""
    _, pictures = drawn
    found = [summary(picture) for picture in pictures.values()]
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            assert np.abs(one - other).max() > 100 * TOLERANCE


def test_equals_genforces_code(run_torch, drawn):
    checkout = os.environ.get("TFPRIV_GENFORCE")
    if not checkout:
        pytest.skip("TFPRIV_GENFORCE does not name a checkout of genforce/interfacegan")
    inputs, pictures = drawn
    golden = run_torch("stylegan", inputs | {"checkout": checkout})
    worst = max(np.abs(golden[case] - pictures[case]).max() for case in pictures)
    print(f"{inputs['resolution']} pixels: largest difference {worst:.1e}")
    if os.environ.get("TFPRIV_STORE_GOLDEN"):
        _store(inputs["resolution"], {case: golden[case] for case in pictures})
    assert worst < TOLERANCE


def _store(resolution, pictures):
    stored = json.loads(STORED.read_text()) if STORED.is_file() else {}
    stored[str(resolution)] = {
        case: [float(f"{value:.7g}") for value in summary(picture)]
        for case, picture in pictures.items()
    }
    STORED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
