"""System 2: pictures whose pixels are shuffled with a secret key, and their networks.

`keys` makes secret keys; `pictures` shuffles arrays with them, `codec`, `record` and
`png` files, `datasets` archives. `keyed_model` runs a network on shuffled images, by
the `plan` of its graph and `layers` that take keys. `data`, `networks`, `recipes`,
`train` and `experiments` are the published experiments; `attacks` what an attacker
recovers. `cli`, `training_cli` and `jobs` are the commands, `export` writes
SavedModels.

Names are imported when they are used: a key needs no TensorFlow.
"""

from tfpriv.support import lazy

_MODULES = {
    "Key": "keys",
    "KeyedModel": "keyed_model",
    "keyed": "keyed_model",
    "new_nonces": "pictures",
    "preresnet": "networks",
    "preresnet110": "networks",
    "shuffle": "pictures",
    "small_cnn": "networks",
    "unshuffle": "pictures",
    "vgg16_bn": "networks",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
