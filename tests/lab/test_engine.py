"""The many-trials engine: exactly what each trial would have been alone."""

import math
from itertools import pairwise

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from etalambda.lab.engine import CAUTIOUS, Trial, chunk_size, everything, matrices, train
from etalambda.lab.models import MLP, Quadratic, SmallCNN, SmallResNet, Stacked
from etalambda.lab.models.gpt import GPT
from etalambda.lab.models.stacked import seeded
from etalambda.lab.models.zoo import freeze_for_scale_invariance
from etalambda.lab.tasks import Modular, Passes
from etalambda.schedule import MatchedAnnealing, cosine, linear
from tests.lab.one_by_one import DOUBLE, STEPS, alone, assert_same, finals

TRIALS = [
    Trial(seed=0, lr=0.05, weight_decay=0.01),
    Trial(seed=1, lr=0.02, weight_decay=0.1, rules={"lr": cosine(STEPS)}),
    Trial(seed=2, lr=0.03, weight_decay=0.05, rules={"weight_decay": linear(STEPS)}),
    Trial(seed=0, lr=0.04, weight_decay=0.02, rules={"weight_decay": MatchedAnnealing()}),
    Trial(
        seed=1,
        lr=0.05,
        weight_decay=0.3,
        rules={"lr": cosine(STEPS), "weight_decay": MatchedAnnealing(memory=3)},
    ),
    Trial(seed=3, lr=0.05, weight_decay=0.01, sphere=2.0),
    Trial(seed=3, lr=0.05, weight_decay=0.01, sphere=1.5, joint=True),
    Trial(
        seed=4,
        lr=0.05,
        weight_decay=0.1,
        rules={"weight_decay": linear(STEPS)},
        two_step="relative",
    ),
]
OPTIMIZERS = {
    "sgd": dict(momentum=0.9),
    "sgdw": dict(momentum=0.9, nesterov=True),
    "sgds": dict(momentum=0.9),
    "adam": {},
    "adamw": dict(betas=(0.9, 0.98)),
    "adams": {},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_many_equal_one_by_one_in_float64(digits, optimizer):
    options = dict(optimizer=optimizer, **OPTIMIZERS[optimizer])
    make = lambda: MLP((64, 16, 10))
    trials = [Trial(**vars(t) | dict(lr=t.lr / 10)) for t in TRIALS]
    together = finals(make, digits, trials, **options)
    assert len(together) == 1
    assert_same(together, alone(make, digits, trials, **options), digits.x["val"])


def test_muon_is_torch_s_own_one_trial_after_the_other():
    task, steps = Modular(5), 6
    trials = [Trial(seed, 1e-2, 0.3, rules={"weight_decay": linear(steps)}) for seed in (0, 1)]
    options = dict(optimizer="muon", steps=steps, every=steps, adjust_lr_fn="match_rms_adamw")
    found = finals(lambda: Quadratic(5, 8), task, trials, **options)
    assert [len(seen.trials) for seen in found] == [1, 1]
    for trial, seen in zip(trials, found):
        net = seeded(lambda: Quadratic(5, 8), trial.seed).double()
        own = torch.optim.Muon(
            net.parameters(), lr=1e-2, weight_decay=0.3, adjust_lr_fn="match_rms_adamw"
        )
        x, y = (part[0] for part in task.batches([trial])(0))
        for step in range(steps):
            own.param_groups[0]["weight_decay"] = 0.3 * (1 - step / steps)
            own.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            own.step()
        torch.testing.assert_close(seen.predict(x)[0], net(x).detach(), rtol=1e-10, atol=1e-10)
        assert seen.K.item() == pytest.approx(sum(3e-3 * (1 - s / steps) for s in range(steps)))


@pytest.mark.parametrize(
    "make", [lambda: SmallCNN(4), lambda: SmallResNet(2), lambda: MLP((64, 8, 8, 10))]
)
def test_every_network_and_its_buffers_equal_one_by_one(digits, make):
    options = dict(optimizer="sgd", momentum=0.9)
    together = finals(make, digits, TRIALS, **options)
    assert_same(together, alone(make, digits, TRIALS, **options), digits.x["val"], 1e-9)


@pytest.mark.parametrize("optimizer", ["adamw", "adams"])
def test_a_language_model_whose_gains_do_not_decay_equals_one_by_one(optimizer):
    tokens = torch.randint(0, 11, (40, 9), generator=torch.Generator().manual_seed(0))
    task = Passes(tokens[:, :-1], tokens[:, 1:], passes=2, batch_size=4)
    trials = [Trial(seed=s, lr=1e-2, weight_decay=w) for s, w in ((0, 0.3), (1, 1.0))]
    options = dict(optimizer=optimizer, classes=matrices, steps=task.steps, every=task.steps)
    make = lambda: GPT(11, width=8, depth=1, heads=2, context=8)
    with sdpa_kernel(SDPBackend.MATH):
        together = finals(make, task, trials, **options)
        assert_same(together, alone(make, task, trials, **options), task.x)
        unsorted = finals(make, task, trials, **options | dict(classes=everything))
    assert not torch.allclose(unsorted[0].norm, together[0].norm, rtol=1e-6)


def test_frozen_tensors_stay_and_scale_invariant_networks_equal_one_by_one(digits):
    """LLA-M2's form: the last layer and BatchNorm's gains frozen."""

    def make():
        net = SmallCNN(4)
        freeze_for_scale_invariance(net)
        return net

    options = dict(optimizer="sgd")
    together = finals(make, digits, TRIALS[:3], **options)
    assert_same(together, alone(make, digits, TRIALS[:3], **options), digits.x["val"], 1e-9)
    nets = Stacked.build(make, [0, 1])
    assert "head.weight" in nets.buffers
    assert "head.weight" not in nets.names


def test_modular_equals_one_by_one():
    task = Modular(7)
    trials = [Trial(seed=s, lr=0.01, weight_decay=0.3, sphere=r) for s, r in ((0, None), (1, 2.0))]
    options = dict(optimizer="adamw", betas=(0.9, 0.98))
    together = finals(lambda: Quadratic(7, 16), task, trials, **options)
    assert_same(together, alone(lambda: Quadratic(7, 16), task, trials, **options), task.pairs)


@pytest.mark.parametrize(("chunk", "sizes"), [(1, [1] * 8), (3, [3, 3, 2])])
def test_chunks_change_nothing(digits, chunk, sizes):
    options = dict(optimizer="adamw")
    whole = finals(MLP, digits, TRIALS, **options)
    parts = finals(MLP, digits, TRIALS, chunk=chunk, **options)
    assert [len(part.trials) for part in parts] == sizes
    assert_same(whole, parts, digits.x["val"])


def test_a_diverged_trial_freezes_and_infects_nobody(digits):
    options = dict(optimizer="sgd", momentum=0.9, steps=60, every=20)
    calm = [Trial(seed=0, lr=0.02, weight_decay=0.01), Trial(seed=1, lr=0.02)]
    wild = Trial(seed=2, lr=1e9, rules={"weight_decay": MatchedAnnealing()}, weight_decay=0.1)
    trials = [calm[0], wild, calm[1]]
    make = lambda: MLP((64, 16, 10))
    seen = list(train(make, digits.batches, trials, optimizer="sgd", steps=60, every=20, **DOUBLE))
    last = seen[-1]
    assert last.alive.tolist() == [True, False, True]
    assert not math.isfinite(last.loss[1])
    without = finals(make, digits, calm, **options)[0]
    torch.testing.assert_close(
        finals(make, digits, trials, **options)[0].predict(digits.x["val"])[[0, 2]],
        without.predict(digits.x["val"]),
        rtol=1e-10,
        atol=1e-10,
    )
    frozen = [s.predict(digits.x["val"])[1] for s in seen[2:]]
    torch.testing.assert_close(frozen[0], frozen[1], equal_nan=True)
    assert seen[2].K[1] == seen[3].K[1]
    single = list(
        train(make, digits.batches, [wild], optimizer="sgd", steps=60, every=20, **DOUBLE)
    )[-1]
    assert not single.alive[0]


def test_seeds_decide_weights_and_order_alone(digits):
    make = lambda: MLP((64, 8, 10))
    a, b = (finals(make, digits, [Trial(5, 0.05), Trial(s, 0.05)], optimizer="sgd") for s in (5, 6))
    assert torch.equal(a[0].norm[0], a[0].norm[1])
    assert a[0].norm[0] != b[0].norm[1]
    before = torch.get_rng_state()
    finals(make, digits, [Trial(5, 0.05), Trial(6, 0.05)], optimizer="sgd", steps=1, every=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(lr=0.0), "lr must be a finite number above 0"),
        (dict(weight_decay=float("nan")), "weight_decay must be"),
        (dict(sphere=-1.0), "sphere must be"),
        (dict(two_step="absolute"), "unknown two_step 'absolute'; did you mean"),
        (dict(rules={"momentum": cosine(3)}), "unknown entry 'momentum'"),
        (dict(decays={"head": -1.0}), r"decays\['head'\] must be"),
        (dict(decays={"lr": 1.0}), r"decays names \['lr'\], which the trial has already"),
    ],
)
def test_bad_trials_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Trial(**dict(seed=0, lr=0.1) | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(trials=[]), "trials is empty"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(every=0), "every must be at least 1"),
        (dict(optimizer="sdg"), "unknown optimizer 'sdg'; did you mean 'sgd'"),
        (dict(mask=CAUTIOUS), "mask needs decay of its own, and 'sgd' has it in the gradient"),
        (
            dict(mask=CAUTIOUS, optimizer="sgdw", trials=[Trial(0, 0.1, two_step="abs")]),
            "mask and two_step do not go together",
        ),
    ],
)
def test_bad_runs_are_named(digits, change, message):
    options = dict(trials=[Trial(0, 0.1)], optimizer="sgd", steps=1, every=1) | change
    trials = options.pop("trials")
    with pytest.raises(ValueError, match=message):
        next(train(MLP, digits.batches, trials, **options))


def test_chunks_fit_the_memory(digits, monkeypatch):
    trials = [Trial(0, 0.1)] * 432
    sizes = []
    for free in (1 << 23, 1 << 26, 1 << 33):
        monkeypatch.setattr("etalambda.lab.engine.training.free_memory", lambda device, f=free: f)
        sizes.append(chunk_size(MLP, digits.batches, trials))
    assert all(small < large for small, large in pairwise(sizes[:2]))
    assert sizes[-1] == 432
