"""Which class, or which schedule of one, each printed algorithm equals.

Proved in the files of the classes: SWD-A2 and A6 (test_adams), A4 (test_adai), A7's SGDW, A8 and
E22 (test_sgds). Kept as references only: SWD-E10, whose decay differs from weight to weight, and
heavy ball with the paper's λ, which is torch's SGD at weight_decay 2λ. SWD-E9 is no update but the
fixed point of E8 at constant v: `etalambda.theory.quadratic_adaptive.adaptive_bias`.
"""

import pytest
import torch

from etalambda.optim import SGDW, AdamS
from tests.optim._drive import agree, flat, flat_gradients, gradients, run, weights
from tests.reference import optimizers as paper


def lr_driven(optimizer, params, lrs, decays=None):
    """Iterates of an optimizer whose lr (and λ) follow a list."""
    for t, grads in enumerate(gradients(params, len(lrs))):
        optimizer.param_groups[0]["lr"] = lrs[t]
        if decays is not None:
            optimizer.param_groups[0]["weight_decay"] = decays[t]
        for p, g in zip(params, grads):
            p.grad = g.clone()
        optimizer.step()
        yield flat(params).clone()


@pytest.mark.parametrize(
    ("rule", "cls"), [(paper.adam, torch.optim.Adam), (paper.adamw, torch.optim.AdamW)]
)
def test_adam_and_adamw_are_torch_s(rule, cls):
    params = weights()
    optimizer = cls(params, lr=0.02, betas=(0.9, 0.99), weight_decay=0.1)
    theirs = rule(flat(params), flat_gradients(params, 60), 0.02, 0.9, 0.99, 1e-8, 0.1)
    agree(run(optimizer, params), theirs)


def test_amsgrad_and_amsgradw_are_torch_s():
    """SWD-A5, both terms."""
    options = dict(lr=0.02, betas=(0.9, 0.99), weight_decay=0.1, amsgrad=True)
    arguments = (0.02, 0.9, 0.99, 1e-8, 0.1)
    params = weights()
    theirs = paper.amsgrad(flat(params), flat_gradients(params, 60), *arguments)
    agree(run(torch.optim.Adam(params, **options), params), theirs)
    params = weights()
    theirs = paper.amsgrads(flat(params), flat_gradients(params, 60), *arguments, 0.0)
    agree(run(torch.optim.AdamW(params, **options), params), theirs)


def test_loshchilov_and_hutter_s_adamw_is_torch_s_with_decay_over_alpha():
    """Their schedule multiplier scales both terms: torch's lr is η_t α and its λ is λ / α."""
    params = weights()
    multipliers = [1 / (1 + t) ** 0.5 for t in range(60)]
    theirs = paper.adamw_independent(
        flat(params), flat_gradients(params, 60), multipliers, 0.05, 0.9, 0.99, 1e-8, 0.01
    )
    optimizer = torch.optim.AdamW(params, lr=0.05, betas=(0.9, 0.99), weight_decay=0.01 / 0.05)
    agree(lr_driven(optimizer, params, [0.05 * eta for eta in multipliers]), theirs)


def test_sgd_with_l2_is_torch_s():
    params = weights()
    optimizer = torch.optim.SGD(params, lr=0.02, momentum=0.9, weight_decay=0.1)
    theirs = paper.sgd(flat(params), flat_gradients(params, 60), 0.02, 0.9, 1.0, 0.1)
    agree(run(optimizer, params), theirs)


def test_heavy_ball_is_torch_s_sgd_at_twice_lambda():
    params = weights()
    optimizer = torch.optim.SGD(params, lr=0.02, momentum=0.9, weight_decay=0.2)
    theirs = paper.heavy_ball(flat(params), flat_gradients(params, 60), 0.02, 0.9, 0.1)
    agree(run(optimizer, params), theirs)


def test_tensorflow_s_sgd_is_torch_s_at_constant_lr_only():
    lrs = [0.02] * 30
    for change in (False, True):
        if change:
            lrs = [0.02] * 15 + [0.002] * 15
        params = weights()
        optimizer = torch.optim.SGD(params, lr=0.02, momentum=0.9, weight_decay=0.1)
        theirs = list(paper.sgd_tensorflow(flat(params), flat_gradients(params, 30), lrs, 0.9, 0.1))
        ours = list(lr_driven(optimizer, params, lrs))
        torch.testing.assert_close(ours[14], theirs[14], rtol=1e-12, atol=1e-12)
        equal = torch.allclose(ours[-1], theirs[-1], rtol=1e-9)
        assert equal is not change


LRS = [0.05 / (1 + t) ** 0.5 for t in range(60)]


def test_hanson_and_pratt_is_sgdw_with_decay_over_lr():
    """SWD-E1: a rate λ' free of η is decoupled decay with λ = λ' / η_t."""
    params = weights()
    theirs = paper.hanson_pratt(flat(params), flat_gradients(params, 60), LRS, 0.01)
    decays = [0.01 / lr for lr in LRS]
    agree(lr_driven(SGDW(params, lr=1.0), params, LRS, decays), theirs)


def test_decoupled_sgd_is_sgdw_without_momentum():
    params = weights()
    theirs = paper.decoupled_sgd(flat(params), flat_gradients(params, 60), LRS, 0.2)
    agree(lr_driven(SGDW(params, lr=1.0, weight_decay=0.2), params, LRS), theirs)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_the_forms_without_momentum_are_adams_at_beta1_zero(power):
    """SWD-E8 is p = 0, SWD-E11 any p; ε = 0 and bias correction as in Algorithm 2."""
    params = weights()
    optimizer = AdamS(
        params, lr=0.02, betas=(0.0, 0.99), eps=0.0, weight_decay=0.1, power=power
    )  # fmt: skip
    arguments = (flat(params), flat_gradients(params, 60), 0.02, 0.99, 0.1)
    if power == 0:
        theirs = paper.adamw_without_momentum(*arguments)
    else:
        theirs = paper.stable_scalar(*arguments, power)
    agree(run(optimizer, params), theirs)


def test_elementwise_stable_decay_is_another_algorithm():
    """SWD-E10 decays each weight at its own v^(-1/2): not AdamS, kept as a reference."""
    params = weights()
    start = flat(params).clone()
    scalar = list(paper.stable_scalar(start, flat_gradients(params, 5), 0.02, 0.99, 0.1, 0.5))
    elementwise = list(paper.stable_elementwise(start, flat_gradients(params, 5), 0.02, 0.99, 0.1))
    assert not torch.allclose(scalar[-1], elementwise[-1], rtol=1e-4)
