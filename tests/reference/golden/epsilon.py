"""Epsilons and noise multipliers of DP-SGD by tensorflow-privacy 0.9.0.

In, arrays of one length: `n`, `batch_size`, `noise_multiplier`, `epochs`, `delta`,
`target_epsilon`.
Out, one value a case:
    steps, epsilon, order   compute_dp_sgd_privacy: RDP over a short list of orders,
                            its number of steps, and the order that gave the minimum
    rdp, pld, rate_steps    what compute_dp_sgd_privacy_statement prints to three
                            decimals, in full: Poisson sampling, by either accountant,
                            and its own number of steps
    rdp_order               the order that gave `rdp` its minimum
    rdp_whole               the same as `rdp` over the whole orders 2 to 63 alone
    unsampled_rdp           the same as `rdp` with each example once per epoch
    noise                   compute_noise for the target epsilon
"""

import math
import sys

import dp_accounting
import numpy as np
from tensorflow_privacy.privacy.analysis import (
    compute_dp_sgd_privacy_lib,
    compute_noise_from_budget_lib,
)

AccountantType = compute_dp_sgd_privacy_lib.AccountantType
TOO_LITTLE_NOISE = 0.2  # compute_noise starts its search here


def rdp_accountant(orders, rate, noise_multiplier, steps):
    gaussian = dp_accounting.GaussianDpEvent(noise_multiplier)
    event = dp_accounting.PoissonSampledDpEvent(rate, gaussian)
    return dp_accounting.rdp.RdpAccountant(orders).compose(event, steps)


def one_case(n, batch_size, noise_multiplier, epochs, delta, target_epsilon):
    epsilon, order = compute_dp_sgd_privacy_lib.compute_dp_sgd_privacy(
        n, batch_size, noise_multiplier, epochs, delta
    )

    def statement_epsilon(rate, accountant):
        return compute_dp_sgd_privacy_lib._compute_dp_sgd_example_privacy(
            epochs,
            noise_multiplier,
            delta,
            used_microbatching=False,
            poisson_subsampling_probability=rate,
            accountant_type=accountant,
        )

    rate = batch_size / n
    rate_steps = math.ceil(epochs / rate)
    best, whole = (
        rdp_accountant(orders, rate, noise_multiplier, rate_steps)
        for orders in (None, range(2, 64))
    )
    return {
        "steps": math.ceil(epochs * n / batch_size),
        "epsilon": epsilon,
        "order": order,
        "rdp": statement_epsilon(rate, AccountantType.RDP),
        "pld": statement_epsilon(rate, AccountantType.PLD),
        "rate_steps": rate_steps,
        "rdp_order": best.get_epsilon_and_optimal_order(delta)[1],
        "rdp_whole": whole.get_epsilon(delta),
        "unsampled_rdp": statement_epsilon(None, AccountantType.RDP),
        "noise": compute_noise_from_budget_lib.compute_noise(
            n, batch_size, target_epsilon, epochs, delta, TOO_LITTLE_NOISE
        ),
    }


def main(inputs, outputs):
    with np.load(inputs) as arrays:
        names = list(arrays)
        columns = [arrays[name].tolist() for name in names]
    rows = [
        one_case(**dict(zip(names, case, strict=True)))
        for case in zip(*columns, strict=True)
    ]
    np.savez(outputs, **{name: [row[name] for row in rows] for name in rows[0]})


if __name__ == "__main__":
    main(*sys.argv[1:])
