"""SavedModels of system 4: FaceNet, masks, an inpainter. They run without tfpriv."""

import copy
import os

import keras
import tensorflow as tf

from tfpriv.inpainting.masks.saliency import LAYER, SEEN, THRESHOLD, similarity_maps
from tfpriv.networks.diffusion import StableDiffusionInpainter
from tfpriv.networks.facenet.network import LEAST_SIZE, FaceNet, standardised
from tfpriv.ops import loader
from tfpriv.support.models import file_errors
from tfpriv.support.outputs import new_directory

_SEED = tf.TensorSpec((2,), tf.int32, "seed")


def export_facenet(network: FaceNet, folder: str | os.PathLike) -> None:
    """Writes a SavedModel from pictures to embeddings.

    `serve` takes uint8 `pictures` (n, height, width, 3) and returns float32 (n, 512),
    as `FaceNet.embed` does.

    Args:
        network: embeds them.
        folder: where to; it must not exist yet, or be empty.

    Raises:
        FileExistsError: there is something in `folder`.
    """

    def serve(pictures):
        return tf.cast(network(standardised(pictures), training=False), tf.float32)

    _write(folder, [network], serve=(serve, [_pictures()]))


def export_grad_cam(
    network: FaceNet,
    folder: str | os.PathLike,
    threshold: int = THRESHOLD,
    *,
    size: int = SEEN,
    layer: str = LAYER,
) -> None:
    """Writes a SavedModel from pictures and persons to masks, as `grad_cam` makes them.

    `serve` takes uint8 `pictures` (n, s, s, 3) and float32 `targets` (n, 512) and
    returns bool (n, s, s). The heat is enlarged by TensorFlow instead of Pillow: masks
    differ from `grad_cam`'s at single pixels of their borders.

    Args:
        network: as for `grad_cam`.
        folder: where to; it must not exist yet, or be empty.
        threshold: as for `grad_cam`.
        size: as for `grad_cam`.
        layer: as for `grad_cam`.

    Raises:
        FileExistsError: there is something in `folder`.
        ValueError: for a size below 75.
    """
    masks = _cam_masks(network, threshold, size, layer)
    _write(folder, [network], serve=(masks, [_pictures(), _targets(network)]))


def _cam_masks(network, threshold, size, layer):
    """A graph's function from pictures and targets to masks."""
    if size < LEAST_SIZE:
        raise ValueError(f"`size` must be at least {LEAST_SIZE}. Received: size={size}")
    maps = similarity_maps(network, layer)

    def one(given):
        picture, target = given
        heat = _stretched(maps(standardised(picture[None], size), target))
        grown = tf.image.resize(heat[..., None], tf.shape(picture)[:2])[..., 0]
        mask = tf.cast(_stretched(grown) * 255, tf.int32) > threshold
        return mask | ~tf.reduce_any(mask)

    def masks(pictures, targets):
        return tf.map_fn(one, (pictures, targets), fn_output_signature=tf.bool)

    return masks


def export_inpainter(
    inpainter: StableDiffusionInpainter,
    folder: str | os.PathLike,
    size: tuple[int, int],
    prompt: str = "",
    steps: int = 50,
    guidance_scale: float = 7.5,
) -> None:
    """Writes a SavedModel from pictures and masks to repainted pictures.

    `serve` takes uint8 `pictures` (n, height, width, 3), bool `masks` (n, height,
    width) and float32 `noise` (n, h, w, c), standard normal and of the latents' shape,
    and returns uint8 pictures: what a call returns that begins with that noise.
    `serve_seeded` takes int32 `seed` (2,) in place of the noise.

    What is under a mask is set to grey before anything else sees it, here as there.

    Args:
        inpainter: repaints.
        folder: where to; it must not exist yet, or be empty.
        size: height and width of the pictures, multiples of `inpainter.divisor`.
        prompt: as for a call.
        steps: as for a call.
        guidance_scale: as for a call.

    Raises:
        FileExistsError: there is something in `folder`.
        ValueError: for another size, or as a call raises it.
    """
    serve, serve_seeded = _repainters(inpainter, size, prompt, steps, guidance_scale)
    given = [_pictures(*size), tf.TensorSpec((None, *size), tf.bool, "masks")]
    noise = (None, *inpainter.latent_shape(*size))
    _write(
        folder,
        [inpainter.unet, inpainter.vae],
        serve=(serve, [*given, tf.TensorSpec(noise, tf.float32, "noise")]),
        serve_seeded=(serve_seeded, [*given, _SEED]),
    )


def export_pipeline(
    network: FaceNet,
    inpainter: StableDiffusionInpainter,
    folder: str | os.PathLike,
    size: tuple[int, int],
    prompt: str = "",
    steps: int = 50,
    guidance_scale: float = 7.5,
    *,
    threshold: int = THRESHOLD,
    seen: int = SEEN,
    layer: str = LAYER,
) -> None:
    """Writes a SavedModel from pictures and persons to repainted pictures.

    `serve` takes uint8 `pictures` (n, height, width, 3), float32 `targets` (n, 512) and
    int32 `seed` (2,), finds the masks as `export_grad_cam` does, and returns uint8
    pictures as `export_inpainter`'s `serve_seeded` does.

    Args:
        network: as for `grad_cam`.
        inpainter: repaints.
        folder: where to; it must not exist yet, or be empty.
        size: height and width of the pictures, multiples of `inpainter.divisor`.
        prompt: as for a call of the inpainter.
        steps: likewise.
        guidance_scale: likewise.
        threshold: as for `grad_cam`.
        seen: at how many pixels the network sees a picture, as `size` for `grad_cam`.
        layer: as for `grad_cam`.

    Raises:
        FileExistsError: there is something in `folder`.
        ValueError: as `export_grad_cam` and `export_inpainter` raise it.
    """
    masks = _cam_masks(network, threshold, seen, layer)
    _, repaint = _repainters(inpainter, size, prompt, steps, guidance_scale)

    def serve(pictures, targets, seed):
        return repaint(pictures, masks(pictures, targets), seed)

    networks = [network, inpainter.unet, inpainter.vae]
    _write(
        folder, networks, serve=(serve, [_pictures(*size), _targets(network), _SEED])
    )


def _repainters(inpainter, size, prompt, steps, guidance_scale):
    """Graphs' functions that repaint, from noise and from a seed."""
    if any(side < 1 or side % inpainter.divisor for side in size):
        raise ValueError(
            f"`size` must be multiples of {inpainter.divisor}. Received: size={size}"
        )
    shape = inpainter.latent_shape(*size)
    # The prompt is settled here: neither the text encoder nor the tokenizer is inside.
    known = [tf.constant(one) for one in inpainter.contexts(prompt, guidance_scale, 1)]

    def repaint(pictures, masks, noise):
        contexts = [tf.repeat(one, tf.shape(pictures)[0], axis=0) for one in known]
        seen, latents = inpainter.seen(pictures, masks), noise
        scheduler = copy.copy(inpainter.scheduler)
        scheduler.set_timesteps(steps)
        for time in scheduler.timesteps:
            found = inpainter.guided(latents, seen, time, contexts, guidance_scale)
            latents = scheduler.step(found, time, latents)
        values = (tf.clip_by_value(inpainter.decode(latents), -1, 1) + 1) * 127.5
        painted = tf.cast(tf.round(values), tf.uint8)
        return tf.where(masks[..., None], painted, pictures)

    def repaint_seeded(pictures, masks, seed):
        every = (tf.shape(pictures)[0], *shape)
        return repaint(pictures, masks, tf.random.stateless_normal(every, seed))

    return repaint, repaint_seeded


def _pictures(height=None, width=None):
    return tf.TensorSpec((None, height, width, 3), tf.uint8, "pictures")


def _targets(network):
    return tf.TensorSpec((None, network.output_shape[-1]), tf.float32, "targets")


def _write(folder, networks, **endpoints) -> None:
    """Writes a SavedModel.

    Args:
        folder: where to.
        networks: whose weights its functions use.
        **endpoints: functions and their signatures, by name.
    """
    archive = keras.export.ExportArchive()
    for network in networks:
        archive.track(network)
    with new_directory(folder) as new, loader.portable_graphs():
        for name, (function, signature) in endpoints.items():
            archive.add_endpoint(name, function, signature)
        with file_errors(folder):
            archive.write_out(str(new), verbose=False)


def _stretched(values):
    """From 0 to 1; all 0 where there is no difference, or no number."""
    values = values - tf.reduce_min(values)
    values = values / (1e-7 + tf.reduce_max(values))
    return tf.where(tf.math.is_finite(values), values, 0.0)
