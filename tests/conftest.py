"""What every test gets: a quiet TensorFlow on the CPU."""

import os

# Before any test module imports TensorFlow, which reads these while it loads.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")
