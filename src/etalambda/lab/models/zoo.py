"""The papers' networks by name, their scale-invariant form, and their initializations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from etalambda._common import check_positive, unknown
from etalambda.lab.models.convnets import (
    densenet121,
    fully_connected,
    googlenet,
    lewkowycz_cnn,
    mnist_cnn,
    vgg16,
)
from etalambda.lab.models.resnets import BasicBlock, Bottleneck, PreResNet, ResNet

ZOO: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda classes: ResNet(BasicBlock, (2, 2, 2, 2), classes),
    "resnet34": lambda classes: ResNet(BasicBlock, (3, 4, 6, 3), classes),
    "resnet50": lambda classes: ResNet(Bottleneck, (3, 4, 6, 3), classes),
    "preresnet32": lambda classes: PreResNet(5, 1, classes),
    "wrn28-10": lambda classes: PreResNet(4, 10, classes),
    "wrn16-4": lambda classes: PreResNet(2, 4, classes),
    "vgg16": lambda classes: vgg16(classes, batch_norm=False),
    "vgg16-bn": lambda classes: vgg16(classes),
    "densenet121": lambda classes: densenet121(classes),
    "googlenet": lambda classes: googlenet(classes),
    "lg-fc": lambda classes: fully_connected(classes=classes),
    "lg-cnn": lambda classes: lewkowycz_cnn(classes, batch_norm=False),
    "lg-cnn-bn": lambda classes: lewkowycz_cnn(classes),
    "mnist-cnn": lambda classes: mnist_cnn(classes),
}
"""Name -> function of the number of classes."""

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
INITS = ("kaiming", "lecun", "ntk", "x1000", "x0.001")


def make(name: str, classes: int = 10, *, scale_invariant: bool = False) -> nn.Module:
    """A network of the papers.

    Args:
        name: One of `ZOO`.
        classes: Of the output.
        scale_invariant: Freeze what `freeze_for_scale_invariance` freezes.

    Raises:
        ValueError: If the name is unknown; the message lists the known ones.

    Example:
        >>> sum(p.numel() for p in make("preresnet32").parameters())
        466714
    """
    check_positive(classes=classes)
    if name not in ZOO:
        raise unknown("model", name, ZOO)
    model = ZOO[name](classes)
    if scale_invariant:
        freeze_for_scale_invariance(model)
    return model


def freeze_for_scale_invariance(model: nn.Module) -> None:
    """Fix the last linear layer, every norm's gain and shift, and every bias (LLA-D1).

    In a chain of layers, a layer that no norm follows is fixed as well (LG-M3 has two). What still
    trains feeds a normalization: f(αW) = f(W) for the whole remaining vector.

    Raises:
        ValueError: If the model has no normalization, so that nothing would be scale invariant.

    >>> first = nn.Linear(3, 8, bias=False)
    >>> model = nn.Sequential(first, nn.LayerNorm(8, eps=0), nn.Linear(8, 2))
    >>> freeze_for_scale_invariance(model)
    >>> [name for name, p in model.named_parameters() if p.requires_grad]
    ['0.weight']
    >>> x = torch.ones(1, 3)
    >>> before = model(x)
    >>> _ = first.weight.data.mul_(100)
    >>> torch.allclose(model(x), before, atol=1e-4)
    True
    """
    modules = list(model.modules())
    if not any(isinstance(m, NORMS) for m in modules):
        raise ValueError(f"{type(model).__name__} has no normalization layer to be invariant by")
    last = [m for m in modules if isinstance(m, nn.Linear)][-1:]
    for module in modules:
        if isinstance(module, NORMS) or module in last or module in _unfollowed(model):
            module.requires_grad_(False)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.requires_grad_(False)


def _unfollowed(model: nn.Module) -> list[nn.Module]:
    """The layers of a chain after which the next layer comes before any norm."""
    kinds = (nn.Linear, nn.Conv2d, *NORMS)
    chain = [m for m in model.modules() if isinstance(m, kinds)]
    chain = chain if isinstance(model, nn.Sequential) else []  # elsewhere order is not the data's
    after = [*chain[1:], None]
    return [
        m for m, n in zip(chain, after) if not isinstance(m, NORMS) and not isinstance(n, NORMS)
    ]


@torch.no_grad()
def initialize(model: nn.Module, kind: str, *, gain: float = 1.0) -> None:
    """Re-initialize all matrices in a named way; biases 0, norms untouched.

    ``kaiming``: N(0, 2/fan_in). ``lecun``: N(0, σ_w²/fan_in), as lewkowycz2020 writes it, σ_w =
    ``gain``. Those of li2020's figure 8: ``ntk``: N(0, 1); ``x1000`` and ``x0.001``: Kaiming times
    that.

    Raises:
        ValueError: If the kind is unknown.

    >>> model = nn.Linear(400, 300)
    >>> for kind in ("kaiming", "lecun", "x1000"):
    ...     initialize(model, kind)
    ...     print(f"{model.weight.std():.2g}")
    0.071
    0.05
    71
    """
    if kind not in INITS:
        raise unknown("initialization", kind, INITS)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if kind == "ntk":
                nn.init.normal_(module.weight)
            elif kind == "lecun":
                nn.init.normal_(module.weight, std=gain * module.weight[0].numel() ** -0.5)
            elif kind != "kaiming":
                module.weight.mul_(float(kind[1:]))
            if module.bias is not None:
                module.bias.zero_()


class LSTMLanguageModel(nn.Module):
    """Two LSTM layers of 512 with dropout 0.5 on words or characters (xie2022 B4).

    Args:
        vocabulary: Tokens.
        width: Of the embedding and of each layer.
        layers: LSTM layers.
        dropout: Before, between and after the layers.

    Example:
        >>> model = LSTMLanguageModel(20, width=8)
        >>> logits, state = model(torch.zeros(3, 5, dtype=torch.long))
        >>> logits.shape
        torch.Size([3, 5, 20])
    """

    def __init__(
        self, vocabulary: int, width: int = 512, layers: int = 2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.drop = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0  # torch drops between layers only, and warns
        self.lstm = nn.LSTM(width, width, layers, dropout=between, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, L) and the carried state -> logits (B, L, vocabulary) and the state, detached."""
        out, (hidden, cell) = self.lstm(self.drop(self.embedding(tokens)), state)
        return self.head(self.drop(out)), (hidden.detach(), cell.detach())
