"""Reference implementations of the native ops, in TensorFlow, with the same results.

They are used where the native library is missing, and compared with it in the tests.
"""
