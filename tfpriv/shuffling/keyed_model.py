"""The keyed twin of a network: the same weights, on shuffled pictures."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpriv import ops
from tfpriv.ops.permutations import NONCE_BYTES
from tfpriv.shuffling import export as exporting
from tfpriv.shuffling.keys import Key
from tfpriv.shuffling.plan import KeyedPlan, Orders, size_of
from tfpriv.shuffling.planes import Planes
from tfpriv.shuffling.purposes import FIXED, PER_PICTURE

NO_NONCE = np.zeros((1, NONCE_BYTES), np.uint8)


def keyed(model: keras.Model, key: Key | None) -> "KeyedModel":
    """Makes the twin of a network that runs on shuffled pictures.

    With the key `keyed(model, key)(shuffle(x, key))` equals `model(x)`, without
    training: convolutions and poolings look for their neighbours where the key put
    them, and what they put out is shuffled again, by another permutation in each layer.
    A classifier's answer is in the clear; planes that come out (segmentation) are
    shuffled as pictures of their size and put in order by `unshuffle`.

    Args:
        model: a functional or sequential Keras model of pictures, channels last, of
            known height and width. Its weights are shared, not copied.
        key: the key that shuffled the pictures; `None` for a twin to `unlock` later.

    Returns:
        A `KeyedModel`: a Keras model to call, `fit`, `evaluate`, `predict` or `export`.

    Raises:
        ValueError: for a layer that cannot be run on shuffled planes, by its name.

    Reference: F. Perez, J. Lopez, H. Arguello, "Privacy-Preserving Deep Learning Using
    Deformable Operators for Secure Task Learning", ICASSP 2024.
    """
    twin = KeyedModel(model)
    if key is not None:
        twin.unlock(key)
    return twin


@keras.saving.register_keras_serializable(package="tfpriv")
class KeyedModel(keras.Model):
    """A network's twin on shuffled pictures; made by `keyed`.

    Called with the plain model's inputs, shuffled in the fixed mode, or with
    `(inputs, nonces)`: uint8 nonces of shape `(batch, 12)`, as `shuffle` was given, for
    pictures shuffled one by one.

    The key is no weight: it is not in what `save`, `save_weights` or `export` write
    (unless `export` is told to), and a loaded twin is locked.

    Args:
        model: the plain model, whose weights are shared.
        **kwargs: those of `keras.Model`.
    """

    def __init__(self, model: keras.Model, **kwargs):
        kwargs.setdefault("name", f"keyed_{model.name}")
        super().__init__(**kwargs)
        self.plain = model
        planes = [
            None if size is None else Planes(size, None) for size in _sizes(model)
        ]
        self._plan = KeyedPlan(model, planes)
        for target in self._plan.targets:
            if target is not None:
                target.shuffle_as_picture()
        self._key: Key | None = None
        self._fixed: dict[Planes, np.ndarray] = {}
        self.built = True

    @property
    def locked(self) -> bool:
        """Whether the twin has no key."""
        return self._key is None

    def unlock(self, key: Key) -> None:
        """Gives the twin a key, in place of the one that it may have.

        Args:
            key: the key that shuffled the pictures.

        Raises:
            ValueError: for what is no `Key`.
        """
        if not isinstance(key, Key):
            raise ValueError(f"Expected a tfpriv.shuffling.Key. Received: {key}")
        self._key = key
        self._fixed.clear()
        # What was traced holds the permutations of the key before.
        self.train_function = self.test_function = self.predict_function = None

    def call(self, inputs, training=None):
        # Keras hands `training` on to the layers below, if this signature has it.
        pictures, nonces = self._split(inputs)
        return self._plan.run(pictures, self._orders(nonces))

    def purposes(self, mode: str) -> list[str]:
        """What the keys of its planes are derived for.

        Args:
            mode: `"fixed"` or `"per picture"`.

        Returns:
            Each purpose once, in the order of the network.
        """
        return list(dict.fromkeys(p.purpose(mode) for p in self._plan.all_planes()))

    def derived_keys(self, key: Key, mode: str) -> np.ndarray:
        """The keys that a network exported without its key asks for.

        They open pictures of this size in this mode, and nothing else.

        Args:
            key: the key that shuffled the pictures.
            mode: `"fixed"` or `"per picture"`.

        Returns:
            uint8 array of shape `(planes, 32)`.
        """
        keys = [key.derive(purpose) for purpose in self.purposes(mode)]
        return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32)

    def fixed_permutations(self) -> dict[str, np.ndarray]:
        """The permutations of the fixed mode: as secret as the key.

        Returns:
            For each purpose an int32 array of shape `(1, positions)`.
        """
        groups = self._plan.all_planes()
        return {p.purpose(FIXED): self._fixed_permutation(p) for p in groups}

    def run_with(self, pictures: list, draw: Callable[[Planes], Any]) -> Any:
        """Runs the network with permutations from elsewhere.

        Args:
            pictures: one tensor for each input of the plain model.
            draw: returns the permutations of a group of planes, int32 of shape
                `(1 or batch, positions)`.

        Returns:
            What the model returns, planes shuffled.
        """
        return self._plan.run(pictures, Orders(draw))

    def feature_maps(self, inputs: Any) -> dict[str, tf.Tensor]:
        """What the convolutions put out, in the order in which it lies in memory.

        Args:
            inputs: what the twin is called with.

        Returns:
            For the name of each convolution (not of nested models) its planes.
        """
        maps = {}

        def watch(operation, outputs):
            if isinstance(operation, keras.layers.Conv2D):
                maps[operation.name] = outputs[0]

        pictures, nonces = self._split(inputs)
        self._plan.run(pictures, self._orders(nonces), watch)
        return maps

    def export(
        self,
        filepath: str,
        *,
        include_key: bool = False,
        portable: bool = True,
        verbose: bool = True,
    ) -> None:
        """Writes a SavedModel for shuffled pictures.

        Its endpoints are `serve` (fixed mode) and `serve_per_picture`, which takes
        nonces after the pictures. Without the key both take, last, what
        `derived_keys` returns for their mode.

        Args:
            filepath: folder to make; it must not exist or be empty.
            include_key: writes into the folder what opens the pictures of this size:
                whoever has it needs no key.
            portable: of plain TensorFlow ops, for machines without tfpriv; otherwise of
                tfpriv's native ops, which are faster and must be loaded first
                (`tfpriv.ops.native_available()`).
            verbose: whether to say what was written.

        Raises:
            ValueError: without a key that is to be included, or without the native ops
                that are asked for.
            OSError: there is something in the folder, or it cannot be written.
        """
        if include_key and self._key is None:
            raise ValueError(f"'{self.name}' has no key to include: unlock(key) first.")
        key = self._key if include_key else None
        exporting.export(self, filepath, key, portable, verbose)

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        if save_type == "savedmodel" and not self.locked:
            raise ValueError(
                "tf.saved_model.save would write the permutations of the key into the "
                "SavedModel. Use export(path), with include_key=True if that is meant."
            )
        return super()._trackable_children(save_type, **kwargs)

    def get_config(self):
        """The plain model's configuration; no key."""
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.plain),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a locked twin."""
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        return cls(model, name=config["name"])

    def _split(self, inputs: Any) -> tuple[list, tf.Tensor | None]:
        flat = keras.tree.flatten(inputs)
        wanted = len(keras.tree.flatten(self.plain.inputs))
        if len(flat) == wanted:
            return flat, None
        nonces = flat[-1]
        # Keras shows a distributed model the mean of its replicas' first batches.
        dtypes = (tf.uint8, tf.float32)
        fits = len(flat) == wanted + 1 and nonces.dtype in dtypes
        if not fits or nonces.shape[1:] != (NONCE_BYTES,):
            raise ValueError(
                f"'{self.name}' takes {wanted} input(s), alone or with nonces: uint8 "
                f"of shape (batch, {NONCE_BYTES}). Received: "
                f"{[(x.shape, x.dtype) for x in flat]}"
            )
        return flat[:-1], tf.cast(nonces, tf.uint8)

    def _orders(self, nonces: tf.Tensor | None) -> Orders:
        if self._key is None:
            raise ValueError(
                f"'{self.name}' has no key: keys are not saved with models. Call "
                "unlock(key) first."
            )
        if nonces is None:
            return Orders(self._fixed_permutation)
        return Orders(lambda planes: self._draw(planes, PER_PICTURE, nonces))

    def _draw(self, planes: Planes, mode: str, nonces: Any) -> tf.Tensor:
        secret = np.frombuffer(self._key.derive(planes.purpose(mode)), np.uint8)
        return ops.permutations(secret, nonces, planes.positions)

    def _fixed_permutation(self, planes: Planes) -> np.ndarray:
        if planes not in self._fixed:
            with tf.init_scope():
                drawn = self._draw(planes, FIXED, NO_NONCE)
            self._fixed[planes] = drawn.numpy()
        return self._fixed[planes]


def _sizes(model: keras.Model) -> list[tuple[int, int] | None]:
    if not getattr(model, "inputs", None):
        return []  # no graph; the plan says so
    return [size_of(x) for x in keras.tree.flatten(model.inputs)]
