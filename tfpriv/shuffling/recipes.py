"""How the networks are trained: optimizers and their schedules."""

import dataclasses
from collections.abc import Callable

import keras

from tfpriv.support.recipe import TrainingRecipe


@keras.saving.register_keras_serializable(package="tfpriv")
class WeightDecaySGD(keras.optimizers.SGD):
    """SGD whose weight decay is part of the gradient, as PyTorch's is.

    Keras' own `weight_decay` stands beside the gradient and its momentum, so that the
    same number means another strength. Vectors (biases, normalizations) do not decay.

    Args:
        learning_rate: as for `keras.optimizers.SGD`.
        momentum: as for `keras.optimizers.SGD`.
        decay: what times the weight is added to its gradient, not negative.
        **kwargs: further ones of `keras.optimizers.SGD`.
    """

    def __init__(self, learning_rate, momentum=0.9, decay=5e-4, **kwargs):
        super().__init__(learning_rate, momentum, **kwargs)
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate):
        """Updates one weight."""
        if len(variable.shape) > 1:
            gradient = gradient + self.decay * keras.ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        """The arguments."""
        return {**super().get_config(), "decay": self.decay}


@keras.saving.register_keras_serializable(package="tfpriv")
class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a straight line to a peak and falls to nearly nothing.

    Args:
        peak: the highest learning rate.
        steps: number of steps in all.
        rise: the part of them that it rises, between 0 and 1.
    """

    def __init__(self, peak: float, steps: int, rise: float = 0.2):
        self.peak, self.steps, self.rise = peak, steps, rise

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        done = keras.ops.cast(step + 1, "float32") / self.steps
        up = done / self.rise
        down = (1 - done) / (1 - self.rise)
        return self.peak * keras.ops.maximum(keras.ops.minimum(up, down), 0.01)

    def get_config(self):
        """The arguments."""
        return {"peak": self.peak, "steps": self.steps, "rise": self.rise}


@keras.saving.register_keras_serializable(package="tfpriv")
class Milestones(keras.optimizers.schedules.LearningRateSchedule):
    """The paper's: one epoch of warm-up, then a fifth of the rate at each milestone.

    Args:
        rate: the first learning rate.
        steps_per_epoch: number of steps in an epoch.
        milestones: epochs after which the rate falls.
    """

    def __init__(
        self,
        rate: float,
        steps_per_epoch: int,
        milestones: tuple[int, ...] = (60, 120, 160),
    ):
        self.rate, self.steps_per_epoch = rate, steps_per_epoch
        self.milestones = tuple(milestones)

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        epochs = keras.ops.cast(step + 1, "float32") / self.steps_per_epoch
        passed = sum(keras.ops.cast(epochs > m, "float32") for m in self.milestones)
        return self.rate * keras.ops.minimum(epochs, 1.0) * 0.2**passed

    def get_config(self):
        """The arguments."""
        return {
            "rate": self.rate,
            "steps_per_epoch": self.steps_per_epoch,
            "milestones": self.milestones,
        }


@dataclasses.dataclass(frozen=True)
class ShufflingRecipe(TrainingRecipe):
    """How a network is trained.

    Attributes:
        batch_size: pictures in a step.
        epochs: passes over the pictures.
        label_smoothing: as for `keras.losses.CategoricalCrossentropy`.
        hole: side of the square that is blanked out of each picture, in pixels
            (T. DeVries, G. Taylor, arXiv:1708.04552).
        optimizer: makes one of the numbers of steps in an epoch and of epochs.
    """

    batch_size: int
    epochs: int
    label_smoothing: float
    hole: int
    optimizer: Callable[[int, int], keras.optimizers.Optimizer]
    zero_allowed = ("label_smoothing", "hole")
    at_most_one = ("label_smoothing",)


# The paper's for VGG16 and PreResNet, and one for few epochs.
RECIPES = {
    "paper": ShufflingRecipe(
        128, 200, 0.0, 0, lambda steps, epochs: WeightDecaySGD(Milestones(0.1, steps))
    ),
    "short": ShufflingRecipe(
        256,
        10,
        0.2,
        8,
        lambda steps, epochs: WeightDecaySGD(
            Triangle(0.2, steps * epochs), decay=1e-3, nesterov=True
        ),
    ),
}
