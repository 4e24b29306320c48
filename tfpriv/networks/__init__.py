"""Networks whose weights others trained, and the readers of those weights.

`stylegan`, `diffusion`, `facenet` and `perception` (VGG-16 and LPIPS) each hold the
network, the loader of its published weights, and a training loop that knows no system.
`pretrained` lists where those weights are and how they are verified.
"""
