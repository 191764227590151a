"""The covariance of a network's loss over its weights, before training: f(0), f'(0), f''(0).

Richemond & Guo 2019, section 5 (their closing idea): treat the loss as a Gaussian field on the
sphere of initializations and read its covariance from forward passes. Then `GaussianField` gives
complexity, critical energy and the convexifying L2 of the network before it is trained.

Coordinates: x = θ/(init std of its tensor), on ‖x‖² = N. φ = N(L - mean L),

    <φ(x) φ(x')> = N f(s),  s = ‖x - x'‖²/(2N)
    f(0)   = N Var L                       losses at random points
    f'(0)  = -N E‖P ∇L‖²                   P: the tangent part of the gradient
    f''(0) = N³/(N-2) E[‖H v‖² - (v·H v)²]   v: a random unit tangent, H: the tangent Hessian
           = N³ E[(mixed difference of L)²]  forward passes only, at the declared step h

    paper   f(0), f'(0), f''(0)   N           L
    code    f0, f1, f2            dimension   loss(model(inputs), targets)

Departures from the paper: it does not say how to measure. The mixed second difference of two
tangents is used because it has no curvature term on the sphere. For ReLU networks f''(0) does not
exist: forward differences grow like 1/h at the kinks while Hessian products see the smooth part
only; ``diverging`` says so, and ``f2`` is then the value at its ``h``. Real losses are not
Gaussian and not isotropic: ``kurtosis`` (3 for a Gaussian) shows it, and a measured index belongs
beside every predicted one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from etalambda._common import check_positive
from etalambda.diagnose._tensors import Loss
from etalambda.diagnose.lanczos import Estimate
from etalambda.theory.gaussian_field import GaussianField


@dataclass(frozen=True)
class CovarianceConstants:
    """What `covariance_constants` measured; each number with its standard error.

    Attributes:
        dimension: N, the number of weights that the initialization draws at random.
        f0: f(0).
        f1: f'(0), from gradients.
        f2: f''(0), from Hessian products, or at step ``h`` if ``diverging``.
        f2_forward: f''(0) from forward passes at step ``h``.
        f2_fine: The same at ``h / 10``.
        kurtosis: Of the loss over initializations: 3 for a Gaussian field.
        diverging: ``f2_fine > 2 f2_forward``: the network has kinks (ReLU), f''(0) is infinite.
        h: The angle between neighbouring points, in radians.
    """

    dimension: int
    f0: Estimate
    f1: Estimate
    f2: Estimate
    f2_forward: Estimate
    f2_fine: Estimate
    kurtosis: float
    diverging: bool
    h: float

    def field(self, geometry: str = "sphere") -> GaussianField:
        """The Gaussian field with these constants; the sphere is where they were measured."""
        return GaussianField(self.f0.value, self.f1.value, self.f2.value, geometry=geometry)


def covariance_constants(
    make_model: Callable[[], nn.Module],
    loss: Loss,
    batch: tuple[Tensor, Tensor],
    *,
    samples: int = 200,
    h: float = 0.2,
    seed: int = 0,
) -> CovarianceConstants:
    """Measure f(0), f'(0), f''(0) of a network by initializing it many times.

    Args:
        make_model: A new randomly initialized network a call. Tensors that come out the same
            every time (zero biases, norm gains) stay fixed and do not count.
        loss: ``loss(outputs, targets)`` -> 0-d tensor.
        batch: ``(inputs, targets)``; its dtype sets the dtype of everything (float64 is best).
        samples: Base points. The relative error of ``f2`` falls as √(2.2 / samples) for a
            Gaussian field. Each costs 9 forward passes, one gradient and one Hessian product.
        h: Angle between neighbouring points of the differences.
        seed: Of the initializations and directions. torch's random state is put back.

    Raises:
        ValueError: If no tensor varies between initializations, or the loss is not finite.

    Example:
        >>> def make_model():
        ...     return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(),
        ...                                torch.nn.Linear(8, 2)).double()
        >>> batch = torch.randn(16, 4).double(), torch.randint(2, (16,))
        >>> found = covariance_constants(make_model, torch.nn.CrossEntropyLoss(), batch, samples=20)
        >>> found.f0.value > 0 > found.f1.value, found.diverging
        (True, False)
    """
    check_positive(samples=samples, h=h)
    if samples < 2:
        raise ValueError(f"samples must be at least 2 for standard errors, got {samples}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        energy, n, dtype = _energy_on_the_sphere(make_model, loss, batch)
        rows = torch.stack([_one_point(energy, n, dtype, h) for _ in range(samples)])
    losses, slopes, products, coarse, fine = rows.T
    if not torch.isfinite(rows).all():
        raise ValueError("the loss is not finite at a random initialization; check loss and batch")
    centred = losses - losses.mean()
    kurtosis = float(centred.pow(4).mean() / centred.square().mean() ** 2)
    f2_forward, f2_fine = _estimate(n**3 * coarse), _estimate(n**3 * fine)
    diverging = f2_fine.value > 2 * f2_forward.value
    return CovarianceConstants(
        n,
        _estimate(n * centred.square() * samples / (samples - 1)),
        _estimate(-n * slopes),
        f2_forward if diverging else _estimate(n**3 / (n - 2) * products),
        f2_forward,
        f2_fine,
        kurtosis,
        diverging,
        h,
    )


def _estimate(values: Tensor) -> Estimate:
    return Estimate(float(values.mean()), float(values.std() / math.sqrt(len(values))))


def _energy_on_the_sphere(
    make_model: Callable[[], nn.Module], loss: Loss, batch: tuple[Tensor, Tensor]
) -> tuple[Callable[[Tensor], Tensor], int, torch.dtype]:
    """x -> L for x on the sphere of radius √N, and N: weights in units of their init's std."""
    model = make_model()
    draws = [dict(make_model().named_parameters()) for _ in range(8)]
    fixed, scales = {}, {}
    for name, p in model.named_parameters():
        values = torch.stack([draw[name].detach() for draw in draws])
        spread = values.std(0).square().mean().sqrt().item()
        mean = values.mean().abs().item()
        if spread <= 1e-12 * (mean + 1e-30) or not p.requires_grad:
            fixed[name] = p.detach()
        else:
            scales[name] = (values.double().square().mean().sqrt().item(), p.shape)
    if not scales:
        raise ValueError("make_model returns the same weights every time; it must draw new ones")
    sizes = [shape.numel() for _, shape in scales.values()]
    leaf = next(model.parameters())

    def energy(x: Tensor) -> Tensor:
        parts = zip(scales.items(), x.split(sizes))
        named = {name: scale * part.reshape(shape) for (name, (scale, shape)), part in parts}
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        return loss(functional_call(model, named | fixed | buffers, (batch[0],)), batch[1])

    return energy, sum(sizes), leaf.dtype


def _one_point(energy: Callable[[Tensor], Tensor], n: int, dtype: torch.dtype, h: float) -> Tensor:
    """L, ‖P∇L‖², ‖Hv‖² - (v·Hv)², and the squared mixed differences at h and h/10."""
    x = torch.randn(n, dtype=dtype)
    x *= math.sqrt(n) / x.norm()
    u, v = _tangents(x)
    gradient, curved = _gradient_and_product(energy, x, v)
    tangent = gradient - x * (x @ gradient) / n
    along = curved - x * (x @ curved) / n
    products = along.square().sum() - (v @ along) ** 2
    differences = [_mixed_difference(energy, x, u, v, angle) ** 2 for angle in (h, h / 10)]
    row = [energy(x), tangent.square().sum(), products, *differences]
    return torch.stack([entry.detach().double() for entry in row])


def _gradient_and_product(
    energy: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """∇L and H v at x, by two backward passes."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(leaf), leaf, create_graph=True)
    if not gradient.requires_grad:  # a linear loss
        return gradient, torch.zeros_like(x)
    (curved,) = torch.autograd.grad(gradient @ v, leaf)
    return gradient.detach(), curved


def _tangents(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two random orthonormal vectors that are orthogonal to x."""
    basis = torch.stack([x, torch.randn_like(x), torch.randn_like(x)], 1)
    q, _ = torch.linalg.qr(basis)
    return q[:, 1], q[:, 2]


def _mixed_difference(
    energy: Callable[[Tensor], Tensor], x: Tensor, u: Tensor, v: Tensor, angle: float
) -> Tensor:
    """∂²L/∂u∂v by four points on the sphere at this angle from x along each of u and v."""
    step = angle * x.norm()

    def at(a: float, b: float) -> Tensor:
        point = x + step * (a * u + b * v)
        return energy(point * x.norm() / point.norm())

    return (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * step**2)
