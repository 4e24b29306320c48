"""System 3: one attribute of a face released with differential privacy."""
