"""What `training.py` compares: each competitor in a process and a Python of its own."""
