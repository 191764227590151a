"""Every optimizer of tests/laws.py faces every law. Rules face theirs in test_schedule_laws.py."""

import copy
import io

import pytest
import torch

from tests.laws import MODELS, OPTIMIZERS

OURS = [name for name in OPTIMIZERS if not name.startswith("torch")]
all_of_them = pytest.mark.parametrize("name", OPTIMIZERS)
each_model = pytest.mark.parametrize("model", MODELS)


def train(optimizer, closure, steps):
    for _ in range(steps):
        optimizer.step(closure)


@all_of_them
@each_model
def test_resume_equals_the_straight_run(name, model):
    make = OPTIMIZERS[name]
    net, closure = MODELS[model]()
    train(make(net.parameters()), closure, 10)

    half, half_closure = MODELS[model]()
    first = make(half.parameters())
    train(first, half_closure, 5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make(half.parameters())
    second.load_state_dict(torch.load(file, weights_only=True))
    train(second, half_closure, 5)
    for p, q in zip(net.parameters(), half.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@all_of_them
@each_model
def test_a_deep_copy_goes_its_own_way(name, model):
    net, closure = MODELS[model]()
    optimizer = OPTIMIZERS[name](net.parameters())
    train(optimizer, closure, 3)
    before = [p.detach().clone() for p in net.parameters()]
    twin = copy.deepcopy(optimizer)
    for group in twin.param_groups:
        for p in group["params"]:
            p.grad = torch.ones_like(p)
    twin.step()
    for p, was in zip(net.parameters(), before):
        assert torch.equal(p, was)


@all_of_them
def test_a_group_without_decay_is_not_decayed(name):
    """With a gradient of 0 on it and a living one beside it, its weights stay where they are."""
    living, exempt = (torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    optimizer = OPTIMIZERS[name]([dict(params=[living]), dict(params=[exempt], weight_decay=0.0)])
    for _ in range(3):
        living.grad, exempt.grad = torch.ones_like(living), torch.zeros_like(exempt)
        optimizer.step()
    assert torch.equal(exempt.detach(), torch.ones(3, dtype=torch.float64))
    assert not torch.equal(living.detach(), torch.ones(3, dtype=torch.float64))


@all_of_them
def test_one_group_or_two_is_the_same(name):
    results = []
    for split in (False, True):
        net, closure = MODELS["mlp"]()
        params = list(net.parameters())
        groups = [dict(params=params[:2]), dict(params=params[2:])] if split else params
        train(OPTIMIZERS[name](groups), closure, 8)
        results.append([p.detach() for p in params])
    for p, q in zip(*results):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@all_of_them
def test_frozen_parameters_and_missing_gradients_do_not_move(name):
    net, closure = MODELS["mlp"]()
    frozen = next(iter(net.parameters())).requires_grad_(False)
    before = frozen.clone()
    optimizer = OPTIMIZERS[name](net.parameters())
    train(optimizer, closure, 4)
    assert torch.equal(frozen, before)
    assert frozen not in optimizer.state or not optimizer.state[frozen]


@all_of_them
def test_a_step_without_any_gradient_is_a_no_op(name):
    net, _ = MODELS["mlp"]()
    before = [p.detach().clone() for p in net.parameters()]
    OPTIMIZERS[name](net.parameters()).step()
    for p, was in zip(net.parameters(), before):
        assert torch.equal(p, was)


@all_of_them
def test_the_closure_runs_with_gradients_and_its_loss_comes_back(name):
    net, closure = MODELS["mlp"]()
    seen = []

    def watched():
        seen.append(torch.is_grad_enabled())
        return closure()

    with torch.no_grad():
        loss = OPTIMIZERS[name](net.parameters()).step(watched)
    assert seen == [True]
    assert loss.item() > 0


@all_of_them
def test_gradients_are_left_as_they_were(name):
    net, closure = MODELS["mlp"]()
    optimizer = OPTIMIZERS[name](net.parameters())
    closure()
    before = [p.grad.clone() for p in net.parameters()]
    optimizer.step()
    for p, was in zip(net.parameters(), before):
        assert torch.equal(p.grad, was)


@all_of_them
@each_model
def test_the_loss_falls(name, model):
    net, closure = MODELS[model]()
    optimizer = OPTIMIZERS[name](net.parameters())
    start = closure().item()
    train(optimizer, closure, 50)
    assert closure().item() < start


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("bad", [dict(lr=-1.0), dict(weight_decay=-0.1), dict(lr=float("nan"))])
def test_errors_name_the_value(name, bad):
    """Through the class behind the law's function: the argument's value stands in the message."""
    cls = type(OPTIMIZERS[name]([torch.nn.Parameter(torch.ones(1))]))
    (value,) = bad.values()
    with pytest.raises(ValueError, match=str(value)):
        cls([torch.nn.Parameter(torch.ones(1))], **bad)
