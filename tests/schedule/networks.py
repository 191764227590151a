"""Small networks with every kind of tensor; names say nothing: types and shapes must decide."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.n1, self.a = nn.LayerNorm(d), nn.Linear(d, d)
        self.n2, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)


class GPT(nn.Module):
    """Names say nothing on purpose: types and shapes must decide."""

    def __init__(self, d=8, vocab=11, layers=3, tied=True):
        super().__init__()
        self.w, self.bias_norm = nn.Embedding(vocab, d), nn.Embedding(5, d)
        self.h = nn.ModuleList(Block(d) for _ in range(layers))
        self.z = nn.LayerNorm(d)
        self.out = nn.Linear(d, vocab, bias=False)
        if tied:
            self.out.weight = self.w.weight


class ViT(nn.Module):
    def __init__(self, d=8):
        super().__init__()
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, 5, d))
        self.patch = nn.Conv2d(3, d, 4, 4)
        self.blocks = nn.Sequential(*(Block(d) for _ in range(2)))
        self.head = nn.Linear(d, 10)


class Mixer(nn.Module):
    """Mamba's shape: projections, a depthwise convolution along time, and bare A and D."""

    def __init__(self, d=8, n=4, name="A_log", conv=True):
        super().__init__()
        self.i, self.o = nn.Linear(d, d), nn.Linear(d, d)
        if conv:
            self.c = nn.Conv1d(d, d, 3, groups=d)
        self.register_parameter(name, nn.Parameter(torch.randn(d, n)))
        self.D = nn.Parameter(torch.ones(d))


def exempt(groups):
    return set(groups.names(decayed=False))


def decayed(groups):
    return set(groups.names(decayed=True))


class Adapted(nn.Module):
    def __init__(self, d=8, rank=2):
        super().__init__()
        self.base = nn.Linear(d, d)
        self.base.requires_grad_(False)
        self.one, self.two = nn.Linear(d, rank, bias=False), nn.Linear(rank, d, bias=False)
