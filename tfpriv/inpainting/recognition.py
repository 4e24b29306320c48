"""What a recogniser tells about persons, from embeddings alone.

A person is known by other pictures, the gallery: their template is the mean of these
pictures' embeddings. Probes are compared with templates by cosine similarity.
"""

import dataclasses

import numpy as np

FALSE_ACCEPTS = 0.01  # share of strangers that a verification lets in


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Templates of persons.

    Attributes:
        persons: int (p,), their numbers, ascending.
        templates: float (p, d), each of length 1.
    """

    persons: np.ndarray
    templates: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, labels: np.ndarray) -> "Gallery":
        """Makes templates.

        Args:
            embeddings: float (m, d), of pictures that are not to be recognised.
            labels: int (m,), the persons in them; two at least.

        Raises:
            ValueError: for shapes that do not fit, or less than two persons.
        """
        embeddings, labels = np.asarray(embeddings, np.float64), np.asarray(labels)
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
            raise ValueError(
                "Expected embeddings (m, d) and m labels. Received: shapes "
                f"{embeddings.shape} and {labels.shape}"
            )
        persons, place = np.unique(labels, return_inverse=True)
        if len(persons) < 2:
            raise ValueError(
                f"Expected two persons or more. Received: a gallery of {len(persons)}"
            )
        return cls(persons, middles(embeddings, place))

    def similarities(self, embeddings: np.ndarray) -> np.ndarray:
        """Compares probes with everybody.

        Args:
            embeddings: float (n, d).

        Returns:
            float (n, p), -1 to 1.
        """
        return directions(embeddings) @ self.templates.T

    def known(self, labels: np.ndarray) -> np.ndarray:
        """bool (n,), whether there is a template of a person."""
        return np.isin(labels, self.persons)

    def columns(self, labels: np.ndarray) -> np.ndarray:
        """int (n,), where in the gallery known persons stand."""
        return np.searchsorted(self.persons, labels)


def trained_on(model) -> str:
    """The faces that a recogniser, or the FaceNet in a classifier, was trained on.

    Args:
        model: a network with `trained_on`, or a Keras model of which one is a layer.

    Returns:
        What `FaceNet` takes as `trained_on`, or `"unknown faces"`.
    """
    parts = [model, *getattr(model, "layers", [])]
    found = [getattr(part, "trained_on", None) for part in parts]
    return next((faces for faces in found if faces), "unknown faces")


def directions(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings brought to length 1; zeros stay zeros."""
    embeddings = np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return embeddings / np.maximum(lengths, 1e-12)


def middles(embeddings: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The direction of the middle of each person's embeddings.

    Args:
        embeddings: float (n, d).
        person: int (n,), every number from 0 to p - 1.

    Returns:
        float (p, d), each of length 1. A person's depends on nobody else's embeddings.
    """
    sums = np.zeros((person.max() + 1, embeddings.shape[1]))
    np.add.at(sums, person, directions(embeddings))
    return directions(sums)


def own(similarities: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float (n,), each probe's similarity to its own person."""
    return np.take_along_axis(similarities, columns[:, None], 1)[:, 0]


def strangers(similarities: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float (n (p - 1),), the similarities of probes to everybody else."""
    others = np.ones(similarities.shape, bool)
    np.put_along_axis(others, columns[:, None], False, 1)
    return similarities[others]


def threshold(strangers: np.ndarray, false_accepts: float = FALSE_ACCEPTS) -> float:
    """The similarity above which two pictures are taken for one person's.

    Args:
        strangers: float (m,), similarities of pictures of different persons.
        false_accepts: share of these that may lie above it, in [0, 1).

    Returns:
        The lowest of the similarities that at most this share lies above; the highest
        of all where there are too few to allow a single one.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not 0 <= false_accepts < 1 or not len(strangers):
        raise ValueError(
            "Expected similarities, and a share in [0, 1). Received: "
            f"{len(strangers)} similarities, false_accepts={false_accepts}"
        )
    allowed = int(false_accepts * len(strangers) + 1e-9)
    return float(np.sort(strangers)[len(strangers) - 1 - allowed])


def nearest(probes: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The most similar reference of each probe.

    Args:
        probes: float (n, d), embeddings.
        references: float (m, d).

    Returns:
        int (n,), below m.
    """
    return np.argmax(directions(probes) @ directions(references).T, 1)


def figures(
    gallery: Gallery,
    embeddings: np.ndarray,
    labels: np.ndarray,
    false_accepts: float = FALSE_ACCEPTS,
) -> dict[str, float]:
    """How well an embedding tells persons.

    Args:
        gallery: everybody who is to be told, by other pictures.
        embeddings: float (n, d), of pictures to be recognised.
        labels: int (n,), who is in them; all in the gallery.
        false_accepts: as for `threshold`.

    Returns:
        `rank_one`: share of the pictures whose person is found; `verified`: share that
        is accepted where at most `false_accepts` of the strangers are.
    """
    compared, columns = gallery.similarities(embeddings), gallery.columns(labels)
    limit = threshold(strangers(compared, columns), false_accepts)
    return {
        "rank_one": float(np.mean(compared.argmax(1) == columns)),
        "verified": float(np.mean(own(compared, columns) > limit)),
    }
