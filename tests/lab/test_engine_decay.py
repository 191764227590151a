"""Which tensors decay, which entries of them, and the gradient of what does: many as one by one."""

import pytest
import torch

from etalambda.lab.engine import (
    AT_RANDOM,
    CAUTIOUS,
    Trial,
    cross_entropy,
    everything,
    matrices,
    train,
)
from etalambda.lab.engine.masks import agreeing, as_many, uniform
from etalambda.lab.models import MLP, SmallCNN
from etalambda.schedule import MatchedAnnealing, cosine, linear
from tests.lab.one_by_one import DOUBLE, STEPS, alone, assert_same, finals

HYPER = {"sgd": dict(momentum=0.9), "sgdw": dict(momentum=0.9, nesterov=True)}


def layers(name, tensor):
    """A BatchNorm network's kinds: invariant under scale, the head, gains, and what is left."""
    if tensor.dim() == 4:
        return "weight_decay"
    kind = "head" if tensor.dim() == 2 else "gains"
    return "bias" if name.endswith("bias") else kind


BY_CLASS = [
    Trial(0, 0.05, 0.1, rules={"lr": cosine(STEPS)}, decays={"head": 0.3}),
    Trial(1, 0.05, 0.0, rules={"head": linear(STEPS)}, decays={"head": 0.3, "gains": 0.2}),
    Trial(2, 0.04, 0.2, rules={"gains": MatchedAnnealing()}, decays={"gains": 0.2}),
    Trial(3, 0.05, 0.1),
]


@pytest.mark.parametrize("optimizer", ["sgd", "sgdw", "adamw", "adams"])
def test_decay_by_class_of_tensors_equals_one_by_one(digits, optimizer):
    options = dict(optimizer=optimizer, classes=layers, **HYPER.get(optimizer, {}))
    trials = [Trial(**vars(t) | dict(lr=t.lr / 10)) for t in BY_CLASS]
    make = lambda: SmallCNN(3)
    together = finals(make, digits, trials, **options)
    assert_same(together, alone(make, digits, trials, **options), digits.x["val"], 1e-9)


def test_a_class_that_a_trial_does_not_name_does_not_decay(digits):
    make = lambda: SmallCNN(3)
    run = lambda trial, classes: finals(
        make, digits, [trial, trial], optimizer="adamw", classes=classes
    )[0]
    plain = Trial(0, 0.01, 0.5)
    head = Trial(0, 0.01, 0.5, decays={"head": 0.5})
    by_class = run(plain, layers)
    only = run(plain, lambda name, p: "weight_decay" if p.dim() == 4 else "nothing")
    assert torch.equal(by_class.norm, only.norm)
    assert torch.equal(by_class.K, run(head, layers).K)  # K is that of weight_decay alone
    both = run(head, layers)
    assert torch.equal(both.norm, run(plain, matrices).norm)
    assert not torch.equal(both.norm, run(plain, everything).norm)


@pytest.mark.parametrize("mask", [CAUTIOUS, AT_RANDOM], ids=["cautious", "at random"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgdw"])
def test_masked_decay_equals_the_hooks_one_by_one(digits, optimizer, mask):
    trials = [
        Trial(0, 0.01, 0.5),
        Trial(0, 0.02, 0.5, rules={"lr": cosine(STEPS), "weight_decay": linear(STEPS // 2)}),
        Trial(1, 0.01, 0.0),
        Trial(2, 0.01, 1.0, decays={"head": 0.5}),
    ]
    options = dict(optimizer=optimizer, mask=mask, classes=layers, **HYPER.get(optimizer, {}))
    make = lambda: SmallCNN(3)
    together = finals(make, digits, trials, **options)
    assert_same(together, alone(make, digits, trials, **options), digits.x["val"], 1e-9)
    unmasked = finals(make, digits, trials, **options | dict(mask=None))[0]
    shares = (together[0].K / unmasked.K)[[0, 1, 3]].tolist()
    assert all(0.2 < share < 0.8 for share in shares)


def test_a_random_mask_draws_as_many_as_agree_and_by_seed_alone():
    start = torch.randn(3, 4000)
    moved = start - 0.1 * torch.stack([start[0], -start[1], torch.randn(4000)])
    agree = agreeing(start, moved)
    draws = uniform([5, 6, 5], step=3, place=1, like=start)
    some = as_many(agree, lambda: draws)
    assert some[0].all()
    assert not some[1].any()
    share, both = (float(t.double().mean()) for t in (some[2], some[2] & agree[2]))
    assert share == pytest.approx(float(agree[2].double().mean()), abs=0.03)
    assert both == pytest.approx(0.25, abs=0.03)  # it does not look at what agrees
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[:1], uniform([5], step=3, place=1, like=start[:1]))
    for other in (dict(step=4, place=1), dict(step=3, place=2)):
        assert not torch.equal(draws[0], uniform([5], like=start[:1], **other)[0])


def test_the_gradient_norm_is_that_of_the_decayed_tensors_at_the_last_step(digits):
    make = lambda: MLP((64, 8, 10))
    trials = [Trial(seed, 0.1) for seed in (0, 1)]
    options = dict(optimizer="sgd", steps=1, every=1, classes=matrices, **DOUBLE)
    first, last = train(make, digits.batches, trials, **options)
    assert first.gradient_norm.isnan().all()
    for row, trial in enumerate(trials):
        torch.manual_seed(trial.seed)
        net = make().double()
        x, y = digits.batches([trial])(0)
        cross_entropy(net(x[0])[None], y).sum().backward()
        squares = sum(p.grad.square().sum() for p in net.parameters() if p.dim() > 1)
        assert last.gradient_norm[row].item() == pytest.approx(squares.sqrt().item(), rel=1e-12)
