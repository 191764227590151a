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
