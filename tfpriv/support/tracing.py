"""What must not happen while TensorFlow traces a function."""

import sys


def refuse_in_graph(what):
    """Raises `RuntimeError` while TensorFlow traces a function.

    What Python draws there becomes a constant of the graph, the same at every call.

    Args:
        what: What was called, for the message.
    """
    tensorflow = sys.modules.get("tensorflow")  # not needed to draw, so not imported
    if tensorflow is not None and not tensorflow.executing_eagerly():
        raise RuntimeError(
            f"`{what}` draws when Python runs, and a graph would repeat what was drawn "
            "once. Call it outside of `tf.function` and `tf.data`, or there inside "
            "`tf.numpy_function`. Received: a call while a function is traced"
        )
