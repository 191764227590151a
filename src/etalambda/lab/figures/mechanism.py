"""The mechanism row: what lr and λ did to the weights along a run, from a `Monitor`'s rows.

Six panels over the step: lr and λ over their largest values; ηλ; norms; effective lr; the angle of
an update beside the predicted one; the gradient's norm, and the Hessian's index where it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from etalambda._common import need
from etalambda.lab.figures.style import INK, MUTED, OKABE_ITO, house_style, plain_log_ticks

Rows = Sequence[dict[str, Any]]


@house_style
def mechanism(
    rows: Rows,
    *,
    panel: str = "panel",
    index: str = "index",
    group: int = 0,
    turn: str = "angle between two rows, radians",
) -> Any:
    """Draw what a run's rows hold.

    Args:
        rows: Of a ``Monitor(..., panel=Panel(...))``; each kind of the panel is a line.
        panel: The name that the `Panel` has in the rows.
        index: The name of a quantity such as ``hessian_index(...).value``; may be missing.
        group: Which param group's lr, λ and predicted angle.
        turn: What the angles of these rows are.

    Returns:
        A matplotlib Figure.

    Raises:
        ValueError: If no row holds the panel.

    Example:
        >>> import torch
        >>> from etalambda.diagnose import Monitor, Panel
        >>> w = torch.nn.Parameter(torch.ones(4))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.01)
        >>> monitor = Monitor(optimizer, panel=Panel())
        >>> for _ in range(3):
        ...     w.grad = torch.randn(4)
        ...     optimizer.step()
        >>> [axis.get_title("left") for axis in mechanism(monitor.rows).axes][:4]
        ['lr and λ', 'ηλ, decay a step', '‖W‖', 'effective lr']
    """
    if not any(f"{panel}/lr/{group}" in row for row in rows):
        raise ValueError(
            f"no row holds {panel}/lr/{group}; pass Monitor(..., {panel}=Panel()).rows"
        )
    kinds = _kinds(rows, f"{panel}/norm/")
    made = need("matplotlib.figure", "lab").Figure((11.5, 6.2), layout="constrained")
    (rates, decay, norms), (effective, angles, gradients) = made.subplots(2, 3)
    lr, weight_decay = (_series(rows, f"{panel}/{n}/{group}") for n in ("lr", "weight_decay"))
    for (steps, values), name, style in ((lr, "lr", "-"), (weight_decay, "λ", "--")):
        top = np.nanmax(values) or 1.0
        rates.plot(steps, values / top, style, color=INK, label=f"{name}, largest {top:.3g}")
    _finish(rates, "lr and λ", "share of the largest", legend=True)
    decay.plot(*_series(rows, f"{panel}/intrinsic_lr/{group}"), color=INK)
    _finish(decay, "ηλ, decay a step", "")
    _by_kind(norms, rows, f"{panel}/norm/", kinds)
    _finish(norms, "‖W‖", "", legend=len(kinds) > 1)
    _by_kind(effective, rows, f"{panel}/effective_lr/", kinds)
    _finish(effective, "effective lr", "", log=True)
    _by_kind(angles, rows, f"{panel}/angle/", kinds)
    predicted = _series(rows, f"{panel}/predicted_angle/{group}")
    angles.plot(*predicted, ":", color=MUTED, label="predicted")
    _finish(angles, turn, "", log=True, legend=True)
    _by_kind(gradients, rows, f"{panel}/gradient/", kinds)
    _finish(gradients, "gradient norm", "", log=True)
    steps, values = _series(rows, index)
    if len(steps):
        other = gradients.twinx()
        other.plot(steps, values, "o-", ms=3, color=OKABE_ITO[4], lw=1)
        other.set_ylabel("index (dots)", color=OKABE_ITO[4])
        other.set_ylim(0, max(0.05, 1.1 * float(np.nanmax(values))))
        other.grid(False)
        gradients.set_title("gradient norm, and the index")
    for axis in (effective, angles, gradients):
        axis.set_xlabel("step")
    return made


def _kinds(rows: Rows, prefix: str) -> list[str]:
    """The kinds in order, the whole last; single tensors are left out."""
    found = {k.removeprefix(prefix): None for row in rows for k in row if k.startswith(prefix)}
    return [kind for kind in found if not kind.isdigit()]


def _series(rows: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one entry, where there is one."""
    there = [(row["step"], row[name]) for row in rows if name in row]
    steps, values = np.array(there, dtype=float).reshape(-1, 2).T
    return steps, values


def _by_kind(axis: Any, rows: Rows, prefix: str, kinds: Sequence[str]) -> None:
    for kind, colour in zip(kinds, OKABE_ITO):
        colour = INK if kind == "total" else colour
        axis.plot(*_series(rows, prefix + kind), color=colour, label=kind)


def _finish(axis: Any, title: str, label: str, *, log: bool = False, legend: bool = False) -> None:
    axis.set_title(title)
    axis.set_ylabel(label)
    drawn = [y for line in axis.lines for y in line.get_ydata() if np.isfinite(y)]
    if log and drawn and min(drawn) > 0:
        axis.set_yscale("log")
        if max(drawn) < 50 * min(drawn):  # one decade needs more than its power of ten
            plain_log_ticks(axis.yaxis, (1, 2, 5))
    elif drawn:
        axis.set_ylim(0, 1.08 * max(drawn) if max(drawn) > 0 else 1)
    if legend:
        axis.legend(loc="best")
