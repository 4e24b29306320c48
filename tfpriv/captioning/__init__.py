"""System 1: image captioning trained with differential privacy.

Images with captions come from `coco`, `tfds_data` or drawn `scenes`; `vocabulary` turns
words into numbers. `model` joins one of the `encoders` to one of the `decoders`;
`train` trains it, `decode` writes captions, `evaluate` and `score` judge them. `store`
keeps trained models, `export` makes a SavedModel, `sweep` compares several epsilons.
`cli` and `jobs` are the commands, `report` their pages. Modules are imported by their
names.
"""

__all__ = [
    "coco",
    "decode",
    "evaluate",
    "export",
    "model",
    "scenes",
    "score",
    "store",
    "sweep",
    "train",
    "vocabulary",
]
