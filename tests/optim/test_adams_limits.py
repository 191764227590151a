"""AdamS at its limits, where it is another optimizer or must stay finite, and its scaling laws."""

import warnings

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdamS, functional
from tests.optim._backends import BACKENDS, HYPER, backends
from tests.optim._drive import agree, gradients, run, weights


@backends
def test_power_zero_is_adamw(backend):
    params, theirs = weights(), weights()
    ours = AdamS(params, **HYPER | BACKENDS[backend], power=0)
    agree(run(ours, params), run(torch.optim.AdamW(theirs, **HYPER), theirs))


@backends
def test_no_decay_is_adam(backend):
    params, theirs = weights(), weights()
    ours = AdamS(params, **(HYPER | BACKENDS[backend] | dict(weight_decay=0)))
    adam = torch.optim.Adam(theirs, **(HYPER | dict(weight_decay=0)))
    agree(run(ours, params), run(adam, theirs))


def test_amsgrad_has_the_larger_mean():
    """v_max >= v, so AMSGradS never decays more than AdamS on the same gradients."""
    grads = list(gradients(weights(), 40))
    kept = {}
    for amsgrad in (False, True):
        params = weights()
        state, means = functional.init("adams", params, amsgrad=amsgrad), []
        for g in grads:
            state, v_hats = functional.adam_moments(g, state, (0.9, 0.9), amsgrad)
            means.append(functional.mean_of_all(v_hats))
        kept[amsgrad] = torch.stack(means)
    assert (kept[True] >= kept[False]).all()
    assert (kept[True] > kept[False]).any()


@backends
def test_loss_scale(backend):
    """AdamS(c L, c λ) = AdamS(L, λ) at ε = 0: it keeps the minimum of the L2 objective."""
    params, scaled = weights(), weights()
    options = HYPER | BACKENDS[backend] | dict(eps=0.0)
    c = 37.0
    first, second = (
        AdamS(params, **options),
        AdamS(scaled, **(options | dict(weight_decay=0.1 * c))),
    )
    agree(run(first, params), run(second, scaled, scale=c), tolerance=1e-10)


@backends
@pytest.mark.parametrize("C", [0.25, 8.0])
def test_scale_invariant_weights(backend, C):
    """Weights C times as large, with (C lr, λ / C²), stay C times as large at ε = 0."""
    x = torch.randn(16, 12, dtype=torch.float64)
    runs = []
    for scale in (1.0, C):
        w = Parameter(scale * weights(shapes=((12,),))[0].detach())
        options = HYPER | BACKENDS[backend] | dict(eps=0.0)
        options |= dict(lr=options["lr"] * scale, weight_decay=options["weight_decay"] / scale**2)
        optimizer = AdamS([w], **options)
        for _ in range(50):
            optimizer.zero_grad()
            (x @ w / w.norm()).sigmoid().square().mean().backward()
            optimizer.step()
        runs.append(w.detach() / scale)
    torch.testing.assert_close(*runs, rtol=1e-9, atol=1e-9)


def test_decay_is_isotropic_and_scale_free():
    rate = lambda v: 1 - functional.kept_fraction(torch.tensor(v), 1e-3, 1e-2, 0.5)
    torch.testing.assert_close(rate(1.0) / rate(9.0), torch.tensor(3.0), rtol=1e-2, atol=0)


@backends
def test_zero_gradients_are_a_no_op(backend):
    p = Parameter(torch.ones(4))
    p.grad = torch.zeros(4)
    optimizer = AdamS([p], **(dict(lr=1.0, weight_decay=1.0) | BACKENDS[backend]))
    optimizer.step()
    assert torch.equal(p.detach(), torch.ones(4))
    p.grad = None
    optimizer.step()


@pytest.mark.parametrize("backend", ["default", "forloop", "foreach"])
def test_tiny_gradients_never_flip_weights(backend):
    p = Parameter(torch.ones(4))
    optimizer = AdamS([p], lr=1e-3, weight_decay=5e-4, **BACKENDS[backend])
    p.grad = torch.full((4,), 1e-7)
    with pytest.warns(UserWarning, match=r"lr · weight_decay / √v̄ = 0.001 · 0.0005 / 1e-07"):
        optimizer.step()
    assert p.abs().max() < 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            optimizer.step()  # warned once; the weights stay bounded
    assert p.abs().max() < 0.05
