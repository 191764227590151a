"""Networks with normalization layers of every kind, and where."""

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + self.shortcut(x))


def resnet18(width=8, zero_init=False):
    plan, n = [], width
    for out, stride in zip((width, 2 * width, 4 * width, 8 * width), (1, 2, 2, 2)):
        plan += [BasicBlock(n, out, stride), BasicBlock(out, out, 1)]
        n = out
    stem = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    model = nn.Sequential(
        *stem, *plan, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 10)
    )
    for module in model.modules():
        if zero_init and isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return model


def vgg16(width=4, norm=False):
    layers, n = [], 3
    for out in (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"):
        if out == "M":
            layers += [nn.MaxPool2d(2)]
            continue
        layers += [nn.Conv2d(n, out * width, 3, padding=1)]
        layers += [nn.BatchNorm2d(out * width)] if norm else []
        layers += [nn.ReLU(inplace=True)]
        n = out * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(n, 32), nn.ReLU(), nn.Linear(32, 10))


class HandNorm(nn.Module):
    """RMS norm written out, as most language models have it."""

    def __init__(self, d, gain=True):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d)) if gain else None

    def forward(self, x):
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return y if self.gain is None else y * self.gain


class Attention(nn.Module):
    def __init__(self, d, heads, norm):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.qn, self.kn = norm(d // heads), norm(d // heads)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, self.heads, -1) for f in (self.q, self.k, self.v))
        q, k, v = (z.transpose(1, 2) for z in (self.qn(q), self.kn(k), v))
        v = torch.cat([v.new_empty(b, self.heads, 0, v.shape[-1]), v], 2)  # as caches do
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(b, t, d))


class GPT(nn.Module):
    """Pre-LN blocks with QK-norm: only the query and key matrices feed a norm alone."""

    def __init__(self, d=16, heads=2, layers=2, vocab=13, norm=nn.LayerNorm, embed_norm=False):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, d), nn.Embedding(8, d)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.LayerNorm(d),
                    Attention(d, heads, norm),
                    nn.LayerNorm(d),
                    nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d)),
                ]
            )
            for _ in range(layers)
        )
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)
        self.embed_norm = HandNorm(d, gain=False) if embed_norm else None

    def forward(self, idx, targets=None):
        x = self.wte(idx)
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        x = x + self.wpe(torch.arange(idx.shape[1]))
        for n1, attention, n2, mlp in self.blocks:
            x = x + attention(n1(x))
            x = x + F.dropout(mlp(n2(x)), 0.1, self.training)
        logits = self.head(self.norm(x))
        if targets is None:
            return {"logits": logits}
        return {"logits": logits, "loss": F.cross_entropy(logits.flatten(0, 1), targets.flatten())}


class PostNorm(nn.Module):
    """Norm after the attention (OLMo 2): all four matrices are invariant."""

    def __init__(self, d=16):
        super().__init__()
        self.attention = Attention(d, 2, HandNorm)
        self.norm, self.out = HandNorm(d), nn.Linear(d, 3)

    def forward(self, x):
        return self.out(x + self.norm(self.attention(x)))


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(9, 8), nn.LSTM(8, 8, 2), nn.Linear(8, 9)

    def forward(self, idx):
        return self.out(self.lstm(self.embed(idx))[0])


def weight_normed():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6))
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(6, 2))


def spectral_normed():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6))
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(6, 2))


def instance_normed():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.Conv2d(6, 2, 3))


def group_normed(bias):
    return nn.Sequential(nn.Conv2d(3, 6, 3, bias=bias), nn.GroupNorm(2, 6), nn.Conv2d(6, 2, 3))


class Standardised(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019): the weight is normalised, not the activations."""

    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias)
