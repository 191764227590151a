"""The Monitor: when it measures, what its rows hold, and that K survives a resume."""

import io

import pytest
import torch

from etalambda.diagnose import Monitor, every, stats, weight_norms


def run(optimizer, weight, steps):
    for _ in range(steps):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()


def adamw(lr=0.1, weight_decay=0.5):
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    return weight, torch.optim.AdamW([weight], lr=lr, weight_decay=weight_decay)


def test_rows_come_when_asked_and_hold_plain_numbers():
    weight, optimizer = adamw()
    mean = lambda optimizers: weight.detach().mean()
    monitor = Monitor(optimizer, every(3, start=4), norm=weight_norms, mean=mean)
    run(optimizer, weight, 10)
    assert [row["step"] for row in monitor.rows] == [6, 9]
    assert all(type(v) in (int, float) for row in monitor.rows for v in row.values())
    assert monitor.last["mean"] == pytest.approx(0.95**9, rel=1e-12)
    assert monitor.last["norm/0"] == pytest.approx(2 * 0.95**9, rel=1e-12)
    assert monitor.last["K/0"] == pytest.approx(9 * 0.05, rel=1e-12)


def test_without_quantities_a_row_is_stats():
    weight, optimizer = adamw()
    monitor = Monitor(optimizer)
    assert monitor.last == {}
    run(optimizer, weight, 1)
    assert stats(optimizer).items() <= monitor.last.items()


def test_k_survives_a_resume():
    weight, optimizer = adamw()
    straight = Monitor(optimizer, every(2))
    run(optimizer, weight, 7)

    weight, optimizer = adamw()
    first = Monitor(optimizer, every(2))
    run(optimizer, weight, 3)
    first.remove()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Monitor(optimizer, every(2))
    second.load_state_dict(torch.load(file, weights_only=True))
    run(optimizer, weight, 4)
    assert second.spent == straight.spent
    assert second.rows == straight.rows
    assert first.spent == pytest.approx([0.15])


def test_two_optimizers_step_once_and_late_groups_join():
    a, first = adamw(weight_decay=0.1)
    b, second = adamw(weight_decay=0.2)
    monitor = Monitor([first, second], every(1), norm=weight_norms)
    for _ in range(2):
        run(first, a, 1)
        run(second, b, 1)
    assert monitor.spent == pytest.approx([0.02, 0.04])
    second.add_param_group(dict(params=[torch.nn.Parameter(torch.ones(2))], weight_decay=1.0))
    run(second, b, 1)
    assert monitor.spent == pytest.approx([0.03, 0.06, 0.1])


def test_adams_keeps_its_v_mean_and_is_not_summed_again(monkeypatch):
    from etalambda.optim import AdamS, _whole

    def never(*_):
        raise AssertionError("the state was summed")

    monkeypatch.setattr(_whole, "v_mean_of", never)
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = AdamS([weight], lr=0.01, weight_decay=0.1)
    monitor = Monitor(optimizer, every(2))
    for _ in range(4):
        weight.grad = torch.full_like(weight, 2.0)
        optimizer.step()
    assert monitor.spent == pytest.approx([4 * 0.01 * 0.1 / 2], rel=1e-5)  # v̄ = 4


@pytest.mark.parametrize("name", ["SGD", "AdamW", "AdamS"])
def test_rates_on_a_device_are_those_of_the_host(name, monkeypatch):
    """With lr as a tensor, taken for one on a GPU: K is added up there and reads the same."""
    from etalambda.diagnose import decay
    from etalambda.optim import AdamS

    def spent(lr):
        weight = torch.nn.Parameter(torch.ones(4))
        options = dict(momentum=0.5) if name == "SGD" else {}
        make = AdamS if name == "AdamS" else getattr(torch.optim, name)
        optimizer = make([weight], lr=lr, weight_decay=0.1, **options)
        monitor = Monitor(optimizer, every(2), norm=weight_norms)
        for _ in range(4):
            weight.grad = torch.full_like(weight, 2.0)
            optimizer.step()
        return monitor

    host = spent(0.01)
    monkeypatch.setattr(decay, "_on_device", lambda value: isinstance(value, torch.Tensor))
    device = spent(torch.tensor(0.01))
    assert isinstance(device._spent[0], torch.Tensor)
    assert device.spent == pytest.approx(host.spent, rel=1e-5)
    assert device.last["K/0"] == pytest.approx(host.last["K/0"], rel=1e-5)
    coefficients = [pytest.approx(c, rel=1e-5) for c in host.dual_coefficients()]
    assert device.dual_coefficients() == coefficients


def test_errors_name_the_argument():
    weight, optimizer = adamw()
    with pytest.raises(ValueError, match="positive whole number of steps, got 0"):
        every(0)
    with pytest.raises(ValueError, match="may not be called 'K'"):
        Monitor(optimizer, every(1), K=weight_norms)
    with pytest.raises(ValueError, match=r"lacks \['rows'\]"):
        Monitor(optimizer).load_state_dict({"step": 1, "spent": []})

    def broken(optimizers):
        raise RuntimeError("no batch yet")

    Monitor(optimizer, every(1), loss=broken)
    with pytest.raises(RuntimeError, match="no batch yet") as caught:
        run(optimizer, weight, 1)
    assert "quantity 'loss' at step 1" in caught.value.__notes__[0]
