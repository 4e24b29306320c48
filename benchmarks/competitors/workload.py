"""The two networks' and the layers' sizes and data, the same for every competitor.

Only numpy is imported here: each environment has it, and none has all the frameworks.
"""

import dataclasses
import itertools

import numpy as np

PARAMETERS = {"cnn": 279_882, "decoder": 4_152_200}
# Networks of `zoo.py`: examples in a batch, and weights.
ZOO = {
    "tanh-cnn": (1024, 26_010),
    "mlp": (512, 669_706),
    "resnet20": (64, 272_474),
    "vit": (64, 311_146),
    "lstm": (64, 353_674),
    "bert": (32, 1_063_050),
    "mobilenet": (32, 1_528_106),
    "cnn": (64, PARAMETERS["cnn"]),
    "decoder": (64, PARAMETERS["decoder"]),
}
# Layers as in VGG, with as many filters as channels: (height and width, channels).
LAYERS = {"32x32x64": (32, 64), "16x16x128": (16, 128), "8x8x256": (8, 256)}
SIZES = {name: weights for name, (_, weights) in ZOO.items()}
SIZES |= {name: 9 * c * c + c for name, (_, c) in LAYERS.items()}

# StyleGAN's published generators, by pixels: weights of what makes a picture of W+.
STYLEGANS = {f"stylegan{pixels}": pixels for pixels in (64, 256, 1024)}
SIZES |= {"stylegan64": 23_030_531, "stylegan256": 23_977_667}
SIZES |= {"stylegan1024": 24_110_771}
GENFORCE = "TFPRIV_GENFORCE"  # names a checkout of genforce/interfacegan


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """Configurations of an inpainter's networks, as diffusers and transformers name.

    Args:
        pixels: of a picture's side.
        unet: of `UNet2DConditionModel`.
        vae: of `AutoencoderKL`.
        text: of `CLIPTextModel`.
    """

    pixels: int
    unet: dict
    vae: dict
    text: dict


# sd512 is runwayml/stable-diffusion-inpainting; tiny is there to try the benchmark.
DIFFUSERS = {
    "sd512": Diffusion(
        512,
        {
            "in_channels": 9,
            "sample_size": 64,
            "block_out_channels": (320, 640, 1280, 1280),
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        },
        {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            "sample_size": 512,
        },
        {
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
        },
    ),
    "tiny": Diffusion(
        64,
        {
            "in_channels": 9,
            "sample_size": 8,
            "block_out_channels": (32, 64, 64, 64),
            "attention_head_dim": 8,
            "cross_attention_dim": 32,
        },
        {
            "block_out_channels": (32, 32, 32, 32),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "sample_size": 64,
        },
        {
            "vocab_size": 6,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 77,
        },
    ),
}


def scheduler_steps(form: str):
    """Steps of the pipeline's scheduler, run by run; few in two, to compile.

    Args:
        form: "pipeline" (4) or "default" (50, as both libraries have by default).
    """
    return itertools.chain(
        [2, 2], itertools.repeat({"pipeline": 4, "default": 50}[form])
    )


SIZES |= {"sd512": 859_535_364, "tiny": 3_224_132}

# cnn: 3x3 convolutions, each with GroupNorm and ReLU; pooled over the picture; Dense.
IMAGE = (32, 32, 3)
CONVOLUTIONS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1))  # (filters, stride)
GROUPS = 8
CLASSES = 10

# decoder: words so far and a picture's tokens to the next word, as captioning has it.
VOCABULARY = 5000
LENGTH = 20
WIDTH = 256
HEADS = 4
FEED_FORWARD = 512
BLOCKS = 2
PICTURE_TOKENS = 16

# Adam at this rate for everyone; a small one, so that noise does not blow weights up.
LEARNING_RATE = 1e-4
L2_NORM_CLIP = 1.0
NOISE_MULTIPLIER = 1.0
NORM_EPSILON = 1e-5


def batch(network, size):
    """Made-up data for one step.

    Args:
        network: `"cnn"` or `"decoder"`.
        size: Examples.

    Returns:
        `(x, y)`. For the CNN pictures `(size, 32, 32, 3)` and classes `(size,)`; for
        the decoder a dict of `tokens` `(size, 20)` and `memory` `(size, 16, 256)`, and
        the next tokens `(size, 20)`.
    """
    rng = np.random.default_rng(0)
    if network == "cnn":
        pictures = rng.normal(size=(size, *IMAGE)).astype("float32")
        return pictures, rng.integers(0, CLASSES, size).astype("int32")
    tokens = rng.integers(0, VOCABULARY, (size, LENGTH + 1)).astype("int32")
    memory = rng.normal(size=(size, PICTURE_TOKENS, WIDTH)).astype("float32")
    return {"tokens": tokens[:, :-1], "memory": memory}, tokens[:, 1:]


def layer(name, size, whole):
    """Made-up data of a deformable layer with kernels of 3 and padding 1.

    Args:
        name: of `LAYERS`.
        size: Examples.
        whole: Whether offsets are whole pixels, -2 to 2, or anything thereabouts.

    Returns:
        Dict of `inputs`, `offsets` (one set for each example), `filters` and `bias`,
        channels last.
    """
    rng = np.random.default_rng(0)
    height, channels = LAYERS[name]
    shapes = {
        "inputs": (size, height, height, channels),
        "offsets": (size, height, height, 18),
        "filters": (3, 3, channels, channels),
        "bias": (channels,),
    }
    arrays = {name: rng.normal(size=s).astype("float32") for name, s in shapes.items()}
    if whole:
        offsets = rng.integers(-2, 3, arrays["offsets"].shape)
        arrays["offsets"] = offsets.astype("float32")
    return arrays


def styles(name, size):
    """Made-up latents of a StyleGAN.

    Args:
        name: of `STYLEGANS`.
        size: Pictures.

    Returns:
        W+ `(size, layers, 512)`.
    """
    layers = 2 * STYLEGANS[name].bit_length() - 4
    rng = np.random.default_rng(0)
    return rng.normal(size=(size, layers, 512)).astype("float32")


def latents(name, size):
    """Made-up inputs of an inpainter's UNet.

    Args:
        name: of `DIFFUSERS`.
        size: Pictures.

    Returns:
        What it is asked about `(size, h, w, 9)`, and a prompt's embedding
        `(size, 77, width)`.
    """
    network = DIFFUSERS[name]
    rng = np.random.default_rng(0)
    side, width = network.pixels // 8, network.unet["cross_attention_dim"]
    shapes = (size, side, side, 9), (size, 77, width)
    return tuple(rng.normal(size=shape).astype("float32") for shape in shapes)


def pictures(name, size):
    """Made-up pictures, and masks that cover the middle of each.

    Args:
        name: of `DIFFUSERS`.
        size: Pictures.

    Returns:
        uint8 `(size, pixels, pixels, 3)` and bool `(size, pixels, pixels)`.
    """
    pixels = DIFFUSERS[name].pixels
    rng = np.random.default_rng(0)
    masks = np.zeros((size, pixels, pixels), bool)
    masks[:, pixels // 4 : -pixels // 4, pixels // 4 : -pixels // 4] = True
    return rng.integers(0, 256, (size, pixels, pixels, 3), np.uint8), masks
