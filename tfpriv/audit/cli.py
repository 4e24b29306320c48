"""`tfpriv audit`: tfpriv's own DP-SGD, attacked by somebody who sees every step."""

import argparse

from tfpriv.support import tables
from tfpriv.support.terminal import progress

EPSILONS = (1.0, 4.0, 8.0)


def add_parser(subparsers) -> None:
    """Adds `audit` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    parser = subparsers.add_parser(
        "audit",
        help="attack tfpriv's own DP-SGD",
        description="Trains with canaries, and asks whether the claimed epsilon holds.",
    )
    parser.add_argument(
        "--epsilon",
        type=float,
        nargs="+",
        default=list(EPSILONS),
        help="claims to audit (default: 1 4 8)",
    )
    parser.add_argument("--delta", type=float, default=1e-5, help="default: 1e-5")
    parser.add_argument(
        "--runs", type=int, default=1, help="trainings for each claim (default: 1)"
    )
    parser.add_argument(
        "--canaries", type=int, default=5000, help="weights with one (default: 5000)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="of the coins that put canaries in; noise and sampling never have one",
    )
    parser.set_defaults(handler=_audit)


def _audit(args: argparse.Namespace) -> int:
    from tfpriv.audit.dp_sgd import audit_dp_sgd, plan_for

    if args.runs < 1:
        raise ValueError(f"Expected at least one run. Received: --runs {args.runs}")
    audits = []
    for epsilon in args.epsilon:
        audits.append(
            audit_dp_sgd(
                plan_for(epsilon, args.delta, args.canaries),
                delta=args.delta,
                runs=args.runs,
                seed=args.seed,
                progress=progress(f"runs at epsilon {epsilon:g}"),
            )
        )
    print(_table(audits), end="\n\n")
    for audit in audits:
        print(audit)
    return int(any(audit.objections for audit in audits))


def _table(audits) -> str:
    """One column for each claim."""
    columns = [_figures(audit) for audit in audits]
    head, *rows = zip(*[list(columns[0]), *[c.values() for c in columns]], strict=True)
    return tables.markdown(head, rows)


def _figures(audit) -> dict[str, str]:
    bounds = sorted(audit.bounds)
    low, middle, high = bounds[0], bounds[(len(bounds) - 1) // 2], bounds[-1]
    above = sum(bound > audit.claim.epsilon for bound in bounds)
    return {
        f"claimed epsilon, delta {audit.claim.delta:g}": f"{audit.claim.epsilon:.4g}",
        "runs": f"{len(bounds)}",
        f"one-run bounds ({audit.confidence:.0%}), lowest": f"{low:.2f}",
        "the median": f"{middle:.2f}",
        "the highest": f"{high:.2f}",
        "bounds above the claim": f"{above}",
        "smallest p of the claimed curve": f"{audit.p_value:.2g}",
        "attack advantage": f"{audit.advantage:.3f}",
        "its ceiling": f"{audit.claim.advantage:.4f}",
        "mu of a step": f"{audit.step.mu}",
        "noise multiplier of a step": f"{audit.step.noise}",
        "events / updates": f"{audit.events} / {audit.updates}",
    }
