"""torch's matrix: state, copies and hooks."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, SGDW
from tests.optim.matrix import every_config, optims, problem, train

pytestmark = pytest.mark.usefixtures("device")


def stepped(info, kwargs, named=False, steps=3):
    """An optimizer after some steps, its loss and its parameters."""
    weight, bias, loss = problem()
    params = [("weight", weight), ("bias", bias)] if named else [weight, bias]
    optimizer = info.optim_cls(params, **deepcopy(kwargs))
    train(optimizer, loss, steps)
    return optimizer, (weight, bias), loss


@optims
@pytest.mark.parametrize("named", [(False, False), (False, True), (True, False), (True, True)])
def test_state_dict_deterministic(info, named):
    """A twin that loads the state takes the same steps, whichever of the two has named groups."""
    for kwargs in every_config(info, skip=("differentiable",)):
        first, params, loss = stepped(info, kwargs, named[0])
        twins = [Parameter(p.detach().clone()) for p in params]
        groups = [("weight", twins[0]), ("bias", twins[1])] if named[1] else twins
        second = info.optim_cls(groups, **deepcopy(kwargs))
        second.load_state_dict(deepcopy(first.state_dict()))
        names = second.param_groups[0].get("param_names")
        assert names == (["weight", "bias"] if any(named) else None)
        for _ in range(5):
            train(first, loss, 0)  # leaves the gradients of this point
            for p, q in zip(params, twins):
                q.grad = p.grad.clone()
            first.step(), second.step()
            for p, q in zip(params, twins):
                torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
        assert first.state_dict()["param_groups"][0].keys() >= set(kwargs)


@optims
def test_cpu_load_state_dict(info):
    """A loaded counter goes to the parameter's device only where the step counts there."""
    for kwargs in every_config(info, skip=("differentiable",)):
        first, params, _ = stepped(info, kwargs)
        saved = torch.utils._pytree.tree_map(
            lambda x: x.cpu() if isinstance(x, torch.Tensor) else x, first.state_dict()
        )
        second = info.optim_cls([Parameter(p.detach().clone()) for p in params], **kwargs)
        second.load_state_dict(saved)
        for p, own in second.state.items():
            there = kwargs.get("capturable") or kwargs.get("fused")
            there = there and info.optim_cls not in (SGDS, SGDW)  # these count on the host
            assert own["step"].device == (p.device if there else torch.device("cpu"))
            assert all(v.device == p.device for k, v in own.items() if k != "step")


@optims
def test_global_step_hooks(info):
    """The hooks of all optimizers run around the optimizer's own, as torch orders them."""
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    seen = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("every pre")),
        register_optimizer_step_post_hook(lambda *_: seen.append("every post")),
    ]
    try:
        optimizer, _, _ = stepped(info, {}, steps=0)
        optimizer.register_step_pre_hook(lambda *_: seen.append("own pre"))
        optimizer.register_step_post_hook(lambda *_: seen.append("own post"))
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["every pre", "own pre", "own post", "every post"]


@optims
def test_can_load_older_state_dict(info):
    """Flags that older versions did not have are back-filled."""
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, loss = stepped(info, kwargs)
        saved = deepcopy(optimizer.state_dict())
        for group in saved["param_groups"]:
            for flag in info.not_og_supported_flags:
                group.pop(flag, None)
        optimizer.load_state_dict(saved)
        for group in optimizer.param_groups:
            assert set(kwargs) <= set(group)
        train(optimizer, loss, 2)


@optims
def test_save_load_equality_with_weights_only(info, tmp_path):
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, _ = stepped(info, kwargs)
        saved = optimizer.state_dict()
        torch.save(saved, tmp_path / "state.pt")
        loaded = torch.load(tmp_path / "state.pt", weights_only=True)
        torch.testing.assert_close(loaded["state"], saved["state"])
        assert str(loaded["param_groups"]) == str(saved["param_groups"])


@optims
def test_load_nontensor_step(info):
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, params, loss = stepped(info, kwargs)
        for p in params:
            if "step" in optimizer.state[p]:
                optimizer.state[p]["step"] = optimizer.state[p]["step"].item()
        optimizer.load_state_dict(optimizer.state_dict())
        for p in params:
            assert isinstance(optimizer.state[p].get("step", torch.ones(())), torch.Tensor)
        train(optimizer, loss, 1)


@optims
def test_hooks(info):
    """Step hooks and the four state-dict hooks run, and may change what they are given."""
    seen = []
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, loss = stepped(info, kwargs)
        optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
        optimizer.register_step_post_hook(lambda *_: seen.append("post"))
        optimizer.register_state_dict_pre_hook(lambda *_: seen.append("save pre"))
        optimizer.register_state_dict_post_hook(lambda _, s: {**s, "extra": 1})
        optimizer.register_load_state_dict_pre_hook(lambda _, s: seen.append(s["extra"]))
        optimizer.register_load_state_dict_post_hook(lambda _: seen.append("load post"))
        seen.clear()
        train(optimizer, loss, 1)
        optimizer.load_state_dict(optimizer.state_dict())
        assert seen == ["pre", "post", "save pre", 1, "load post"]


@optims
def test_deepcopy_pickle_and_print(info):
    """Nothing public but defaults, state and param_groups; copies step on their own."""
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, _ = stepped(info, kwargs)
        assert "Parameter Group 0" in str(optimizer)
        public = {k for k in vars(optimizer) if not k.startswith("_")}
        assert public == {"defaults", "state", "param_groups"}
        for copy_ in (deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert {k for k in vars(copy_) if not k.startswith("_")} == public
            for group in copy_.param_groups:
                for p in group["params"]:
                    p.grad = torch.ones_like(p)
            copy_.step()


@optims
def test_non_empty_state(info):
    """An entry of ``state`` is never empty."""
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, _ = stepped(info, kwargs)
        assert all(len(state) > 0 for state in optimizer.state.values())
