"""The mechanism row: drawn from real rows, with what they hold and without what they lack."""

import pytest
import torch

from etalambda.diagnose import Monitor, Panel, every
from etalambda.lab.figures.mechanism import mechanism


def rows(index=True):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)
    more = {"index": lambda _: 0.25} if index else {}
    panel = Panel(kinds={"matrices": [p for p in net.parameters() if p.ndim > 1]}, per="tensor")
    monitor = Monitor(optimizer, every(2), panel=panel, **more)
    x = torch.randn(16, 4)
    for _ in range(12):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
    return monitor.rows


@pytest.mark.parametrize("index", [True, False])
def test_six_panels_with_one_line_a_kind(index):
    made = mechanism(rows(index))
    rates, decay, norms, effective, angles, gradients, *twin = made.axes
    assert [line.get_label() for line in norms.lines] == ["matrices", "other", "total"]
    assert [line.get_label() for line in angles.lines][-1] == "predicted"
    assert len(effective.lines[0].get_xdata()) == 6
    assert len(angles.lines[0].get_xdata()) == 5  # the first row has nothing to compare with
    effective_lr = 0.1 / norms.lines[-1].get_ydata() ** 2
    assert effective.lines[-1].get_ydata() == pytest.approx(effective_lr)
    assert len(twin) == index
    assert ("index" in gradients.get_title(loc="left")) is index
    assert decay.lines[0].get_ydata() == pytest.approx([1e-3] * 6)
    assert rates.lines[0].get_ydata() == pytest.approx([1] * 6)


def test_rows_without_the_panel_are_named():
    with pytest.raises(ValueError, match=r"no row holds panel/lr/0; pass Monitor"):
        mechanism([{"step": 1, "K/0": 0.0}])
