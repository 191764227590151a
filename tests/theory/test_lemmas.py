"""Lemmas that carry the theory and need no code of their own: checked on real functions."""

import math

import pytest
import torch
from torch.func import grad, hessian, jacrev

from etalambda.theory import quadratic, wide
from etalambda.theory.norm_dynamics_scaling import rescaled

A = torch.tensor([[1.0, 0.4, -0.2], [0.3, -1.0, 0.8], [0.5, 0.1, 0.9]], dtype=torch.float64)
W = torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64)


def invariant(w):
    """A scale-invariant function of three weights."""
    unit = w / (w @ w).sqrt()
    return torch.tanh(A @ unit).square().sum() + (unit * unit).sum() * unit[0]


def homogeneous(w, degree):
    """f(cw) = c^degree f(w)."""
    return (w @ w) ** (degree / 2) * invariant(w)


@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_lemma_31_scale_invariance(factor):
    """Gradient and Hessian scale as 1/c and 1/c²; <∇f, w> = 0; ∇²f w = -∇f."""
    slope, curve = grad(invariant), hessian(invariant)
    torch.testing.assert_close(invariant(factor * W), invariant(W))
    torch.testing.assert_close(slope(factor * W), slope(W) / factor)
    torch.testing.assert_close(curve(factor * W), curve(W) / factor**2)
    assert abs(slope(W) @ W) < 1e-14
    torch.testing.assert_close(curve(W) @ W, -slope(W))


def test_lemma_b2_ito_on_the_norm():
    """df = {∇fᵀμ + ½ Tr(Gᵀ ∇²f G)} dt + ..., on f = ‖w‖² with tangent noise: the drift of (7)."""
    unit = W / W.norm()
    root = torch.eye(3).double() - torch.outer(unit, unit)
    drift = -0.1 * W - grad(invariant)(W)
    f = lambda w: w @ w
    ito = grad(f)(W) @ drift + 0.5 * torch.trace(root.T @ hessian(f)(W) @ root)
    assert ito.item() == pytest.approx((-0.2 * (W @ W) + torch.trace(root @ root.T)).item())


def test_lemma_b3_hessian_through_the_sphere():
    """v ⊥ w, f(w) = g(w̄): vᵀ∇²f v = (vᵀ∇²g(w̄) v - w̄ᵀ∇g(w̄) ‖v‖²)/‖w‖². Proof's ∇gᵀv is w̄ᵀ∇g."""
    g = lambda u: torch.tanh(A @ u).square().sum() + u[0] ** 3  # not invariant itself
    f = lambda w: g(w / w.norm())
    unit = W / W.norm()
    v = torch.linalg.cross(W, torch.tensor([1.0, 2.0, -0.5]).double())
    inner = v @ hessian(g)(unit) @ v
    expected = (inner - (unit @ grad(g)(unit)) * (v @ v)) / (W @ W)
    torch.testing.assert_close(v @ hessian(f)(W) @ v, expected)
    as_in_proof = (inner - (v @ grad(g)(unit)) * (v @ v)) / (W @ W)
    assert abs(as_in_proof - expected) > 0.1


@pytest.mark.parametrize("degree", [0, 1, 2, 3.5])
def test_lemma_1_of_homogeneous_functions(degree):
    """Σ θ_μ ∂_μ ∂^m f = (k - m) ∂^m f, for m = 0, 1, 2."""
    f = lambda w: homogeneous(w, degree)
    slope, curve = grad(f), hessian(f)
    torch.testing.assert_close(slope(W) @ W, degree * f(W))
    torch.testing.assert_close(curve(W) @ W, (degree - 1) * slope(W))
    third = jacrev(curve)(W)
    torch.testing.assert_close(third @ W, (degree - 2) * curve(W), rtol=1e-9, atol=1e-9)


def test_kernel_of_a_homogeneous_function_decays_at_2_k_minus_1():
    """Under θ' = -λθ alone the kernel is e^(-2(k-1)λt) Θ_0, and f is e^(-kλt) f_0: exact."""
    for degree in (1, 2, 3):
        f = lambda w, degree=degree: homogeneous(w, degree)
        shrunk = W * math.exp(-0.3 * 2.0)
        theta = lambda w, f=f: grad(f)(w) @ grad(f)(w)
        expected = wide.kernel_at(2.0, degree, 0.3, theta(W))
        torch.testing.assert_close(theta(shrunk), expected)
        torch.testing.assert_close(f(shrunk), math.exp(-degree * 0.3 * 2) * f(W))


def test_regularised_quadratic_splits_into_two():
    """E16: L + (λ/2)‖θ‖² = ½ (θ-φ)ᵀ(H+λ)(θ-φ) + ½ λ θ*ᵀ H (H+λ)⁻¹ θ*; its minimum is φ."""
    h, decay, eye = A @ A.T, 0.3, torch.eye(3).double()
    goal, theta = W, torch.tensor([0.2, 0.5, -0.7], dtype=torch.float64)
    left = 0.5 * (theta - goal) @ h @ (theta - goal) + decay / 2 * theta @ theta
    inverse = torch.linalg.inv(h + decay * eye)
    phi = h @ inverse @ goal
    right = 0.5 * (theta - phi) @ (h + decay * eye) @ (theta - phi)
    right = right + 0.5 * decay * goal @ h @ inverse @ goal
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(phi - goal, quadratic.bias(h, goal, decay))


def test_c1_second_order_form_of_momentum():
    """w'/√η: w'_{t+1} - (1+β-λ_e) w'_t + β w'_{t-1} = -∇L(w'_t)."""
    lr, decay, beta = 0.1, 0.2, 0.9
    w, v, path = W.clone(), torch.zeros(3).double(), [W.clone()]
    for _ in range(20):
        v = beta * v + grad(invariant)(w) + decay * w
        w = w - lr * v
        path.append(w)
    scaled = torch.stack(path) / lr**0.5
    for before, now, after in zip(scaled, scaled[1:], scaled[2:], strict=False):
        left = after - (1 + beta - lr * decay) * now + beta * before
        torch.testing.assert_close(left, -grad(invariant)(now), rtol=1e-9, atol=1e-11)
    moved = rescaled("sgd", lr**-0.5, lr=lr, weight_decay=decay)
    assert moved["weight_decay"] == pytest.approx(lr * decay)


def test_loss_scale_moves_weight_decay_with_it():
    """GD on sL + (λ/2)‖θ‖² with lr η is GD on L + (λ/2s)‖θ‖² with lr sη: η λ stays."""
    one, other = W.clone(), W.clone()
    for _ in range(30):
        one = one - 0.1 * (5 * grad(invariant)(one) + 0.2 * one)
        other = other - 0.5 * (grad(invariant)(other) + 0.04 * other)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
