"""Attacks on what the systems protect, and what each of them gets.

Attacks take arrays and functions, never a system's own classes, and say how much came
back. Pictures are `(n, height, width, channels)`; places are numbered row by row, and
`order[q]` is the true place of what a shuffled picture shows at place `q`.
"""
