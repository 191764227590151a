"""Sinks: every row arrives once, in TensorBoard's own files and in the terminal's table."""

import io
import math

import pytest
import torch
from rich.console import Console

from etalambda.diagnose import LivePanel, Monitor, every, tensorboard, weight_norms
from etalambda.diagnose.sinks import sparkline


def train(monitor_of, steps=6):
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], lr=0.1, weight_decay=0.5)
    monitor = monitor_of(optimizer)
    for _ in range(steps):
        weight.grad = torch.zeros(4)
        optimizer.step()
    return monitor


def test_any_function_is_a_sink():
    first, second = [], []
    monitor = train(
        lambda o: Monitor(o, every(2), norm=weight_norms).to(first.append).to(second.append)
    )
    assert first == second == monitor.rows
    assert [row["step"] for row in first] == [2, 4, 6]


def test_tensorboard_files_hold_the_rows(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        monitor = train(lambda o: Monitor(o, every(3), norm=weight_norms).to(tensorboard(writer)))
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("etalambda/norm/0")
    assert [e.step for e in events] == [3, 6]
    assert [e.value for e in events] == pytest.approx([row["norm/0"] for row in monitor.rows])


def test_live_panel_shows_the_newest_row_and_its_course():
    screen = io.StringIO()
    console = Console(file=screen, width=80)
    with LivePanel(history=3, console=console) as panel:
        train(lambda o: Monitor(o, every(1), norm=weight_norms).to(panel))
    text = screen.getvalue()
    assert "step 6" in text
    assert "norm/0" in text
    assert f"{2 * 0.95**6:.4g}" in text
    assert "█▄▁" in text or "█▃▁" in text


def test_a_quantity_may_have_any_name():
    """rich would take ``[/b]`` for markup, and stop the run for closing nothing."""
    screen = io.StringIO()
    with LivePanel(console=Console(file=screen, width=60)) as panel:
        panel({"step": 1, "layer[0]": 2.0, "[/b]": 3.0})
    assert "layer[0]" in screen.getvalue()
    assert "[/b]" in screen.getvalue()


def test_live_panel_without_rows_and_after_an_error():
    screen = io.StringIO()
    with (
        pytest.raises(RuntimeError, match="diverged"),
        LivePanel(console=Console(file=screen, width=60)),
    ):
        raise RuntimeError("diverged")
    assert "waiting for the first row" in screen.getvalue()


def test_sparkline_of_nothing_finite():
    assert sparkline([math.nan, math.inf]) == "  "
    assert sparkline([3.0, 3.0]) == "▁▁"
