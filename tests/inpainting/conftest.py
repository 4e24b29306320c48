"""Helpers, and files as PyTorch writes them."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "networks" / "stylegan"))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "networks" / "diffusion"))
sys.path.insert(
    0, str(pathlib.Path(__file__).parents[1] / "support" / "report")
)  # reads pages
