"""What keys are derived for: one purpose for each plane that is shuffled on its own."""

FIXED = "fixed"
PER_PICTURE = "per picture"


def picture_purpose(height: int, width: int, mode: str) -> str:
    """The purpose of the key that shuffles pictures.

    Args:
        height: in pixels.
        width: in pixels.
        mode: `FIXED` (one permutation for all pictures) or `PER_PICTURE` (one of each
            picture's nonce).

    Returns:
        What `Key.derive` takes.
    """
    return f"picture {height}x{width} {mode}"


def layer_purpose(layer: str, height: int, width: int, mode: str) -> str:
    """The purpose of the key that shuffles what a layer of a network puts out.

    Args:
        layer: the layer's path in the network.
        height: of the layer's output, in pixels.
        width: of the layer's output, in pixels.
        mode: as for `picture_purpose`.

    Returns:
        What `Key.derive` takes.
    """
    return f"layer {layer} {height}x{width} {mode}"
