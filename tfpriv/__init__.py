"""Differential privacy for TensorFlow and Keras 3, and private pictures on top of it.

Importing this package is light: no TensorFlow, no Keras. Import what you use:

>>> import tfpriv.accounting            # the ledger of spent privacy
>>> import tfpriv.dp as dp              # private training for Keras models
>>> import tfpriv.captioning            # system 1: private image captioning
"""

from tfpriv.support import moved

__version__ = "0.1.0"

moved.install()
