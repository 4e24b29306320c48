"""DP twins of Keras' optimizers: noise on the clipped sum, then the plain update.

Each is a subclass of the Keras optimizer of that name. It owns the clip norm and the
noise multiplier, takes only gradients that were clipped per example, and everything
after the noise (momentum, moments, weight decay, moving averages, `clipnorm`) is
post-processing that costs no privacy.
"""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfpriv.accounting import mechanisms
from tfpriv.accounting.calibration import calibrate_noise, steps_per_epoch
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.dp import keras_internals, noise
from tfpriv.dp.budget import Budget
from tfpriv.dp.clipping import check_l2_norm_clip, styles, tags
from tfpriv.dp.clipping.adaptive import INDICATOR, AdaptiveClipping
from tfpriv.dp.clipping.objective import sum_dtype
from tfpriv.dp.privacy import NO_TICKET, Privacy
from tfpriv.dp.private_loss import joint_noise_multiplier
from tfpriv.dp.sampling import Sampler
from tfpriv.support import checks


class PrivateOptimizer(keras_internals.AlreadyReduced):
    """What every DP optimizer adds to its Keras class (a mixin).

    Args:
        *args: As for the Keras optimizer.
        l2_norm_clip: Positive float C. Must equal the bound that the gradients were
            clipped to.
        noise_multiplier: Float >= 0. Noise on the sum has standard deviation
            `noise_multiplier * l2_norm_clip`. 0 clips only: epsilon is infinite.
        clipping: `"flat"`, `"per_layer"`, `"automatic"`, or a
            `dp.AdaptiveClipping(...)`, for which `l2_norm_clip` is the first bound,
            `noise_multiplier` the noise on the gradients relative to the bound of
            each step, and the ledger counts the noised indicators besides.
        budget: `None`, or `(epsilon, delta)`: training stops before it is passed. By
            RDP's figure; with `(epsilon, delta, "pld")` by PLD's, which takes longer.
        **kwargs: As for the Keras optimizer.
    """

    def __init__(
        self,
        *args: Any,
        l2_norm_clip: float | None = None,
        noise_multiplier: float | None = None,
        clipping: Any = "flat",
        budget: Budget | Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if l2_norm_clip is None or noise_multiplier is None:
            raise TypeError(
                "A DP optimizer needs a bound and noise, `l2_norm_clip=1.0` and "
                "`noise_multiplier=1.1` for instance, or finds the noise by "
                f"`{type(self).__name__}.for_budget(epsilon=3, delta=..., ...)`. "
                f"Received: l2_norm_clip={l2_norm_clip}, "
                f"noise_multiplier={noise_multiplier}"
            )
        check_l2_norm_clip(l2_norm_clip)
        if not 0 <= float(noise_multiplier) < float("inf"):
            raise ValueError(
                "`noise_multiplier` must be a finite number, at least 0. "
                f"Received: noise_multiplier={noise_multiplier}"
            )
        if kwargs.get("gradient_accumulation_steps"):
            raise ValueError(
                "`gradient_accumulation_steps` would add noise to every part of a "
                "batch. Use `fit(batch_size=...)` of the whole: it is computed in "
                "chunks that fit memory. Received: "
                f"gradient_accumulation_steps={kwargs['gradient_accumulation_steps']}"
            )
        super().__init__(*args, **kwargs)
        self._l2_norm_clip = float(l2_norm_clip)
        self._noise_multiplier = float(noise_multiplier)
        self._clipping = styles.get(clipping)
        self._budget = Budget.of(budget)
        self._bound: Any = None
        if self._is_adaptive:
            self._clipping.check_start(self._l2_norm_clip)
            self._bound = self.add_variable(
                (),
                keras.initializers.Constant(self._l2_norm_clip),
                dtype="float64",
                aggregation="only_first_replica",
                name="l2_norm_clip",
            )
        self.privacy = Privacy()
        self.privacy.budget = self._budget
        self._tracked = False
        # Batch size and number of units that `for_budget` calibrated the noise for.
        self.planned_batches: tuple | None = None

    # Read-only: a compiled step has them inside, and the ledger counts on them.

    @property
    def l2_norm_clip(self):
        """The bound C on each unit's gradient; with adaptive clipping, the first."""
        return self._l2_norm_clip

    @property
    def current_l2_norm_clip(self):
        """The bound of the next step: a float, or adaptive a float64 scalar tensor.

        An adaptive bound was released with noise: epsilon covers it.
        """
        if not self._is_adaptive:
            return self._l2_norm_clip
        bound = tf.identity(self._bound.value)
        setattr(bound, tags.OWNER, self)
        return bound

    @property
    def noise_multiplier(self):
        """Noise standard deviation on the sum, in units of the bound of the step.

        Of the gradients alone: with the indicators of adaptive clipping or a private
        loss, the event of a step in the ledger is one of less noise.
        """
        return self._noise_multiplier

    @property
    def clipping(self):
        """The clipping style, an object."""
        return self._clipping

    @property
    def budget(self) -> Budget | None:
        """The `Budget` that training may not exceed, or `None`."""
        return self._budget

    def warn_of_large_delta(self, ledger: Ledger, mechanism: Mechanism) -> None:
        """Warns of a large delta, unless `for_budget` did for the same population."""
        planned = self.planned_batches
        has_warned = planned is not None and planned[1] == mechanism.population
        if self._budget is not None and not has_warned:
            self._budget.warn_of_large_delta(ledger, mechanism)

    @property
    def _is_adaptive(self):
        return isinstance(self._clipping, AdaptiveClipping)

    def track(self, privacy: Privacy) -> Any:
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
        privacy.budget = self._budget
        self.privacy = privacy
        return self

    @tf.autograph.experimental.do_not_convert
    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Adds noise to clipped sums, divides, and applies the Keras update.

        Under several replicas, what they hand in is one batch: their sums are added
        first, and all of them apply the same noisy gradient.

        Args:
            grads: The list from `clipped_gradients`, unchanged.
            trainable_variables: As in Keras.

        Raises:
            ValueError: If the gradients were not clipped per example, or to another
                bound or in another style than the optimizer's; or if there is not one
                for each variable.
        """
        grads = list(grads)
        clipped = tags.read(grads)
        self._check_clipped(clipped)
        of_keras = keras_internals.variables_of(self)
        variables = of_keras if trainable_variables is None else trainable_variables
        dtypes = [sum_dtype(tf.as_dtype(v.dtype)) for v in variables]
        if len(grads) != len(dtypes):
            raise ValueError(
                "Expected one gradient for each trainable variable. Received: "
                f"{len(grads)} gradients for {len(dtypes)} variables"
            )
        divisor, bound = _divisor_of_all(clipped), clipped.l2_norm_clip
        released = noise.release(
            grads,
            sensitivity=bound,
            stddev=self._stddev(bound),
            draw_key=lambda: self._draw_key(clipped.ticket),
            # Keras divides by its loss scale; clipping has already undone it.
            scale=(self.loss_scale_factor or 1.0) / divisor,
            dtypes=dtypes,
        )
        super().apply(released, trainable_variables)
        if self._is_adaptive:
            self._adapt_bound(clipped, divisor)

    def _check_clipped(self, clipped):
        """Raises `ValueError` unless the noise fits how gradients were clipped."""
        if clipped.clipping != self._clipping.name:
            raise ValueError(
                "Gradients and optimizer disagree on the clipping style. Expected: "
                f"clipping={self._clipping.name!r}. Received: gradients clipped with "
                f"clipping={clipped.clipping!r}"
            )
        bound = clipped.l2_norm_clip
        if self._is_adaptive:
            agree = getattr(bound, tags.OWNER, None) is self
        else:
            agree = not tf.is_tensor(bound) and bound == self._l2_norm_clip
        if not agree:
            expected = "own, adaptive" if self._is_adaptive else self._l2_norm_clip
            raise ValueError(
                "Gradients and optimizer disagree on the clip norm. Expected: "
                f"l2_norm_clip={expected}. Received: gradients clipped to {bound}"
            )

    def _stddev(self, bound):
        """The noise on the sum, scaled to the very bound that it was clipped to."""
        return 0.0 if self._noise_multiplier == 0 else self._noise_multiplier * bound

    def _adapt_bound(self, clipped, divisor):
        """Releases how many units were not clipped, and moves the bound."""
        (total,) = noise.release(
            [clipped.indicators],
            sensitivity=INDICATOR,
            stddev=self._clipping.indicator_stddev,
            draw_key=noise.side_key(self.privacy, "indicators"),
            dtypes=[tf.float64],
        )
        bound = self._clipping.next_bound(
            clipped.l2_norm_clip, total, divisor, self._l2_norm_clip
        )
        self._bound.assign(bound)

    def _draw_key(self, ticket):
        ticket = tf.constant(NO_TICKET, tf.int64) if ticket is None else ticket
        privacy, style, budget = self.privacy, self._clipping, self._budget
        z = self._noise_multiplier

        def redeem(number):
            cost = functools.partial(style.mechanism, noise_multiplier=z)
            return privacy.redeem(int(number), z, budget, cost)

        return noise.key_from(redeem, ticket)

    def get_config(self):
        return {
            **super().get_config(),
            "l2_norm_clip": self._l2_norm_clip,
            "noise_multiplier": self._noise_multiplier,
            "clipping": self._clipping.serialized(),
            "budget": self._budget and self._budget.serialized(),
        }

    @classmethod
    def for_budget(
        cls,
        epsilon: float,
        delta: float,
        *,
        population: int | None = None,
        batch_size: int | None = None,
        sampler: Sampler | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        l2_norm_clip: float = 1.0,
        clipping: Any = "flat",
        private_metrics: bool = False,
        accountant: str = "rdp",
        ledger: Ledger | None = None,
        **kwargs: Any,
    ) -> Any:
        """An optimizer with just enough noise for a budget, which it then keeps.

        Args:
            epsilon: The budget, a positive float.
            delta: The delta at which it is kept, a positive float.
            population: Int, number of units in the data set, treated as public.
            batch_size: Int, expected size of a Poisson batch.
            sampler: What `fit` will be given, in place of `population` and
                `batch_size`: for instance a `Stream` with declared participations.
            epochs: Int, epochs planned, as `fit` of arrays counts them: each has
                `population / batch_size` steps, rounded up.
            steps: Int, training steps planned, in place of `epochs`.
            l2_norm_clip: Positive float.
            clipping: As for the class; the noise found is that on the gradients, with
                which the whole step, indicators included, keeps to the budget.
            private_metrics: As the model was made private with: a private loss costs
                a little more noise.
            accountant: `"rdp"` or, tighter, `"pld"`: by whose figure the noise is
                calibrated and the budget kept.
            ledger: `Ledger` of what the model has spent already, or `None`.
            **kwargs: For the Keras optimizer, `learning_rate` among them.

        Raises:
            ValueError: If the budget cannot be met, if not just one of `epochs` and
                `steps` is given, or neither a sampler nor both sizes.
        """
        if (epochs is None) == (steps is None):
            raise ValueError(
                "Say how long training will be, by one of `epochs` and `steps`. "
                f"Received: epochs={epochs}, steps={steps}"
            )
        sizes = population, batch_size
        if sampler is None:
            mechanism, of_epoch = _of_poisson_batches(*sizes)
        elif sizes != (None, None):
            raise ValueError(
                "A sampler brings `population` and `batch_size` itself. "
                f"Received: sampler={sampler} and (population, batch_size)={sizes}"
            )
        else:
            mechanism, of_epoch = sampler.mechanism, sampler.steps_per_epoch
        if steps is None:
            steps = checks.whole("epochs", epochs) * of_epoch
        if sampler is not None:
            steps = sampler.events(0, checks.whole("steps", steps))
        style = styles.get(clipping)

        def step(noise_multiplier):
            if private_metrics:
                noise_multiplier = joint_noise_multiplier(noise_multiplier)
            return style.mechanism(mechanism, noise_multiplier)

        noise_multiplier = calibrate_noise(
            epsilon,
            delta,
            mechanism=step,
            steps=steps,
            ledger=ledger,
            accountant=accountant,
        )
        optimizer = cls(
            l2_norm_clip=l2_norm_clip,
            noise_multiplier=noise_multiplier,
            clipping=style,
            budget=Budget(float(epsilon), float(delta), accountant),
            **kwargs,
        )
        if sampler is None:
            optimizer.planned_batches = batch_size, population
        return optimizer


def _of_poisson_batches(population, batch_size):
    """The mechanism of a step, by its noise multiplier, and the steps of an epoch."""
    if None in (population, batch_size) or not 0 < batch_size <= population:
        raise ValueError(
            "Expected a `sampler`, or `population` and `batch_size`, positive and at "
            "most the number of units. "
            f"Received: batch_size={batch_size}, population={population}"
        )
    if float(population).is_integer():
        population = int(population)
    mechanism = functools.partial(
        mechanisms.poisson, batch_size / population, population=population
    )
    return mechanism, steps_per_epoch(population, batch_size)


def _divisor_of_all(clipped):
    """What every replica divides its part of a noisy sum by, a float64 scalar.

    It is the same on all of them: one of a smaller divisor would add its units with
    more weight than the noise was made for.
    """
    divisor = tf.cast(clipped.divisor, tf.float64)
    if clipped.ticket is not None:  # that of the whole batch
        return divisor
    context = tf.distribute.get_replica_context()
    return tf.maximum(context.all_reduce(tf.distribute.ReduceOp.SUM, divisor), 1.0)


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
        clipping: `"flat"`, `"per_layer"`, `"automatic"`, or a `dp.AdaptiveClipping`.
        budget: `None`, or `(epsilon, delta)` that training may not pass; with
            `"pld"` as a third, by the tighter accountant.
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
