"""DP twins of Keras' optimizers: noise on the clipped sum, then the plain update.

Each is a subclass of the Keras optimizer of that name. It owns the clip norm and the
noise multiplier, takes only gradients that were clipped per example, and everything
after the noise (momentum, moments, weight decay, moving averages, `clipnorm`) is
post-processing that costs no privacy.
"""

import keras
import tensorflow as tf

from tfpriv.accounting import calibrate_noise, mechanisms
from tfpriv.dp import noise
from tfpriv.dp.clipping import check_l2_norm_clip, tags
from tfpriv.dp.privacy import NO_TICKET, Privacy


class PrivateOptimizer:
    """What every DP optimizer adds to its Keras class (a mixin).

    Args:
        *args, **kwargs: As for the Keras optimizer.
        l2_norm_clip: Positive float C. Must equal the bound that the gradients were
            clipped to.
        noise_multiplier: Float >= 0. Noise on the sum has standard deviation
            `noise_multiplier * l2_norm_clip`. 0 clips only: epsilon is infinite.
        budget: `None`, or `(epsilon, delta)`: training stops before it is passed.
    """

    def __init__(self, *args, l2_norm_clip, noise_multiplier, budget=None, **kwargs):
        check_l2_norm_clip(l2_norm_clip)
        if not 0 <= float(noise_multiplier) < float("inf"):
            raise ValueError(
                "`noise_multiplier` must be a finite number, at least 0. "
                f"Received: noise_multiplier={noise_multiplier}"
            )
        if kwargs.get("gradient_accumulation_steps"):
            raise ValueError(
                "`gradient_accumulation_steps` would add noise to every part of a "
                "batch. Ask for the whole batch instead (`fit(batch_size=...)`): its "
                "gradients are computed in chunks that fit memory. Received: "
                f"gradient_accumulation_steps={kwargs['gradient_accumulation_steps']}"
            )
        super().__init__(*args, **kwargs)
        self._l2_norm_clip = float(l2_norm_clip)
        self._noise_multiplier = float(noise_multiplier)
        self._budget = None if budget is None else tuple(map(float, budget))
        self.privacy = Privacy()
        self._tracked = False

    # Read-only: a compiled step has them inside, and the ledger counts on them.

    @property
    def l2_norm_clip(self):
        """The bound C on each unit's gradient."""
        return self._l2_norm_clip

    @property
    def noise_multiplier(self):
        """Noise standard deviation on the sum, in units of `l2_norm_clip`."""
        return self._noise_multiplier

    @property
    def budget(self):
        """`(epsilon, delta)` that training may not pass, or `None`."""
        return self._budget

    def track(self, privacy):
        """Charges every step to this `Privacy` (done by a private model).

        Raises:
            ValueError: If another one is charged already: two models cannot share an
                optimizer, since its moments carry data of one into the other.
        """
        if self._tracked and privacy is not self.privacy:
            raise ValueError(
                "This optimizer belongs to another private model or ledger already, "
                "whose data is in its moments. Make a new optimizer. "
                f"Received: optimizer={self.name!r}"
            )
        self._tracked = True
        self.privacy = privacy
        return self

    @tf.autograph.experimental.do_not_convert
    def apply(self, grads, trainable_variables=None):
        """Adds noise to clipped sums, divides, and applies the Keras update.

        Args:
            grads: The list from `clipped_gradients`, unchanged.
            trainable_variables: As in Keras.

        Raises:
            ValueError: If the gradients were not clipped per example, or to another
                bound than `l2_norm_clip`.
        """
        grads = list(grads)
        clipped = tags.read(grads)
        if clipped.l2_norm_clip != self._l2_norm_clip:
            raise ValueError(
                "Gradients and optimizer disagree on the clip norm. Expected: "
                f"l2_norm_clip={self._l2_norm_clip}. Received: gradients clipped to "
                f"{clipped.l2_norm_clip}"
            )
        released = noise.add_noise(
            grads,
            self._noise_multiplier * self._l2_norm_clip,
            lambda: self._draw_key(clipped.ticket),
        )
        # Keras divides by its loss scale; clipping has already undone it.
        scale = self.loss_scale_factor or 1.0
        means = [
            g * tf.cast(scale / tf.cast(clipped.divisor, tf.float64), g.dtype)
            for g in released
        ]
        return super().apply(means, trainable_variables)

    def _draw_key(self, ticket):
        ticket = tf.constant(NO_TICKET, tf.int64) if ticket is None else ticket
        privacy, noise_multiplier = self.privacy, self._noise_multiplier
        budget = self._budget
        return noise.key_from(
            lambda number: privacy.redeem(int(number), noise_multiplier, budget), ticket
        )

    def get_config(self):
        return {
            **super().get_config(),
            "l2_norm_clip": self._l2_norm_clip,
            "noise_multiplier": self._noise_multiplier,
            "budget": self._budget,
        }

    @classmethod
    def for_budget(
        cls,
        epsilon,
        delta,
        *,
        population,
        batch_size,
        steps,
        l2_norm_clip=1.0,
        accountant="rdp",
        ledger=None,
        **kwargs,
    ):
        """An optimizer with just enough noise for a budget, which it then keeps.

        Args:
            epsilon, delta: The budget, positive floats.
            population: Int, number of units in the data set, treated as public.
            batch_size: Int, expected size of a Poisson batch.
            steps: Int, training steps planned.
            l2_norm_clip: Positive float.
            accountant: `"rdp"` or `"pld"`, used for calibration; the stop in `fit`
                goes by RDP.
            ledger: `Ledger` of what the model has spent already, or `None`.
            **kwargs: For the Keras optimizer, `learning_rate` among them.

        Raises:
            ValueError: If the budget cannot be met.
        """
        probability = batch_size / population
        noise_multiplier = calibrate_noise(
            epsilon,
            delta,
            mechanism=lambda z: mechanisms.poisson(probability, z),
            steps=steps,
            ledger=ledger,
            accountant=accountant,
        )
        return cls(
            l2_norm_clip=l2_norm_clip,
            noise_multiplier=noise_multiplier,
            budget=(epsilon, delta),
            **kwargs,
        )


def _private(keras_class):
    """The DP subclass of one Keras optimizer class."""
    name = f"DP{keras_class.__name__}"
    body = {
        "__module__": __name__,
        "__doc__": f"""`keras.optimizers.{keras_class.__name__}` on private gradients.

    Args:
        *args, **kwargs: As for `keras.optimizers.{keras_class.__name__}`.
        l2_norm_clip: Positive float: bound on each unit's gradient.
        noise_multiplier: Float >= 0: noise on the sum, in units of the bound.
        budget: `None`, or `(epsilon, delta)` that training may not pass.
    """,
    }
    private_class = type(name, (PrivateOptimizer, keras_class), body)
    return keras.saving.register_keras_serializable("tfpriv", name)(private_class)


DPSGD = _private(keras.optimizers.SGD)
DPAdam = _private(keras.optimizers.Adam)
DPAdamW = _private(keras.optimizers.AdamW)
DPAdadelta = _private(keras.optimizers.Adadelta)
DPAdafactor = _private(keras.optimizers.Adafactor)
DPAdagrad = _private(keras.optimizers.Adagrad)
DPAdamax = _private(keras.optimizers.Adamax)
DPFtrl = _private(keras.optimizers.Ftrl)
DPLamb = _private(keras.optimizers.Lamb)
DPLion = _private(keras.optimizers.Lion)
DPMuon = _private(keras.optimizers.Muon)
DPNadam = _private(keras.optimizers.Nadam)
DPRMSprop = _private(keras.optimizers.RMSprop)
DPScheduleFreeAdamW = _private(keras.optimizers.ScheduleFreeAdamW)
