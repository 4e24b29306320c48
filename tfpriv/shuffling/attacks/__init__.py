"""Attacks on shuffled images, and how much of the images they recover.

`attack` runs them on the ways of shuffling of `schemes`; each attack is a module of its
own that takes arrays: `known_plaintext`, `ciphertext_only`, `inverter` (learned),
`wrong_keys`, `histograms`. `report` writes the results.

Images are `(n, height, width, channels)`; positions are numbered row by row, and
`order[q]` is the true position of what a shuffled image shows at position `q`.
"""
