"""The section of a page where no mechanism protects: it says just that."""

from collections.abc import Sequence

from tfpriv.support.report.pieces import Piece, bullets, facts, section

TITLE = "What is protected, and what is not"


def without_epsilon(instead: str, *, against: str, leaves: Sequence[str]) -> Piece:
    """The section where no mechanism stands behind what was done.

    Args:
        instead: What protects, in whole sentences.
        against: Whom from.
        leaves: What it does not protect, a few words each.
    """
    return section(
        TITLE,
        facts(
            {
                "Protected is": instead,
                "How strongly": "This is no differential privacy: there is no unit, no "
                "neighbouring relation, no delta and no accountant, and epsilon is "
                "infinite.",
                "Against whom": against,
                "Not protected is": bullets(leaves),
            }
        ),
    )
