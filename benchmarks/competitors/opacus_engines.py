"""A private step of Opacus on the same networks in PyTorch, data channels first."""

import torch
from opacus import PrivacyEngine
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from competitors import worker, workload


def build(network, batch_size, form):
    """See `worker.main`. The form is Opacus's `grad_sample_mode`."""
    x, y = workload.batch(network, batch_size)
    y = torch.tensor(y, dtype=torch.int64)
    if network == "cnn":
        model, inputs = _cnn(), (torch.tensor(x).movedim(-1, 1).contiguous(),)
    else:
        model = Decoder()
        inputs = torch.tensor(x["tokens"]), torch.tensor(x["memory"])
    parameters = sum(p.numel() for p in model.parameters())
    return _private_step(model, inputs, y, form), parameters


def _private_step(model, inputs, y, form):
    optimizer = torch.optim.Adam(model.parameters(), lr=workload.LEARNING_RATE)
    criterion = nn.CrossEntropyLoss()
    # The loader only tells the accountant how much is sampled; the data are at hand.
    loader = DataLoader(TensorDataset(y), batch_size=len(y))
    model, optimizer, *rest = PrivacyEngine().make_private(
        module=model,
        optimizer=optimizer,
        criterion=criterion,
        data_loader=loader,
        noise_multiplier=workload.NOISE_MULTIPLIER,
        max_grad_norm=workload.L2_NORM_CLIP,
        grad_sample_mode=form,
        poisson_sampling=False,
    )
    ghost = form == "ghost"
    if ghost:
        criterion = rest[0]
    # Where an example has a loss for each word, ghost clipping asks for their shape.
    shape = {"shape": y.shape} if ghost and y.ndim == 2 else {}

    def step():
        optimizer.zero_grad()
        logits = model(*inputs)
        loss = criterion(logits.reshape(-1, logits.shape[-1]), y.reshape(-1), **shape)
        loss.backward()
        optimizer.step()

    return step


def _cnn():
    layers, channels = [], workload.IMAGE[-1]
    for filters, strides in workload.CONVOLUTIONS:
        layers += [
            nn.Conv2d(channels, filters, 3, strides, padding=1),
            nn.GroupNorm(workload.GROUPS, filters, eps=workload.NORM_EPSILON),
            nn.ReLU(),
        ]
        channels = filters
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, workload.CLASSES))


class Attention(nn.Module):
    """Of linear layers, as Opacus wants it; its own has no causal form."""

    def __init__(self):
        super().__init__()
        width = workload.WIDTH
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x, memory, causal=False):
        heads = [
            t.unflatten(-1, (workload.HEADS, -1)).transpose(1, 2)
            for t in (self.query(x), self.key(memory), self.value(memory))
        ]
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Self-attention, cross-attention, feed-forward; each normalised first."""

    def __init__(self):
        super().__init__()
        width = workload.WIDTH
        self.norms = nn.ModuleList([_norm() for _ in range(3)])
        self.own, self.cross = Attention(), Attention()
        self.feed_forward = nn.Sequential(
            nn.Linear(width, workload.FEED_FORWARD),
            nn.GELU(),
            nn.Linear(workload.FEED_FORWARD, width),
        )

    def forward(self, x, memory):
        normed = self.norms[0](x)
        x = x + self.own(normed, normed, causal=True)
        x = x + self.cross(self.norms[1](x), memory)
        return x + self.feed_forward(self.norms[2](x))


class Decoder(nn.Module):
    """Words so far `(B, 20)` and memory `(B, 16, 256)` to logits `(B, 20, 5000)`."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(workload.VOCABULARY, workload.WIDTH)
        self.places = nn.Embedding(workload.LENGTH, workload.WIDTH)
        self.blocks = nn.ModuleList([Block() for _ in range(workload.BLOCKS)])
        self.norm = _norm()
        self.head = nn.Linear(workload.WIDTH, workload.VOCABULARY)

    def forward(self, tokens, memory):
        places = torch.arange(workload.LENGTH).repeat(len(tokens), 1)
        x = self.words(tokens) + self.places(places)
        for block in self.blocks:
            x = block(x, memory)
        return self.head(self.norm(x))


def _norm():
    return nn.LayerNorm(workload.WIDTH, eps=workload.NORM_EPSILON)


if __name__ == "__main__":
    worker.main(build)
