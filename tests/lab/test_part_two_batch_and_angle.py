"""What E8, E10 and E12 of Part II do to a network: angles, rules for the batch, few pictures."""

import numpy as np
import pytest
import torch

from etalambda.lab.engine import Trial
from etalambda.lab.engine.many import Many
from etalambda.lab.engine.training import cross_entropy
from etalambda.lab.figures.parttwo import e10, e12
from etalambda.lab.figures.parttwo._rotation import by_angle, following, measured, settled
from etalambda.lab.models import MLP, Stacked
from etalambda.lab.models.stacked import seeded
from etalambda.lab.tasks import Digits
from etalambda.optim import hyperball

NET, STEPS, ANGLE = (64, 8, 10), 6, 0.05


def turning(angle):
    """Two stacked networks after a few steps of AdamW by angle, and the angles of each step."""
    task, noted = Digits(), []
    trials = [Trial(seed, 1e-2, 1.0) for seed in (0, 1)]
    nets = Stacked.build(lambda: MLP(NET), [0, 1], dtype=torch.float64)
    feed = task.batches(trials)

    def wide(step):
        x, y = feed(step)
        return x.double(), y

    many = Many(nets, trials, wide, cross_entropy, "adamw", STEPS)
    many.update = measured(by_angle(many.update, torch.full((STEPS, 2), angle)), noted, every=1)
    for step in range(STEPS):
        many.step(step)
    return many.nets, torch.stack(noted), wide


def test_turning_by_an_angle_is_the_hyperball_hook_on_adamw():
    nets, _, feed = turning(ANGLE)
    net = seeded(lambda: MLP(NET), 1).double()
    weights = [p for p in net.parameters() if p.dim() > 1]
    biases = [p for p in net.parameters() if p.dim() < 2]
    groups = [dict(params=weights, lr=ANGLE), dict(params=biases, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    hyperball(optimizer, weights)
    for step in range(STEPS):
        x, y = (part[1] for part in feed(step))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    for ours, theirs in zip(nets.params, net.parameters()):
        torch.testing.assert_close(ours[1], theirs.detach(), rtol=1e-6, atol=1e-8)


def test_the_angle_that_is_measured_is_at_most_the_one_prescribed_and_its_order():
    _, angles, _ = turning(1e-3)
    assert (angles <= 1.001e-3).all()
    assert (angles > 1e-4).all()


def test_following_starts_at_the_step_over_the_norm_and_settles():
    lr, decay = torch.full((3000, 1), 0.01).double(), torch.full((3000, 1), 0.5).double()
    angles = following(lr, decay, start=0.04)
    assert angles[0].item() == pytest.approx(0.01 * (0.1 / 1.9) ** 0.5 / 0.2)
    assert angles[-1].item() == pytest.approx(settled(lr, decay)[-1].item(), rel=0.01)


def test_every_rule_keeps_the_budget_where_batches_divide_the_images():
    recipe = e10.FIGURE.recipes["cpu"]
    grid = {name: np.array([value]) for name, value in dict(lr=1.0, val=0.1, budget=2.0).items()}
    for optimizer in e10.OPTIMIZERS:
        unit = {batch: recipe.unit(optimizer, batch) for batch in recipe.batches}
        base = dict(lr=1.0, weight_decay=2.0 / unit[recipe.base], budget=2.0)
        table = grid | {"weight_decay": np.array([base["weight_decay"]])}
        for batch in recipe.batches:
            arms = e10.settings_of(table, table, base, batch / recipe.base)
            for arm in set(arms) & set(e10.RULES):
                lr, decay = arms[arm]
                assert lr * decay * unit[batch] == pytest.approx(2.0, rel=0.05)


def test_the_halves_of_the_digits_share_no_class_and_one_has_wrong_labels():
    old, new = (e12.halves(0.2, "cpu", late) for late in (False, True))
    clean, _ = (e12.halves(0.0, "cpu", late) for late in (False, True))
    assert len(old["train"][0]) + len(new["train"][0]) == 600
    wrong = (old["train"][1] != clean["train"][1]).double().mean().item()
    assert wrong == pytest.approx(0.2, abs=0.005)
    assert max(int(y.max()) for part in (old, new) for _, y in part.values()) == 4
