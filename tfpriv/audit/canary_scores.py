"""Scores of canaries in any private model, by somebody who sees every step."""

import keras
import numpy as np

from tfpriv import dp
from tfpriv.dp.callbacks import harmless


@harmless
class CanaryScores(keras.callbacks.Callback):
    """How far training went along each canary's own clipped gradient.

    Give it to the `fit` of a private model that trains on some of the canaries, in or
    among its own data; `scores` then says of each how much it seems to be in. Each step
    is followed by a forward and a backward pass over all canaries.

    A step along the clipped gradient is measured by how the canary's loss falls, times
    what clipping left of its gradient. A learning rate that changes weighs steps alike
    only roughly. Whatever the scores are worth, bounds from them are valid.

    Args:
        x: Canaries as the model takes them, nested arrays with leading axis
            `(canaries,)`.
        y: Their targets, likewise.
        loss: The model's loss: by name, a `keras.losses.Loss`, or a function
            `(y_true, y_pred) -> (canaries, ...)`.

    Attributes:
        scores: float64 `(canaries,)`.
    """

    def __init__(self, x, y, loss):
        super().__init__()
        self._x, self._y, self._loss = x, y, keras.losses.get(loss)

    def on_train_begin(self, logs=None):
        self._look()
        self.scores = np.zeros(len(self._losses))

    def on_train_batch_end(self, batch, logs=None):
        before, kept = self._losses, self._kept
        self._look()
        self.scores = self.scores + kept * (before - self._losses)

    def _look(self):
        """Losses, and which part of a gradient clipping keeps, with today's weights."""
        model = self.model
        each = getattr(self._loss, "call", self._loss)  # without the mean over examples
        losses = np.asarray(each(self._y, model(self._x, training=False)), np.float64)
        self._losses = losses.reshape(len(losses), -1).mean(axis=1)
        bound = float(model.optimizer.current_l2_norm_clip)
        _, norms = dp.clipped_gradients(
            model, self._x, self._y, loss=self._loss, l2_norm_clip=bound
        )
        norms = np.maximum(np.asarray(norms, np.float64), 1e-30)
        self._kept = np.minimum(1.0, bound / norms)
