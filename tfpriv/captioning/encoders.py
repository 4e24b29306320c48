"""Pictures to a grid of features: a small network of our own, or a public backbone."""

import keras
import numpy as np
from keras import ops

BACKBONES = ("MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ResNet50")


@keras.saving.register_keras_serializable("tfpriv")
class ConvEncoder(keras.layers.Layer):
    """Strided convolutions with GroupNorm, each example for itself.

    Args:
        filters: Channels of each stage; every stage halves height and width.
        groups: Groups of the normalisation; must divide every number of filters.
    """

    def __init__(self, filters=(16, 32, 64, 96), groups=8, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.groups = tuple(filters), groups
        self.stages = []
        for i, width in enumerate(self.filters):
            self.stages += [
                keras.layers.Conv2D(
                    width, 3, strides=2, padding="same", name=f"conv_{i}"
                ),
                keras.layers.GroupNormalization(groups, name=f"norm_{i}"),
                keras.layers.Activation("relu", name=f"relu_{i}"),
            ]

    def build(self, input_shape):
        shape = input_shape
        for stage in self.stages:
            stage.build(shape)
            shape = stage.compute_output_shape(shape)

    def call(self, pictures):
        """(B, H, W, 3), values 0 to 255 -> (B, positions, channels)."""
        x = ops.cast(pictures, self.compute_dtype) / 127.5 - 1.0
        for stage in self.stages:
            x = stage(x)
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))

    def compute_output_shape(self, input_shape):
        shape = (None, *input_shape[1:])
        for stage in self.stages:
            shape = stage.compute_output_shape(shape)
        return (input_shape[0], shape[1] * shape[2], shape[3])

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "groups": self.groups}


@keras.saving.register_keras_serializable("tfpriv")
class BackboneEncoder(keras.layers.Layer):
    """A frozen network of `keras.applications`, weights learned on public pictures.

    Args:
        name: One of `BACKBONES`.
        image_size: Height and width in pixels, at least 32.
        weights: `"imagenet"` (downloaded), a weights file, or `None` (to be loaded
            with the rest of a saved model). Not kept in the configuration.
    """

    def __init__(self, name, image_size, weights=None, layer_name=None, **kwargs):
        super().__init__(name=layer_name, **kwargs)
        if name not in BACKBONES:
            raise ValueError(f"`name` must be one of {BACKBONES}. Received: {name!r}")
        self.backbone_name, self.image_size = name, image_size
        self.network = getattr(keras.applications, name)(
            include_top=False, weights=weights, input_shape=(image_size, image_size, 3)
        )
        self.network.trainable = False

    def build(self, input_shape):
        self.built = True

    def call(self, pictures):
        """(B, H, W, 3), values 0 to 255 -> (B, positions, channels)."""
        x = ops.cast(pictures, "float32")
        if self.backbone_name == "MobileNetV2":
            x = x / 127.5 - 1.0
        elif self.backbone_name == "ResNet50":
            x = x[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
        x = self.network(x, training=False)
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))

    def compute_output_shape(self, input_shape):
        _, height, width, channels = self.network.output_shape
        return (input_shape[0], height * width, channels)

    def get_config(self):
        config = super().get_config()
        return config | {
            "name": self.backbone_name,
            "layer_name": config["name"],
            "image_size": self.image_size,
        }
