"""The decay clock's part of the page: what the curves say, in numbers that the run computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.figures.clock import (
    budget_panel,
    decay_clock,
    plan_colours,
    plans_panel,
    steps_panel,
)
from etalambda.lab.figures.style import INK, by_group, to_svg
from etalambda.lab.records import RunData
from etalambda.lab.report.html import Section, figures, legend, paragraph
from etalambda.lab.report.tables import Table, number, percent, span


def tables(run: RunData) -> list[Table]:
    """What the terminal and the page show of the run."""
    return [table(run)]


def picture(run: RunData) -> Any:
    """The run's main figure, for a file."""
    return decay_clock(run.tables)


def table(run: RunData) -> Table:
    """Step and K at 95 % test accuracy, one row a plan or method: median (lowest to highest)."""
    rows = [_row(plan, rows) for (plan,), rows in by_group(run.tables["summary"], "plan").items()]
    columns = ("plan", "arrived", "step at 95 %", "K at 95 %", "test % at the end")
    seeds = run.config.get("seeds", "?")
    note = (
        f"median (lowest to highest) over seeds (n = {seeds}); arrived: seeds that reach 95 %; "
        "methods and spheres run two fifths of the steps"
    )
    return Table("The decay clock", columns, rows, note)


def _row(name: str, rows: dict[str, np.ndarray]) -> list[str]:
    arrived = np.isfinite(rows["step95"])
    steps, budget = span(rows["step95"], 4), span(rows["K95"])
    share = f"{arrived.sum()} of {len(arrived)}"
    end = percent(float(np.median(rows["final_test"])))
    return [name, share, steps if arrived.any() else "never", budget, end]


def findings(run: RunData) -> list[str]:
    """The clock in sentences: how far the plans part in steps, and how far in K."""
    summary = run.tables["summary"]
    plans = by_group({k: v[summary["kind"] == "plan"] for k, v in summary.items()}, "plan")
    medians = {
        plan: (np.median(rows["step95"]), np.median(rows["K95"]))
        for (plan,), rows in plans.items()
        if np.isfinite(rows["step95"]).all()
    }
    said = [_fitted(run), *_collapse(medians), *_never(run, plans), *_slope(run, medians)]
    return [sentence for sentence in said if sentence]


def _fitted(run: RunData) -> str:
    """By which step the training half is known, whatever the plan."""
    metrics, plans = run.tables["metrics"], set(plan_colours(run.tables["summary"]))
    ours = np.isin(metrics["plan"], list(plans))
    late = metrics["step"][ours & (metrics["train_accuracy"] < 0.99)]
    if not late.size or late.max() >= metrics["step"].max():
        return ""
    after = metrics["step"][metrics["step"] > late.max()].min()
    return f"All {len(plans)} plans know their training half by step {after}."


def _collapse(medians: dict[str, tuple[float, float]]) -> list[str]:
    if len(medians) < 2:
        return []
    steps, budget = np.array(list(medians.values())).T
    return [
        f"{len(medians)} plans reach 95 % on the other half in every seed: at steps "
        f"{number(steps.min(), 4)} to {number(steps.max(), 4)} "
        f"(a factor of {steps.max() / steps.min():.1f}), with K = {number(budget.min(), 2)} "
        f"to {number(budget.max(), 2)} (a factor of {budget.max() / budget.min():.1f})."
    ]


def _never(run: RunData, plans: dict[tuple, dict[str, np.ndarray]]) -> list[str]:
    """The plans that no seed arrives with, and the K they spent in all."""
    metrics = run.tables["metrics"]
    names = [plan for (plan,), rows in plans.items() if not np.isfinite(rows["step95"]).any()]
    if not names:
        return []
    spent = [metrics["K"][metrics["plan"] == name].max() for name in names]
    listed = ", ".join(f"{name} (K = {number(k, 2)})" for name, k in zip(names, spent))
    return [f"Never, in {metrics['step'].max()} steps: {listed}."]


def _slope(run: RunData, medians: dict[str, tuple[float, float]]) -> list[str]:
    """The fitted exponent, and whether this is a clock at all."""
    fit = run.tables.get("fit")
    if fit is None or not len(fit["slope"]) or not np.isfinite(fit["slope"][0]):
        return []
    slope, low, high, n = (float(fit[key][0]) for key in ("slope", "low", "high", "n"))
    said = [
        f"For constant plans log(step at 95 %) falls against log(λ) with slope {slope:.2f} "
        f"(95 % interval {low:.2f} to {high:.2f}, n = {n:.0f}); an exact clock has -1."
    ]
    if not is_clock(low, high, medians):
        said.append(
            f"With lr {run.config.get('lr')} and {run.config.get('optimizer')} this is not a "
            "clock: K alone does not say when the network generalizes."
        )
    return said


def is_clock(low: float, high: float, medians: dict[str, tuple[float, float]]) -> bool:
    """Whether the slope reaches -0.85, and K parts the plans by less than half of what steps do.

    Both limits are our choice: the second is on the logarithm of the factors.
    """
    if low > -0.85 or high < -1.15 or len(medians) < 2:
        return False
    steps, budget = np.log(np.array(list(medians.values()))).T
    return bool(np.ptp(budget) < 0.5 * np.ptp(steps))


def section(run: RunData, name: str) -> Section:
    """The clock's part of the page."""
    colours = plan_colours(run.tables["summary"])
    panels = [
        to_svg(steps_panel(run.tables), f"{name}-steps", "test accuracy against the step"),
        to_svg(budget_panel(run.tables), f"{name}-budget", "test accuracy against the budget K"),
        to_svg(plans_panel(run.tables), f"{name}-plans", "what each plan takes off at a step"),
    ]
    p, lr = run.config.get("p"), run.config.get("lr")
    intro = (
        f"Task: (a + b) mod {p}, half of all pairs for training, the other half for the test. One "
        f"network, one lr ({lr}), and many ways to spend weight decay over time. Does test "
        "accuracy follow the step, or the decay budget K = Σ lr · weight_decay spent by then?"
    )
    caveat = (
        "The budget that is needed belongs to this task, network and small lr; it is not a "
        "constant of nature. K does not fix the final accuracy of a real task: see the map."
    )
    names = legend(colours | {"training, worst of all (dotted)": INK})
    body = [paragraph(intro), figures(panels), names, table(run).to_html()]
    return Section(
        name, "The decay clock", "".join([*body, paragraph(caveat, "note")]), findings(run)
    )
