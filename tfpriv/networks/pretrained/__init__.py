"""Weights that others trained: where they lie, whose they are, how they are known."""

from tfpriv.networks.pretrained.download import download, identify
from tfpriv.networks.pretrained.known import KNOWN, Known

__all__ = ["KNOWN", "Known", "download", "identify"]
