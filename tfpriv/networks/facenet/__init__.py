"""FaceNet: the network, and the loader of facenet-pytorch's weights and our own.

Names are imported when they are used.
"""

from tfpriv.support import lazy

_MODULES = {"FaceNet": "network", "load_facenet": "loading"}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
