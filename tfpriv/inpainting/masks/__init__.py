"""Masks: from regions and landmarks, from what a network looks at, and private ones.

`kinds` knows them by name. `geometric` needs no TensorFlow.
"""
