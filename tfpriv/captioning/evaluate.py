"""How good captions are: scores, loss and, where the scenes are known, truth."""

import numpy as np
import tensorflow as tf

from tfpriv.captioning import grammar
from tfpriv.captioning.coco import CaptionSet
from tfpriv.captioning.decode import caption_pictures
from tfpriv.captioning.model import Captioner, CaptionLoss
from tfpriv.captioning.score import score
from tfpriv.captioning.vocabulary import teacher_inputs

BLOCK = 64
FIGURES = ("CIDEr", "BLEU-4", "ROUGE-L", "true", "loss")  # of a comparison


def evaluate(
    model: Captioner,
    data: CaptionSet,
    *,
    beams: int = 1,
    captions_per_picture: int = 5,
    progress=None,
) -> tuple[dict[str, float | str | int], list[str]]:
    """Captions every picture and scores the captions.

    The figures are exact functions of `data`: a model's epsilon covers its weights,
    not figures about its training pictures.

    Args:
        model: `Captioner`.
        data: Pictures with reference captions.
        beams: 1 is greedy decoding.
        captions_per_picture: Captions in the loss; the scores use all of them.
        progress: `None` or a function called with `(done, total)`.

    Returns:
        `(figures, captions)`: what `score` gives, plus `loss` and, for generated
        scenes, `true` (share of captions that are true of their scene).
    """
    pictures = data.arrays(model.image_size)
    captions = caption_pictures(model, pictures, beams=beams, progress=progress)
    figures = score(captions, data.captions)
    figures["loss"] = mean_loss(model, pictures, data, captions_per_picture)
    if data.scenes is not None:
        pairs = zip(captions, data.scenes, strict=True)
        figures["true"] = float(np.mean([grammar.is_true(c, s) for c, s in pairs]))
    return figures, captions


def mean_loss(
    model: Captioner, pictures: np.ndarray, data: CaptionSet, captions_per_picture: int
) -> float:
    """The training loss, on these pictures."""
    targets = model.tokenizer.encode_groups(data.captions, captions_per_picture)
    inputs, loss = teacher_inputs(targets), CaptionLoss(reduction="none")

    size, rows = model.image_size, targets.shape[1:]
    signature = [
        tf.TensorSpec([None, size, size, 3], pictures.dtype),
        tf.TensorSpec([None, *rows], tf.int32),
        tf.TensorSpec([None, *rows], tf.int32),
    ]

    @tf.function(input_signature=signature)
    def losses(image, tokens, wanted):
        return loss(wanted, model({"image": image, "tokens": tokens}))

    values = [
        losses(*(a[i : i + BLOCK] for a in (pictures, inputs, targets))).numpy()
        for i in range(0, len(targets), BLOCK)
    ]
    return float(np.mean(np.concatenate(values)))


def as_table(figures: dict[str, float | str | int]) -> str:
    """Figures as lines for the screen."""
    lines = []
    for name, value in figures.items():
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        lines.append(f"  {name:<10} {shown}")
    return "\n".join(lines)
