r"""Kernels to start a wide network from: of ReLU networks at infinite width, and of real models.

Jacot et al. 2018 (the neural tangent kernel), Cho & Saul 2009 (its arc-cosine parts), as used by
Lewkowycz & Gur-Ari 2020. The idea: at infinite width the kernel of the gradients,
Θ(x, x') = ∂_θ f(x) · ∂_θ f(x'), is a fixed function of the inputs. Through each ReLU layer

    Σ' = √(Σ(x,x) Σ(x',x')) κ₁(ρ),   Θ' = Σ' + Θ κ₀(ρ),    ρ the correlation under Σ
    κ₁(ρ) = (√(1-ρ²) + (π - arccos ρ) ρ)/π,   κ₀(ρ) = (π - arccos ρ)/π

from Σ = Θ = x·x'/d, in the NTK parametrization f = W_L √(2/n) relu(... W_0 x/√d).

    paper   k           n      d
    code    layers + 1  width  the inputs' last dimension

Departures from the paper: none; it takes kernels of wide finite networks, ``empirical_ntk``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from etalambda.theory._arrays import ArrayLike, float64


def relu_ntk(a: ArrayLike, b: ArrayLike, layers: int = 1) -> Tensor:
    """Θ_0 between two batches, for a ReLU network without biases; its degree is ``layers`` + 1.

    Args:
        a: Inputs, shape (n, d).
        b: Inputs, shape (m, d).
        layers: Hidden layers; 0 is a linear model.

    Returns:
        float64, shape (n, m).

    Raises:
        ValueError: If the shapes do not fit, or ``layers`` is negative.

    Example:
        >>> relu_ntk([[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0]])
        tensor([[1.0000],
                [0.3183]], dtype=torch.float64)
    """
    a, b = float64(a=a, b=b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a and b must have shapes (n, d) and (m, d), got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if layers < 0 or layers != int(layers):
        raise ValueError(f"layers must be an integer of at least 0, got {layers}")
    d = a.shape[1]
    sigma = theta = a @ b.T / d
    # On the diagonal κ₁ is 1: √(2/n) keeps the size of every input.
    scale = (a.square().sum(1) / d).sqrt()[:, None] * (b.square().sum(1) / d).sqrt()
    for _ in range(int(layers)):
        rho = torch.where(scale > 0, sigma / torch.where(scale > 0, scale, 1.0), 0.0).clamp(-1, 1)
        open_angle = math.pi - rho.arccos()
        sigma = scale * ((1 - rho * rho).sqrt() + open_angle * rho) / math.pi
        theta = sigma + theta * open_angle / math.pi
    return theta


def empirical_ntk(model: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """∂_θ f(a) · ∂_θ f(b) of a real model with one output, over the parameters that train.

    Args:
        model: Maps (n, ...) to (n,) or (n, 1).
        a: Inputs, n of them, on the model's device.
        b: Inputs, m of them.

    Returns:
        Shape (n, m), in the model's dtype, detached.

    Raises:
        ValueError: If the model has more than one output.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> empirical_ntk(model, torch.eye(2), torch.tensor([[3.0, 4.0]]))
        tensor([[3.],
                [4.]])
    """
    return _gradients(model, a) @ _gradients(model, b).T


def _gradients(model: nn.Module, inputs: Tensor) -> Tensor:
    """One row an input: the gradient of the output by all parameters that train."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    output = model(inputs)
    if output.numel() != len(inputs):
        raise ValueError(
            f"model must have one output, got shape {tuple(output.shape)} for {len(inputs)} "
            "inputs; pick one with a wrapper"
        )
    rows = []
    for value in output.flatten():
        grads = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([grad.flatten() for grad in grads]))
    return torch.stack(rows)
