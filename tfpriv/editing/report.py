"""What releases of faces, and studies of them, write for people: one page each."""

from pathlib import Path

import numpy as np

from tfpriv.accounting import Ledger, protection
from tfpriv.editing.mechanism import AttributeMechanism
from tfpriv.editing.study import SEED, SUBSPACE, Study
from tfpriv.support import images, report

SHOWN = 12
_AGAINST = (
    "Whoever sees the released latent, or any picture made of it, knows both faces "
    "that it may be of, all other faces, the boundaries, the code and this page, and "
    "computes for as long as they like. Not against somebody who watches the machine "
    "that releases."
)
_LEAVES = (
    "the attributes themselves: the rest of the latent, which is released as it is, "
    "may show them",
    "who it is: identity is meant to stay",
    "the same face released over other attributes besides: that adds up with nothing "
    "here",
    "anything else that is made of the face: the photograph, the latent file, a "
    "background that is pasted back",
    "what boundaries, clip and epsilon tell, if they were chosen by looking at private "
    "faces",
    "how many faces there are",
)


def release(
    path: Path, mechanism: AttributeMechanism, ledger: Ledger, delta: float
) -> None:
    """Writes the page of a folder of released faces, which may go where they go.

    It is made of what is released already: pictures in the folder, the ledger, and the
    mechanism's public settings. It names no file that was left out, and no path.

    Args:
        path: where to, in the folder of the releases.
        mechanism: what released them.
        ledger: what all releases of these faces have spent.
        delta: of the claim.
    """
    # What has no released latent beside it is somebody else's picture.
    latents = sorted(path.parent.glob("*.npy"))
    released = [
        p.with_suffix(".png") for p in latents if p.with_suffix(".png").is_file()
    ]
    shown = released[:SHOWN]
    attributes = ", ".join(mechanism.subspace.attributes)
    report.write(
        path,
        f"Faces released without their {attributes}",
        report.text(
            f"{len(released)} faces, each with a noised value in place of its own: "
            f"{attributes}. The last run clipped values to {mechanism.noise.radius:g} "
            f"from a public centre, in the space {mechanism.space!r}."
        ),
        report.gallery(map(images.load, shown), [p.name for p in shown]),
        protection.protection(
            ledger, delta, against=_AGAINST, leaves=_LEAVES, accountant="pld"
        ),
    )


def study(
    path: Path,
    found: Study,
    table: report.Piece,
    charts: report.Piece,
    command: str,
) -> None:
    """Writes the page of a study. Its faces are nobody's.

    Args:
        path: where to.
        found: the study.
        table: a row for each way to release.
        charts: what is kept and given away, against epsilon.
        command: what was typed.
    """
    rows: dict[str, np.ndarray] = {"as they were": found.originals}
    for (method, epsilon), pictures in found.released.items():
        rows[f"{method}, epsilon {epsilon:g}"] = pictures
    report.write(
        path,
        f"What a private release of {found.attribute} keeps and gives away",
        report.text(
            "The faces are drawn from random latents: they are nobody's. Each was "
            f"released in three ways; {SEED!r} adds noise without a clip, and no "
            "epsilon is true of it."
        ),
        report.command(command),
        report.section("Faces", report.strips(rows)),
        report.section(
            "Figures",
            charts,
            table,
            report.text(
                "Accuracies in percent, with bounds that are wrong once in a thousand. "
                "The ceiling is for pairs of faces that the attribute alone tells "
                "apart; what is read from natural faces beyond it is what the rest of "
                "the latent shows."
            ),
        ),
        protection.protection(
            found.claim,
            found.delta,
            against=_AGAINST,
            leaves=_LEAVES,
            accountant="pld",
            title=f"What one release protects ({SUBSPACE}, the least epsilon)",
        ),
    )
