"""What the host does around the kernels of AdamS, and Adai's foreach passes, without a GPU."""

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, Adai, AdaiS, AdamS, _triton_launch
from etalambda.optim._adams_plans import Known
from etalambda.optim._triton_launch import Launch
from tests.optim._drive import flat, gradients, run, weights


class Compiled:
    """What Triton's first launch returns."""

    def __init__(self):
        self.seen = []

    def __getitem__(self, grid):
        return lambda *values: self.seen.append((grid, values))


class Kernel:
    """A function of ``triton.jit``."""

    arg_names = ("x", "n", "BLOCK")

    def __init__(self):
        self.compiled, self.seen = Compiled(), []

    def __getitem__(self, grid):
        def launch(**named):
            self.seen.append((grid, named))
            return self.compiled

        return launch


def test_launch_goes_to_the_compiled_kernel_from_the_second_time_on(monkeypatch):
    monkeypatch.setattr(_triton_launch, "_takes_constants", lambda: True)
    kernel, x = Kernel(), torch.ones(3)
    launch = Launch(kernel, 5, dict(n=3, BLOCK=16, x=x), num_warps=4)
    for _ in range(3):
        launch()
    assert kernel.seen == [((5, 1, 1), dict(n=3, BLOCK=16, x=x, num_warps=4))]
    assert kernel.compiled.seen == [((5, 1, 1), (x.data_ptr(), 3, 16))] * 2


def test_launch_leaves_an_old_triton_to_itself(monkeypatch):
    monkeypatch.setattr(_triton_launch, "_takes_constants", lambda: False)
    kernel = Kernel()
    launch = Launch(kernel, 1, dict(x=torch.ones(3), n=3, BLOCK=16))
    launch(), launch()
    assert len(kernel.seen) == 2
    assert not kernel.compiled.seen


def _replace_state(optimizer, params):
    optimizer.state[params[1]] = dict(optimizer.state[params[1]])


def _replace_buffer(optimizer, params):
    own = optimizer.state[params[0]]
    own["exp_avg"] = own["exp_avg"].clone()


def _load(optimizer, params):
    optimizer.load_state_dict(optimizer.state_dict())


EVENTS = {
    "flag": lambda optimizer, params: optimizer.param_groups[0].update(maximize=True),
    "max_norm": lambda optimizer, params: optimizer.param_groups[0].update(max_norm=1.0),
    "group": lambda optimizer, params: optimizer.add_param_group(
        dict(params=[Parameter(torch.ones(2))])
    ),
    "parameter": lambda optimizer, params: optimizer.param_groups[0]["params"].pop(),
    "order": lambda optimizer, params: optimizer.param_groups[0]["params"].reverse(),
    "counter": lambda optimizer, params: optimizer.state[params[0]].update(step=torch.ones(())),
    "state": _replace_state,
    "buffer": _replace_buffer,
    "load": _load,
    "forgotten": lambda optimizer, params: optimizer.state.pop(params[0]),
}


@pytest.mark.parametrize("event", EVENTS)
def test_lists_are_taken_again_only_if_nothing_has_changed(event):
    params = weights()
    optimizer = AdamS(params)
    list(run(optimizer, params))
    known = Known(optimizer, [optimizer._gathered(g) for g in optimizer.param_groups])
    assert known.holds(optimizer)
    optimizer.param_groups[0]["lr"] *= 0.5  # read at every step
    assert known.holds(optimizer)
    EVENTS[event](optimizer, params)
    assert not known.holds(optimizer)


@pytest.mark.parametrize("cls", [Adai, AdaiS])
@pytest.mark.parametrize("missing", [False, True])
def test_adai_in_foreach_passes_is_the_rule(cls, missing):
    """Also from gradients that are zero at first, where v̄ = 0, and with counters on the device."""
    results = []
    for flags in (dict(foreach=False), dict(foreach=True), dict(foreach=True, capturable=True)):
        params = weights(shapes=((3, 4), (5,), (), (0,)))
        optimizer = cls(params, lr=0.01, weight_decay=0.05, **flags)
        for t, grads in enumerate(gradients(params, 50)):
            for i, (p, g) in enumerate(zip(params, grads)):
                p.grad = None if missing and (t * t + i) % 5 == 0 else g * (t > 2)
            optimizer.step()
        results.append(flat(params).clone())
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


def test_sgds_asks_for_no_flag_that_it_does_not_have(monkeypatch):
    """torch's check before a capture reads ``capturable`` of every group."""

    def check(self):
        assert all(group["capturable"] is False for group in self.param_groups)

    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
        monkeypatch.setattr(torch.optim.Optimizer, name, check, raising=False)
    for cls in (AdamS, SGDS):
        params = weights()
        list(run(cls(params, lr=0.01), params))
