"""A convolution that learns where to look."""

from typing import Any

import keras

from tfpriv.ops import deformable_conv2d


@keras.saving.register_keras_serializable(package="tfpriv")
class DeformableConv2D(keras.layers.Conv2D):
    """A 2D convolution whose kernel sees places that it computes from its input.

    A second convolution of the same kernel size, strides, padding and dilation gives
    the offsets of every tap, in pixels, and if `modulated` a factor for every sample.
    It starts with zeros: the layer starts as a plain convolution, and if modulated as
    half of one, because the factors are sigmoids, from 0 to 1, as in the paper. (Some
    implementations double them.) Dai et al. train that second convolution at a tenth of
    the learning rate; here it is an ordinary part of the layer,
    `layer.offset_convolution`.

    Args:
        filters: number of filters, positive.
        kernel_size: a positive integer or a pair (height, width).
        strides: a positive integer or a pair; above 1 only without dilation.
        padding: `"valid"` or `"same"`.
        dilation_rate: a positive integer or a pair.
        groups: channels are convolved in so many groups, each with its own filters.
        offset_groups: channels are moved in so many groups, each with its own offsets.
        modulated: whether samples have factors (version 2).
        activation: name or function, or None.
        use_bias: whether a bias is added.
        **kwargs: what else `keras.layers.Conv2D` takes: `kernel_initializer`,
            `bias_regularizer`, `name`, ... Of data formats only `"channels_last"`.

    Input shape: `(examples, height, width, channels)`; height and width may be unknown.

    Output shape: `(examples, output height, output width, filters)`.

    Raises:
        ValueError: for arguments that do not fit each other.

    Reference: Dai et al., "Deformable Convolutional Networks", ICCV 2017; Zhu et al.,
    "Deformable ConvNets v2: More Deformable, Better Results", CVPR 2019.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        dilation_rate: Any = 1,
        groups: int = 1,
        offset_groups: int = 1,
        modulated: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            **kwargs,
        )
        if self.data_format != "channels_last":
            raise ValueError(
                "DeformableConv2D has its channels last. Received: "
                f"data_format={self.data_format}"
            )
        if not isinstance(offset_groups, int) or offset_groups < 1:
            raise ValueError(
                "Expected offset_groups to be a positive integer. Received: "
                f"offset_groups={offset_groups}"
            )
        self.offset_groups = offset_groups
        self.modulated = modulated
        height, width = self.kernel_size
        self._samples = offset_groups * height * width
        self.offset_convolution = keras.layers.Conv2D(
            (3 if modulated else 2) * self._samples,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="offsets",
        )

    def build(self, input_shape: Any) -> None:
        """Makes the weights; the channels must be known."""
        if input_shape[-1] % self.offset_groups:
            raise ValueError(
                "The number of input channels must be evenly divisible by "
                f"offset_groups. Received: offset_groups={self.offset_groups}, inputs "
                f"of shape {input_shape}"
            )
        self.offset_convolution.build(input_shape)
        super().build(input_shape)

    # Not by `convolution_op`: who looks for plain convolutions (per-example clipping
    # does) knows them by their `call`.
    def call(self, inputs: Any) -> Any:
        """Computes offsets, and the convolution at those places.

        Args:
            inputs: `(examples, height, width, channels)`.

        Returns:
            `(examples, output height, output width, filters)`.
        """
        moves = self.offset_convolution(inputs)
        mask = None
        if self.modulated:
            mask = keras.ops.sigmoid(moves[..., 2 * self._samples :])
        outputs = deformable_conv2d(
            inputs,
            moves[..., : 2 * self._samples],
            keras.ops.cast(self.kernel, self.compute_dtype),
            mask,
            keras.ops.cast(self.bias, self.compute_dtype) if self.use_bias else None,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
        )
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make the layer again."""
        return super().get_config() | {
            "offset_groups": self.offset_groups,
            "modulated": self.modulated,
        }
