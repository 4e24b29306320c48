"""StyleGAN's generator in plain NumPy, slow and in double precision.

Channels first and with genforce's names, pixel by pixel as the paper has it: pictures
are doubled and convolved, nothing is fused but what was trained so.
"""

import numpy as np


def lrelu(x):
    return np.where(x > 0, x, 0.2 * x)


def convolve(x, kernel):
    """`(c, h, w)` by `(outputs, c, 3, 3)`, zeros around."""
    size = x.shape[1]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    result = np.zeros((len(kernel), size, size))
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + size, column : column + size]
            result += np.tensordot(kernel[:, :, row, column], window, 1)
    return result


def transposed_convolve(x, kernel):
    """Each pixel of `(c, h, w)` spread by `(3, 3, c, outputs)`, four times shifted."""
    size = x.shape[1]
    canvas = np.zeros((kernel.shape[3], 2 * size + 2, 2 * size + 2))
    for i, j in np.ndindex(size, size):
        # A pixel becomes 2 x 2 of them, each of which is spread over 3 x 3 places.
        for down, right, row, column in np.ndindex(2, 2, 3, 3):
            place = 2 * i + down + row, 2 * j + right + column
            canvas[:, place[0], place[1]] += x[:, i, j] @ kernel[row, column]
    return canvas[:, 1:-1, 1:-1]


def blur(x):
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return np.stack([convolve(plane[None], kernel[None, None])[0] for plane in x])


def dense(weights, at, x, gain, rate):
    kernel = weights[f"{at}.linear.weight"]
    scale = gain / np.sqrt(kernel.shape[1]) * rate
    return kernel @ x * scale + weights[f"{at}.wscale.bias"] * rate


def mapping(weights, z):
    """One z to its w."""
    x = z / np.sqrt(np.mean(z**2) + 1e-8)
    for number in range(8):
        x = lrelu(dense(weights, f"mapping.dense{number}", x, np.sqrt(2), 0.01))
    return x


def layer(weights, number, x, w):
    """One styled layer; `x` `(c, h, w)`."""
    at = f"synthesis.layer{number}"
    if f"{at}.first_layer" in weights:
        x = weights[f"{at}.first_layer"][0]
    else:
        scale = np.sqrt(2) / np.sqrt(9 * len(x))
        if f"{at}.weight" in weights:
            x = transposed_convolve(x, weights[f"{at}.weight"] * scale)
        else:
            if number % 2 == 0:
                x = x.repeat(2, axis=1).repeat(2, axis=2)
            x = convolve(x, weights[f"{at}.conv.weight"] * scale)
        x = x if number % 2 else blur(x)
    at += ".epilogue"
    noise = weights[f"{at}.apply_noise.noise"][0]
    x = x + noise * weights[f"{at}.apply_noise.weight"][:, None, None]
    x = lrelu(x + weights[f"{at}.bias"][:, None, None])
    x = x - x.mean((1, 2), keepdims=True)
    x = x / np.sqrt(np.mean(x**2, (1, 2), keepdims=True) + 1e-8)
    style = dense(weights, f"{at}.style_mod.dense", w, 1.0, 1.0)
    scale, shift = style.reshape(2, -1, 1, 1)
    return x * (scale + 1) + shift


def synthesis(weights, wp):
    """One W+ `(layers, d)` to a picture `(size, size, 3)`."""
    x = None
    for number, w in enumerate(wp):
        x = layer(weights, number, x, w)
    at = f"synthesis.output{len(wp) // 2 - 1}"
    kernel = weights[f"{at}.conv.weight"][:, :, 0, 0] / np.sqrt(len(x))
    picture = np.tensordot(kernel, x, 1) + weights[f"{at}.bias"][:, None, None]
    return picture.transpose(1, 2, 0)


def truncate(weights, w, layers, psi, truncated):
    mean = weights["truncation.w_avg"]
    factors = np.where(np.arange(layers) < truncated, psi, 1.0)
    return mean + (w - mean) * factors[:, None]


def in_double(weights):
    return {name: array.astype(np.float64) for name, array in weights.items()}
