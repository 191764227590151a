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

_MORE = 10


@dataclass(frozen=True)
class CovarianceConstants:
    """What `covariance_constants` measured; each number with its standard error.

    Attributes:
        dimension: N, the number of weights that the initialization draws at random.
        mean: The mean loss over initializations.
        f0: f(0).
        f1: f'(0), from gradients.
        f1_forward: f'(0) from forward passes at step ``h / 10``.
        f2: f''(0), from Hessian products, or at step ``h`` if ``diverging``.
        f2_forward: f''(0) from forward passes at step ``h``.
        f2_fine: The same at ``h / 10``.
        kurtosis: Of the loss over initializations: 3 for a Gaussian field.
        anisotropy: Largest over smallest mean squared gradient entry among the tensors, in the
            field's coordinates: 1 for an isotropic field.
        diverging: ``f2_fine > 2 f2_forward``: the network has kinks (ReLU), f''(0) is infinite.
        h: The angle between neighbouring points, in radians.
        squared_radius: R² = E‖θ‖² of those weights, in the network's own units.

    Example:
        >>> def make_model():
        ...     return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(),
        ...                                torch.nn.Linear(8, 2)).double()
        >>> batch = torch.randn(16, 4).double(), torch.randint(2, (16,))
        >>> found = covariance_constants(make_model, torch.nn.CrossEntropyLoss(), batch, samples=20)
        >>> found.dimension, found.h
        (58, 0.2)
    """

    dimension: int
    mean: Estimate
    f0: Estimate
    f1: Estimate
    f1_forward: Estimate
    f2: Estimate
    f2_forward: Estimate
    f2_fine: Estimate
    kurtosis: float
    anisotropy: float
    diverging: bool
    h: float
    squared_radius: float

    def field(self, geometry: str = "sphere") -> GaussianField:
        """The Gaussian field with these constants; the sphere is where they were measured.

        Its complexity raises a ValueError where no field has such constants (Q < 0): on the flat
        geometry that is usual for networks, on the sphere it means too few samples.
        """
        return GaussianField(self.f0.value, self.f1.value, self.f2.value, geometry=geometry)

    def convexifying_weight_decay(self, loss: float, *, at: str = "generic") -> float:
        """What torch ``weight_decay`` would convexify a Gaussian field at this loss: w = 2λ*/R².

        For typical (``at="generic"``) or critical points of the flat field. A reference line:
        compare it with ``curvature(...).convexifying_weight_decay``, which measures.
        """
        energy = loss - self.mean.value
        strength = self.field("flat").convexifying_l2(energy, at=at)
        return 2 * float(strength) / self.squared_radius


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
            Gaussian field. Each costs 21 forward passes, one gradient and one Hessian product.
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
        sphere = Sphere.of(make_model, loss, batch)
        points = [_one_point(sphere, h) for _ in range(samples)]
        with torch.no_grad():  # a variance needs many points, and each costs one forward pass
            more = [sphere.energy(sphere.sample()).double() for _ in range(_MORE * samples)]
    rows = torch.stack([row for row, _ in points])
    if not torch.isfinite(rows).all():
        raise ValueError("the loss is not finite at a random initialization; check loss and batch")
    losses, slopes, forward, products, coarse, fine = rows.T
    losses = torch.cat([losses, torch.stack(more)])
    n, centred, count = sphere.dimension, losses - losses.mean(), len(losses)
    f2_forward, f2_fine = _estimate(n**3 * coarse), _estimate(n**3 * fine)
    diverging = f2_fine.value > 2 * f2_forward.value
    entries = torch.stack([squares for _, squares in points]).mean(0)
    return CovarianceConstants(
        dimension=n,
        mean=_estimate(losses),
        f0=_estimate(n * centred.square() * count / (count - 1)),
        f1=_estimate(-(n**2) / (n - 1) * slopes),
        f1_forward=_estimate(-(n**2) * forward),
        f2=f2_forward if diverging else _estimate(n**3 / (n - 2) * products),
        f2_forward=f2_forward,
        f2_fine=f2_fine,
        kurtosis=float(centred.pow(4).mean() / centred.square().mean() ** 2),
        anisotropy=float(entries.max() / entries.min()) if entries.min() > 0 else math.inf,
        diverging=diverging,
        h=h,
        squared_radius=sphere.squared_radius,
    )


def _estimate(values: Tensor) -> Estimate:
    return Estimate(float(values.mean()), float(values.std() / math.sqrt(len(values))))


@dataclass(frozen=True)
class Sphere:
    """A network's loss as a function of x on the sphere ‖x‖² = N of its initializations."""

    energy: Callable[[Tensor], Tensor]
    sizes: list[int]
    dtype: torch.dtype
    squared_radius: float

    @property
    def dimension(self) -> int:
        """N."""
        return sum(self.sizes)

    def sample(self) -> Tensor:
        """A uniform point, from torch's random state."""
        x = torch.randn(self.dimension, dtype=self.dtype)
        return x * (math.sqrt(self.dimension) / x.norm())

    @classmethod
    def of(
        cls, make_model: Callable[[], nn.Module], loss: Loss, batch: tuple[Tensor, Tensor]
    ) -> "Sphere":
        """Weights in units of their init's std; what is not drawn at random stays fixed."""
        model = make_model()
        draws = [dict(make_model().named_parameters()) for _ in range(32)]
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
            raise ValueError(
                "make_model returns the same weights every time; it must draw new ones"
            )
        sizes = [shape.numel() for _, shape in scales.values()]

        def energy(x: Tensor) -> Tensor:
            parts = zip(scales.items(), x.split(sizes))
            named = {name: scale * part.reshape(shape) for (name, (scale, shape)), part in parts}
            buffers = {name: b.clone() for name, b in model.named_buffers()}
            return loss(functional_call(model, named | fixed | buffers, (batch[0],)), batch[1])

        radius = sum(scale**2 * shape.numel() for scale, shape in scales.values())
        return cls(energy, sizes, next(model.parameters()).dtype, radius)


def _one_point(sphere: Sphere, h: float) -> tuple[Tensor, Tensor]:
    """What one random point shows: six numbers, and the mean squared gradient entry a tensor.

    L, ‖P∇L‖², (∂_u L)² by differences, ‖Hv‖² - (v·Hv)², and the squared mixed differences at h
    and h/10.
    """
    energy, n, x = sphere.energy, sphere.dimension, sphere.sample()
    u, v = _tangents(x)
    gradient, curved = _gradient_and_product(energy, x, v)
    tangent = gradient - x * (x @ gradient) / n
    curved = curved - x * (x @ curved) / n
    with torch.no_grad():
        steps = [_mixed_difference(energy, x, u, v, angle) for angle in (h, h / 10)]
        row = torch.stack(
            [
                energy(x).double(),
                tangent.double().square().sum(),
                _slope(energy, x, u, h / 10).double().square(),
                curved.double().square().sum() - (v.double() @ curved.double()) ** 2,
                steps[0].double().square(),
                steps[1].double().square(),
            ]
        )
    parts = tangent.double().square().split(sphere.sizes)
    return row, torch.stack([part.mean() for part in parts])


def _slope(energy: Callable[[Tensor], Tensor], x: Tensor, u: Tensor, angle: float) -> Tensor:
    """∂L/∂u at x by two points on the sphere at this angle from it."""
    radius = x.norm()
    ahead, behind = (math.cos(angle) * x + s * math.sin(angle) * radius * u for s in (1, -1))
    return (energy(ahead) - energy(behind)) / (2 * angle * radius)


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
