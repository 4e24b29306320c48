"""Several trainings side by side: a row of epsilons; plain, clip-only and private."""

import dataclasses
from collections.abc import Callable, Sequence

import keras

from tfpriv.captioning.coco import CaptionSet
from tfpriv.captioning.evaluate import FIGURES, evaluate
from tfpriv.captioning.model import Captioner
from tfpriv.captioning.train import (
    CaptioningRecipe,
    Protection,
    Trained,
    prepare,
    train,
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One training of a comparison.

    Args:
        label: What the table calls it.
        protection: How privately it trains; `None` does not train at all.
    """

    label: str
    protection: Protection | None


def epsilon_variants(epsilons: Sequence[float], delta: float) -> list[Variant]:
    """Untrained, one per epsilon in rising order, and without privacy.

    Raises:
        ValueError: Two epsilons are the same, or too near for names of their own.
    """
    labels = [f"epsilon {e:g}" for e in sorted(epsilons)]
    if len(set(labels)) < len(labels):
        raise ValueError(
            "Each epsilon is trained and named once. Expected different ones. "
            f"Received: epsilons={list(epsilons)}"
        )
    return [
        Variant("start weights", None),
        *(
            Variant(label, Protection(e, None, delta))
            for label, e in zip(labels, sorted(epsilons), strict=True)
        ),
        Variant("without privacy", Protection(delta=delta)),
    ]


def comparison_variants(protection: Protection) -> list[Variant]:
    """Plain, clipped without noise, and private: shows what costs what."""
    return [
        Variant("plain", Protection(delta=protection.delta)),
        Variant("clip only", Protection(None, 0.0, protection.delta)),
        Variant("private", protection),
    ]


def run(
    build: Callable[[], Captioner],
    data: CaptionSet,
    recipe: CaptioningRecipe,
    variants: Sequence[Variant],
    *,
    public: CaptionSet | None,
    seed: int = 0,
    verbose: int | str = 2,
    say: Callable[[str], None] = print,
    **options,
) -> list[tuple[dict, Trained | None]]:
    """Trains each variant from the same weights on the same examples.

    Args:
        build: Gives the weights to start from, anew at each call.
        data: Private training data.
        recipe: The same for all.
        variants: What to train.
        public: Data declared public, for the figures; or `None`.
        seed: Of initialisation (and of plain training's order), not of the noise.
        verbose: As in `fit`.
        say: Where progress goes.
        **options: For `train`.

    Returns:
        For each variant a row of the table, and what was trained.
    """
    examples, results = None, []
    for variant in variants:
        say(f"--- {variant.label}")
        keras.utils.set_random_seed(seed)
        model = build()
        trained = None
        if variant.protection is not None:
            if examples is None:
                examples = prepare(model, data, recipe)
            trained = train(
                model, examples, recipe, variant.protection, verbose=verbose, **options
            )
        figures = evaluate(model, public)[0] if public is not None else {}
        results.append((_row(variant, trained, figures), trained))
    return results


def _row(variant, trained, figures):
    row = {"training": variant.label}
    if trained is not None:
        row |= {
            "epsilon": trained.epsilon,
            "delta": trained.delta,
            "noise": trained.noise_multiplier,
            "seconds": round(trained.seconds, 1),
        }
    return row | {name: figures[name] for name in FIGURES if name in figures}
