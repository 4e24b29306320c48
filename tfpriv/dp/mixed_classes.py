"""Classes that are mixed into a Keras class while the program runs.

An object's class becomes a subclass of its own class and of a mixin. All such
subclasses are saved under the mixin's registered name, and the configuration of the
plain object lies inside theirs.
"""

import keras

from tfpriv.dp import keras_internals


class MixedIn:
    """Base of the mixins: what Keras needs to save and pickle such an object."""

    plain_class: type

    def plain_config(self):
        """The serialized object, as if nothing were mixed into its class."""
        mixed = type(self)
        self.__class__ = mixed.plain_class
        try:
            config = keras.saving.serialize_keras_object(self)
        finally:
            self.__class__ = mixed
        # Keras adds it to the outer configuration; it may hold a DP optimizer.
        config.pop("compile_config", None)
        return config

    def __reduce__(self):
        """As in Keras, but for the class, which cannot be imported by its name."""
        return keras_internals.unpickle_model, super().__reduce__()[1]


def mixed_class(mixin, plain_class, prefix, **attributes):
    """A subclass of `mixin` and `plain_class`, a class of Keras layers or models.

    Args:
        mixin: Subclass of `MixedIn`, registered as `tfpriv>{mixin.__name__}`, whose
            `from_config` makes such an object again.
        prefix, **attributes: Of the class: what its name begins with, and the rest.
    """
    body = {
        "plain_class": plain_class,
        "__module__": "tfpriv.dp",  # Keras' error names it if nobody imported it
        **attributes,
    }
    mixed = type(f"{prefix}{plain_class.__name__}", (mixin, plain_class), body)
    # Loading goes through the mixin's `from_config`, so it is registered last.
    register = keras.saving.register_keras_serializable("tfpriv", mixin.__name__)
    register(mixed)
    register(mixin)
    return mixed
