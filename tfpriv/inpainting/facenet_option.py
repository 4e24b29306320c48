"""`--facenet`: which network a command takes, and on what faces it was trained."""

from tfpriv.inpainting import embedded, recognition


def load(file: str | None):
    """Loads the network and prints what faces it was trained on.

    What it finds in others means little: masks, accuracies, similarities.

    Args:
        file: as for `embedded.facenet`.

    Returns:
        A `FaceNet`.
    """
    network = embedded.facenet(file)
    print(f"FaceNet trained on: {recognition.trained_on(network)}")
    return network
