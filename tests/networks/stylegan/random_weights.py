"""A generator's weights in genforce's names, the same on every machine."""

import numpy as np

# Of the published networks.
CHANNELS = (512, 512, 512, 512, 256, 128, 64, 32, 16)
FUSED_FROM = 128


def genforce_weights(
    resolution: int,
    seed: int = 0,
    *,
    latent_dim: int = 512,
    channels: tuple[int, ...] = CHANNELS,
    fused_from: int = FUSED_FROM,
) -> dict[str, np.ndarray]:
    """Draws weights by which pictures get a deviation of about 0.4, as trained ones.

    Args:
        resolution: Pixels of a side.
        seed: For NumPy's old generator, whose numbers never change.
        latent_dim: Dimensions of z and w.
        channels: Of 4, 8, ... pixels.
        fused_from: Resolution from which kernels are those of transposed convolutions.

    Returns:
        Dict from name to float32 array, in PyTorch's layout.
    """
    random = np.random.RandomState(seed)
    found = {"synthesis.lod": np.zeros((), np.float32)}

    def draw(name, *shape, size=1.0):
        found[name] = (random.standard_normal(shape) * size).astype(np.float32)

    def draw_dense(at, inputs, units, size, bias):
        draw(f"{at}.linear.weight", units, inputs, size=size)
        draw(f"{at}.wscale.bias", units, size=bias)

    draw("truncation.w_avg", latent_dim, size=0.3)
    for number in range(8):
        draw_dense(f"mapping.dense{number}", latent_dim, latent_dim, 100.0, 20.0)
    inputs = channels[0]
    for level in range(int(np.log2(resolution)) - 1):
        size, width = 4 << level, channels[level]
        for number in (2 * level, 2 * level + 1):
            at = f"synthesis.layer{number}"
            if number == 0:
                draw(f"{at}.first_layer", 1, width, 4, 4)
            elif number % 2 == 0 and size >= fused_from:
                draw(f"{at}.weight", 3, 3, inputs, width)
            else:
                draw(f"{at}.conv.weight", width, inputs, 3, 3)
            inputs = width
            draw(f"{at}.epilogue.apply_noise.noise", 1, 1, size, size)
            draw(f"{at}.epilogue.apply_noise.weight", width, size=0.1)
            draw(f"{at}.epilogue.bias", width, size=0.2)
            draw_dense(
                f"{at}.epilogue.style_mod.dense", latent_dim, 2 * width, 0.3, 0.3
            )
        draw(f"synthesis.output{level}.conv.weight", 3, width, 1, 1, size=0.3)
        draw(f"synthesis.output{level}.bias", 3, size=0.1)
    return found
