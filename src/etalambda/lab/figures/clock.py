"""The decay clock: test accuracy of many decay plans, against the step and against K.

Left, the plans part: each generalizes at a step of its own. Right, the same curves against the
decay spent so far, K = Σ lr · weight_decay: one clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.figures.style import (
    FAINT,
    INK,
    MUTED,
    by_group,
    figure,
    house_style,
    plain_log_ticks,
    shades,
)

Table = dict[str, np.ndarray]
TRAINING = "training, worst of all"


def plan_colours(summary: Table) -> dict[str, str]:
    """Plan -> colour: dark for the first to arrive, light for the last, grey for who never does."""
    plans = by_group({k: v[summary["kind"] == "plan"] for k, v in summary.items()}, "plan")
    never = dict(nan=np.inf)
    times = {p: np.median(np.nan_to_num(r["step95"], **never)) for (p,), r in plans.items()}
    arrived = sorted((plan for plan in times if np.isfinite(times[plan])), key=times.__getitem__)
    late = [plan for plan in times if plan not in arrived]
    return dict(zip(arrived, shades(len(arrived)))) | dict.fromkeys(late, FAINT)


@house_style
def decay_clock(tables: dict[str, Table]) -> Any:
    """Both panels side by side with one legend: the README's picture.

    Args:
        tables: ``metrics`` and ``summary`` of a clock run.

    Returns:
        A matplotlib Figure.
    """
    made, (left, right) = figure(11.5, 4.3, columns=2, sharey=True)
    draw_steps(left, tables)
    draw_budget(right, tables)
    right.set_ylabel("")
    by_label = dict(zip(*reversed(left.get_legend_handles_labels())))
    labels = [*plan_colours(tables["summary"]), TRAINING]
    made.legend([by_label[label] for label in labels], labels, loc="outside right center")
    return made


@house_style
def steps_panel(tables: dict[str, Table]) -> Any:
    """The left panel alone, for a page that stacks its panels on a narrow screen."""
    made, (axis,) = figure(6.2, 4.2)
    draw_steps(axis, tables)
    return made


@house_style
def budget_panel(tables: dict[str, Table]) -> Any:
    """The right panel alone."""
    made, (axis,) = figure(6.2, 4.2)
    draw_budget(axis, tables)
    return made


@house_style
def plans_panel(tables: dict[str, Table]) -> Any:
    """What each plan takes off a weight at a step, lr · weight_decay, for the first seed."""
    made, (axis,) = figure(6.2, 4.2)
    metrics = tables["metrics"]
    for plan, colour in plan_colours(tables["summary"]).items():
        ours = (metrics["plan"] == plan) & (metrics["seed"] == metrics["seed"].min())
        rate = 1e3 * metrics["lr"][ours] * metrics["weight_decay"][ours]
        axis.plot(metrics["step"][ours], rate, color=colour, lw=1.5)
    axis.set(xlabel="step", ylabel="lr · weight_decay, thousandths", title="The plans")
    return made


def draw_steps(axis: Any, tables: dict[str, Table]) -> None:
    """Test accuracy against the step, one thin line a seed; training accuracy dotted."""
    metrics = tables["metrics"]
    _draw_curves(axis, tables, x="step")
    steps, worst = _worst_training(metrics, set(plan_colours(tables["summary"])))
    axis.plot(steps, 100 * worst, ":", color=INK, lw=1.8, label=TRAINING)
    axis.set(xlabel="step", ylabel="test accuracy %", title="Same network, many decay plans")


def draw_budget(axis: Any, tables: dict[str, Table]) -> None:
    """The same curves against K on a log axis, with the band in which 95 % is reached."""
    _draw_curves(axis, tables, x="K")
    summary = tables["summary"]
    budget = summary["K95"][(summary["kind"] == "plan") & np.isfinite(summary["K95"])]
    axis.set_xscale("log")
    plain_log_ticks(axis.xaxis)
    axis.set(xlabel="decay spent so far,  K = Σ lr · weight_decay", ylabel="test accuracy %")
    axis.set_title("The same curves, against the decay spent")
    axis.set_xlim(0.03, max(8.0, 1.2 * budget.max()) if budget.size else 8.0)
    if budget.size:
        axis.axvspan(budget.min(), budget.max(), color=MUTED, alpha=0.12, lw=0)
        text = f"95 % at K = {budget.min():.2g} to {budget.max():.2g}"
        axis.annotate(text, (0.03, 0.93), xycoords="axes fraction", color=MUTED, fontsize=10)


def _draw_curves(axis: Any, tables: dict[str, Table], x: str) -> None:
    colours = plan_colours(tables["summary"])
    first = set(colours)
    for (plan, _), rows in sorted(
        by_group(tables["metrics"], "plan", "seed").items(), key=lambda item: item[0][1]
    ):
        if plan in colours:
            label = plan if plan in first else None
            first.discard(plan)
            order = 2.5 - list(colours).index(plan) / len(colours)  # the grey ones lie below
            accuracy = 100 * rows["test_accuracy"]
            line = dict(color=colours[plan], lw=1.1, alpha=0.85, zorder=order)
            axis.plot(rows[x], accuracy, label=label, **line)
    axis.set_ylim(-2, 103)


def _worst_training(metrics: Table, plans: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """The lowest training accuracy of any plan and seed at each step."""
    ours = np.isin(metrics["plan"], list(plans))
    steps, index = np.unique(metrics["step"][ours], return_inverse=True)
    worst = np.full(len(steps), np.inf)
    np.minimum.at(worst, index, metrics["train_accuracy"][ours])
    return steps, worst
