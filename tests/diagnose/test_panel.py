"""The default panel against plain formulas, on both ways of taking its numbers, and its rows."""

import math

import pytest
import torch

from etalambda.diagnose import Monitor, Panel, angle, effective_lr, every, predicted_angles
from etalambda.diagnose._passes import Turns, _by_norms, angles
from etalambda.diagnose._rows import Deferred, Late, Ring, Row


def weights(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(30, 40), (40,), (), (300, 300)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


def moved(old, size=1e-3):
    generator = torch.Generator().manual_seed(1)
    return [
        w + size * torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w.dtype)
        for w in old
    ]


def truth(old, new):
    pairs = [(o.double().reshape(-1), n.double().reshape(-1)) for o, n in zip(old, new)]
    return dict(
        norm=[n.norm() for _, n in pairs],
        update=[(n - o).norm() for o, n in pairs],
        along=[(n - o) @ o / o.norm() for o, n in pairs],
        before=[o.norm() for o, _ in pairs],
    )


@pytest.mark.parametrize("way", ["blocks", "norms"])
@pytest.mark.parametrize("size", [1e-5, 1e-2, 3.0])
def test_both_ways_agree_with_the_formulas(way, size):
    old = weights()
    new, turns = moved(old, size), Turns()
    assert turns([w.clone() for w in old]) is None
    sent = turns(new) if way == "blocks" else _by_norms([w.clone() for w in old], new)
    seen = sent.finish(torch.cat([t.reshape(-1).double() for t in sent.tensors]))
    for name, values in truth(old, new).items():
        scale = torch.stack(truth(old, new)["update"]) if name == "along" else seen[name]
        error = (seen[name] - torch.stack(values)).abs()
        assert (error <= 2e-5 * scale).all(), name
    expected = torch.tensor([angle(o.double(), n.double()) for o, n in zip(old, new)])
    turned = angles(seen)
    torch.testing.assert_close(turned[[0, 1, 3]].float(), expected[[0, 1, 3]], rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64])
def test_half_precision_and_complex_weights(dtype):
    old = [torch.randn(50, 3).to(dtype)]
    new, turns = [2 * old[0]], Turns()
    turns(old)
    sent = turns(new)
    seen = sent.finish(sent.tensors[0].reshape(-1))
    assert seen["along"].item() == pytest.approx(seen["before"].item(), rel=1e-6)


def test_a_weight_that_did_not_move_and_one_that_is_zero():
    old = [torch.zeros(3), torch.ones(3)]
    for sent in (_by_norms([w.clone() for w in old], old), None):
        turns = Turns()
        turns(old)
        sent = sent or turns(old)
        seen = sent.finish(torch.cat([t.reshape(-1).double() for t in sent.tensors]))
        assert seen["update"].tolist() == [0, 0]
        assert angles(seen).tolist() == [0, 0]


def net():
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 9, bias=False), torch.nn.BatchNorm1d(9), torch.nn.Linear(9, 2)
    ).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=0.02)
    x, y = torch.randn(32, 6).double(), torch.randint(2, (32,))

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, optimizer, step


def test_panel_rows_of_kinds_tensors_and_the_whole():
    model, optimizer, step = net()
    kinds = {"invariant": [model[0].weight]}
    monitor = Monitor(optimizer, every(2), panel=Panel(kinds=kinds, per="tensor", steps=2))
    for _ in range(2):
        step()
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(2):
        step()
    first, second = monitor.rows
    assert not any("angle/" in key and "predicted" not in key for key in first)
    new = [p.detach() for p in model.parameters()]
    flat = [torch.cat([p.reshape(-1) for p in part]) for part in (before, new, before[1:], new[1:])]
    assert second["panel/angle/total"] == pytest.approx(angle(*flat[:2]), rel=1e-6)
    assert second["panel/angle/other"] == pytest.approx(angle(*flat[2:]), rel=1e-6)
    assert second["panel/angle/invariant"] == pytest.approx(second["panel/angle/0"])
    change = flat[1] - flat[0]
    cosine = change @ flat[0] / change.norm() / flat[0].norm()
    assert second["panel/alignment/total"] == pytest.approx(cosine.item(), rel=1e-6)
    assert second["panel/norm/3"] == pytest.approx(new[3].norm().item(), rel=1e-9)
    gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm()
    assert second["panel/gradient/total"] == pytest.approx(gradient.item(), rel=1e-9)
    assert second["panel/intrinsic_lr/0"] == pytest.approx(0.004)
    assert second["panel/effective_lr/total"] == pytest.approx(effective_lr(optimizer)[0])
    assert second["panel/predicted_angle/0"] == predicted_angles(optimizer, steps=2)[0]
    assert all(type(value) in (int, float) for value in second.values())


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="unknown per 'layer'"):
        Panel(per="layer")
    with pytest.raises(ValueError, match="may not be called 'total'"):
        Panel(kinds={"total": []})


def test_without_gradients_there_is_no_gradient():
    w = torch.nn.Parameter(torch.ones(2))
    row = Panel()(torch.optim.SGD([w], lr=0.1))
    assert isinstance(row[""], Deferred)
    found = row[""].finish(torch.cat([t.reshape(-1) for t in row[""].tensors]).double())
    assert found["norm"] == {"total": pytest.approx(math.sqrt(2))}
    assert found["effective_lr"] == {"total": pytest.approx(0.05)}
    assert set(found) == {"norm", "effective_lr"}
    assert effective_lr(torch.optim.SGD([w], lr=0.1)) == pytest.approx([0.05])


def test_numbers_sent_through_a_ring_are_those_read_at_once(monkeypatch):
    """Tensors taken for ones on a GPU, of several dtypes, in every place a row has for them."""

    def values():
        deferred = Deferred([torch.ones(2), torch.tensor(3)], lambda x: {"sum": float(x.sum())})
        nested = {"a": torch.tensor(1.5), "b": [2.0, torch.tensor(4, dtype=torch.int32)]}
        return {"step": 7, "x": torch.arange(3.0), "y": nested, "z": {"": deferred}}

    here = Row(values(), {}).read()
    monkeypatch.setattr("etalambda.diagnose._rows._away", lambda tensor: True)
    rings = {}
    sent = Row(values(), rings)
    assert sent.ready()
    assert len(rings) == 1
    assert sent.read() == here
    assert here == {
        "step": 7, "x/0": 0, "x/1": 1, "x/2": 2, "y/a": 1.5, "y/b/0": 2.0, "y/b/1": 4, "z/sum": 5
    }  # fmt: skip


class Never:
    """An event that has not happened until it is waited for."""

    def __init__(self):
        self.waited = False

    def query(self):
        return self.waited

    def synchronize(self):
        self.waited = True


def test_a_late_number_is_not_waited_for_before_it_is_read():
    event = Never()
    late = Late(torch.tensor([1.5]), event)
    assert not late.ready()
    assert late.read().tolist() == [1.5]
    assert late.ready()


def test_a_ring_keeps_many_rows_and_grows():
    ring = Ring(torch.device("cpu"))
    sent = [ring.send([torch.tensor(float(i)), torch.ones(i % 3)]) for i in range(200)]
    assert [late.read()[0].item() for late in sent] == list(range(200))
    mixed = ring.send([torch.ones(2, dtype=torch.float64), torch.zeros(1), torch.tensor(7)])
    assert mixed.read().tolist() == [1, 1, 0, 7]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("tensor_lr", [False, True])
def test_no_step_waits_for_the_gpu(tensor_lr):
    w = torch.nn.Parameter(torch.randn(1000, 1000, device="cuda"))
    b = torch.nn.Parameter(torch.randn(7, device="cuda"))
    lr = torch.tensor(1e-3, device="cuda") if tensor_lr else 1e-3
    optimizer = torch.optim.AdamW([w, b], lr=lr, weight_decay=0.1, capturable=True)
    seen = []
    monitor = Monitor(optimizer, every(2), panel=Panel(per="tensor", steps=2)).to(seen.append)
    w.grad, b.grad = torch.randn_like(w), torch.randn_like(b)
    for _ in range(6):
        optimizer.step()
    before = [p.detach().double().cpu() for p in (w, b)]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    reference = [angle(old, p.detach().double().cpu()) for old, p in zip(before, (w, b))]
    row = monitor.last
    assert [row[f"panel/angle/{i}"] for i in (0, 1)] == pytest.approx(reference, rel=1e-3)
    assert row["K/0"] == pytest.approx(8e-4, rel=1e-5)
    assert [r["step"] for r in seen] == [2, 4, 6, 8]


def test_rows_reach_sinks_in_order_and_when_they_have_arrived(monkeypatch):
    """As on a GPU: a row is on its way while training goes on."""
    events, seen = [], []

    class Held(Row):
        def __init__(self, values, rings):
            super().__init__(values, rings)
            events.append(Never())
            self._late = [(Late(torch.zeros(0), events[-1]), [])]

    monkeypatch.setattr("etalambda.diagnose.monitor.Row", Held)
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.1)
    monitor = Monitor(optimizer, norm=lambda _: w.detach().norm()).to(seen.append)
    w.grad = torch.zeros(2)
    for _ in range(3):
        optimizer.step()
    assert seen == []
    events[0].waited = True
    optimizer.step()
    assert [row["step"] for row in seen] == [1]
    assert [row["step"] for row in monitor.rows] == [1, 2, 3, 4] == [row["step"] for row in seen]
    monitor.remove()


def test_dual_coefficients_are_the_theorys_and_survive_a_resume():
    from etalambda.theory.budget import dual_coefficients

    def make():
        w = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.SGD([w], lr=0.2, momentum=0.5, weight_decay=0.01)
        w.grad = torch.zeros(3)
        return optimizer, Monitor(optimizer, norm=lambda _: 0.0)

    optimizer, monitor = make()
    lrs = []
    for step in range(40):
        optimizer.param_groups[0]["lr"] = 0.2 / (1 + step)
        lrs.append(0.2 / (1 + step) / 0.5)
        optimizer.step()
    found = torch.tensor(monitor.dual_coefficients()).squeeze(1)
    rates = [lr * 0.01 for lr in lrs]
    expected = dual_coefficients(lrs, rates)
    torch.testing.assert_close(found.double(), expected, rtol=sum(r * r for r in rates), atol=0)
    _, other = make()
    other.load_state_dict(monitor.state_dict())
    assert other.dual_coefficients() == monitor.dual_coefficients()


@pytest.mark.parametrize("steps", [2, 7])
def test_predicted_angle_over_several_steps_counts_the_momentum(steps):
    """Random gradients of one size through a momentum buffer: how far k of its steps reach."""
    generator = torch.Generator().manual_seed(0)
    beta, n = 0.8, 4000
    buffer, path = torch.zeros(n, dtype=torch.float64), []
    for _ in range(60 + steps):
        buffer = beta * buffer + torch.randn(n, generator=generator, dtype=torch.float64)
        path.append(buffer)
    one = path[-1].norm()
    together = torch.stack(path[-steps:]).sum(0).norm()
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=beta, weight_decay=1e-3)
    ratio = predicted_angles(optimizer, steps=steps)[0] / predicted_angles(optimizer)[0]
    assert together / one == pytest.approx(ratio, rel=0.05)
    assert math.isclose(predicted_angles(optimizer, steps=1)[0], predicted_angles(optimizer)[0])


def test_a_kind_with_two_lrs_has_no_effective_lr_and_an_empty_one_no_entry():
    a, b = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    optimizer = torch.optim.SGD([dict(params=[a], lr=0.1), dict(params=[b], lr=0.2)])
    monitor = Monitor(optimizer, panel=Panel(kinds={"first": [a], "none": []}))
    optimizer.step()
    row = monitor.last
    assert row["panel/effective_lr/first"] == pytest.approx(0.1 / 4)
    assert row["panel/effective_lr/other"] == pytest.approx(0.2 / 4)
    assert "panel/effective_lr/total" not in row
    assert not any(key.endswith("/none") for key in row)
