"""Gradient noise, and how homogeneous or scale invariant a network really is.

Li, Lyu & Arora 2020, definitions 1-3: Tr Σ, the trace of the covariance of the minibatch gradient,
drives the norm of scale-invariant weights to the equilibrium ‖W‖⁴ = η² Tr Σ(W̄) / (2ηλ).
Lewkowycz & Gur-Ari 2020: a network is k-homogeneous if f(αθ) = αᵏ f(θ), so that ∂f/∂θ · θ = k f;
their decay laws need k.

    paper   Σ_W                     G Tr Σ_W = Tr Σ_W̄          k
    code    gradient_noise_trace    ... times weight_norms²    homogeneity

Departures from the papers: Tr Σ is estimated from two halves of one batch, Tr Σ ≈ ‖g₁ - g₂‖²/4 for
the whole batch, each half a valid batch of its own, so that BatchNorm in train mode may stay.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from etalambda.diagnose._tensors import Loss, flat


def gradient_noise_trace(model: nn.Module, loss: Loss, batch: tuple[Tensor, Tensor]) -> float:
    """Tr Σ of the gradient of the mean loss over one batch of this size.

    Args:
        model: Left as it is, buffers and gradients too.
        loss: ``loss(outputs, targets)``, a mean over samples.
        batch: ``(inputs, targets)`` in random order; an odd last sample is left out.

    Raises:
        ValueError: With fewer than two samples.

    Example:
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> x, y = torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0], [-3.0]])
        >>> gradient_noise_trace(net, lambda out, t: (out * t).mean(), (x, y))
        9.0
    """
    half = len(batch[0]) // 2
    if half < 1:
        raise ValueError(f"two halves need at least 2 samples, got {len(batch[0])}")
    first, second = (
        _gradient(model, loss, (batch[0][part], batch[1][part]))
        for part in (slice(half), slice(half, 2 * half))
    )
    return float((first - second).double().square().sum()) / 4


def _gradient(model: nn.Module, loss: Loss, batch: tuple[Tensor, Tensor]) -> Tensor:
    named = {name: p.detach().clone() for name, p in model.named_parameters()}
    leaves = [named[n].requires_grad_() for n, p in model.named_parameters() if p.requires_grad]
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    value = loss(functional_call(model, named | buffers, (batch[0],)), batch[1])
    return flat(torch.autograd.grad(value, leaves, allow_unused=True), leaves)


@dataclass(frozen=True)
class Homogeneity:
    """The degree k that fits ∂f/∂θ · θ = k f best, and what is left over.

    Attributes:
        degree: k.
        residual: ‖∂f/∂θ · θ - k f‖ / ‖f‖: 0 for a homogeneous network.

    Example:
        >>> Homogeneity(degree=2.0, residual=1e-9).holds()  # from `homogeneity`
        True
    """

    degree: float
    residual: float

    def holds(self, tolerance: float = 1e-3) -> bool:
        """Whether the network is homogeneous to this relative tolerance."""
        return self.residual <= tolerance


def homogeneity(model: nn.Module, inputs: Tensor) -> Homogeneity:
    """Lewkowycz & Gur-Ari's k of a network, by one forward-mode derivative along its weights.

    A ReLU network of L bias-free layers has k = L; trained biases break it, and so do the gains
    of normalisation unless they are frozen (frozen parameters are not scaled).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> two = torch.nn.Sequential(torch.nn.Linear(3, 5, bias=False), torch.nn.ReLU(),
        ...                           torch.nn.Linear(5, 2, bias=False)).double()
        >>> found = homogeneity(two, torch.randn(8, 3).double())
        >>> round(found.degree, 9), found.holds()
        (2.0, True)
    """
    free = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    fixed = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}

    def outputs(named: dict[str, Tensor]) -> Tensor:
        buffers = {name: b.clone() for name, b in model.named_buffers()}  # BatchNorm writes them
        return functional_call(model, named | fixed | buffers, (inputs,))

    f, directional = (t.reshape(-1).double() for t in jvp(outputs, (free,), (free,))[:2])
    size = f.square().sum()
    if not size > 0:
        raise ValueError("all outputs are 0 here; pass other inputs")
    degree = (f * directional).sum() / size
    residual = (directional - degree * f).norm() / size.sqrt()
    return Homogeneity(float(degree), float(residual))


@dataclass(frozen=True)
class ScaleInvariance:
    """How far one tensor is from f(cw) = f(w).

    Attributes:
        alignment: The size of the cosine of w and its gradient: 0 for a scale-invariant tensor,
            by Lemma 3.1.
        change: ‖f(2w) - f(w)‖ / ‖f(w)‖ of the outputs.

    Example:
        >>> ScaleInvariance(alignment=0.3, change=0.5).holds()  # from `scale_invariance`
        False
    """

    alignment: float
    change: float

    def holds(self, tolerance: float = 1e-3) -> bool:
        """Whether both are within the tolerance; a tensor without a gradient is not invariant."""
        return self.alignment <= tolerance and self.change <= tolerance


def scale_invariance(
    model: nn.Module, loss: Loss, batch: tuple[Tensor, Tensor]
) -> dict[str, ScaleInvariance]:
    """Li, Lyu & Arora's scale invariance of every trainable tensor, as a number and a verdict.

    Measured where training stands, in the model's own mode; one backward pass and a forward pass a
    tensor. BatchNorm's ε leaves a small residual. To find the tensors of a fresh model for
    ``ParamGroups.split`` use ``etalambda.schedule.scale_invariant_parameters``: it moves weights
    off special points and enlarges them first.

    Returns:
        Name -> `ScaleInvariance`; NaN for a tensor that the loss does not depend on.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.BatchNorm1d(8),
        ...                           torch.nn.Linear(8, 2, bias=False)).double()
        >>> batch = torch.randn(32, 4).double(), torch.randint(2, (32,))
        >>> found = scale_invariance(net, torch.nn.CrossEntropyLoss(), batch)
        >>> {name: invariance.holds() for name, invariance in found.items()}
        {'0.weight': True, '1.weight': False, '1.bias': False, '2.weight': False}
    """
    free = [n for n, p in model.named_parameters() if p.requires_grad]
    weights = {n: p.detach() for n, p in model.named_parameters()}

    def outputs(named: dict[str, Tensor]) -> Tensor:
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        return functional_call(model, named | buffers, (batch[0],))

    leaves = {n: weights[n].clone().requires_grad_() for n in free}
    here = outputs(weights | leaves)
    grads = torch.autograd.grad(loss(here, batch[1]), list(leaves.values()), allow_unused=True)
    here, found = here.detach().double(), {}
    for name, g in zip(free, grads):
        w = weights[name]
        size = 0.0 if g is None else float(g.double().norm() * w.double().norm())
        with torch.no_grad():
            moved = outputs(weights | {name: 2 * w}).double() - here
        dot = 0.0 if g is None else abs(float((g.double() * w.double()).sum()))
        nothing = float("nan")
        found[name] = ScaleInvariance(
            dot / size if size > 0 else nothing, float(moved.norm() / here.norm())
        )
    return found
