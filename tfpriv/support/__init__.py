"""What several packages share: files, images, weights, training, reports.

Nothing here knows of privacy, networks or systems; most of it needs no TensorFlow.
"""
