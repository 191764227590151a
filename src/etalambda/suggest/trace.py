"""One training run as columns over steps, whatever wrote it: our rows, CSV, event files.

Loggers disagree about names (``train/lr``, ``lr-AdamW/pg1``, ``global_step``); `Trace.of` maps them
to a few and keeps one series a param group. Columns that a log lacks are simply absent, and a rule
that needs them stays silent.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etalambda.theory import budget

STEPS = ("step", "steps", "global_step", "iter", "iteration", "iterations", "_step", "trainer/step")
NAMES: tuple[tuple[str, str], ...] = (  # first match wins; searched in the lower-case column name
    ("weight_decay", r"weight[_ -]?decay|(^|[/_.-])(wd|lam|lambda)($|[/_.-])"),
    ("rate", r"intrinsic[_ -]?lr"),
    ("effective_lr", r"effective[_ -]?lr"),
    ("v_mean", r"(^|/)v[_ -]?mean"),
    ("grad_norm", r"grad(ient)?s?[_ -]?norm"),
    ("norm", r"(weight|param)s?[_ -]?norm|^(.*/)?norm($|/)"),
    ("budget", r"^(.*/)?k($|/\d)"),
    ("lr", r"(^|[/_.-])(lr|learning[_ -]?rate)($|[/_.-])"),
)


@dataclass(frozen=True)
class Trace:
    """Columns over the logged steps of one run.

    Attributes:
        steps: The step of each row, increasing; shape ``(rows,)``.
        columns: Quantity -> group -> values of shape ``(rows,)``. Quantities: lr, weight_decay,
            rate, budget, norm, effective_lr, grad_norm, v_mean.
        optimizer: Its name, which decides how λ acts, where ``optimizers`` has none.
        optimizers: Group -> the name of its optimizer, for several that step together.
        momentum: Of SGD.
        total_steps: Length of the planned run; by default the last step.

    Example:
        >>> trace = Trace.of([{"step": t, "lr": 0.1, "weight_decay": 0.5} for t in (1, 2, 3)])
        >>> trace.steps.tolist(), sorted(trace.columns)
        ([1.0, 2.0, 3.0], ['lr', 'weight_decay'])
    """

    steps: Tensor
    columns: Mapping[str, Mapping[str, Tensor]]
    optimizer: str = "adamw"
    momentum: float = 0.0
    total_steps: int | None = None
    name: str = ""
    optimizers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rows: Iterable[Mapping[str, Any]],
        *,
        optimizer: str | None = None,
        momentum: float = 0.0,
        lr: float | None = None,
        weight_decay: float | None = None,
        total_steps: int | None = None,
        name: str = "",
    ) -> Trace:
        """A trace from rows as a logger keeps them; values that are no numbers are left out.

        ``lr`` and ``weight_decay`` stand in where the log lacks them. ``optimizer`` is that of all
        groups; left out, it is what the columns ``optimizer/0``, ... say (`Doctor.save` writes
        them), else AdamW. Rows without a step are numbered.

        Raises:
            ValueError: If there are no rows or nothing in them is known.

        Example:
            >>> trace = Trace.of([{"global_step": 10, "train/lr": 0.1, "wd": 0.5, "loss": 2.0}])
            >>> sorted(trace.columns), trace.steps.tolist()
            (['lr', 'weight_decay'], [10.0])
        """
        budget.form(optimizer or "adamw")  # an unknown optimizer is refused here
        found = [dict(row) for row in rows]
        if not found:
            raise ValueError("the log has no rows; has the run written anything yet?")
        steps, columns = _columns(found)
        for quantity, value in (("lr", lr), ("weight_decay", weight_decay)):
            if value is not None and quantity not in columns:
                columns[quantity] = {"0": torch.full_like(steps, value)}
        if not columns:
            names = ", ".join(sorted({str(key) for row in found[:1] for key in row})[:12])
            raise ValueError(
                f"nothing known among the columns {names}; log lr, weight_decay, grad_norm or "
                "weight_norm (etalambda doctor --script prints how), or pass lr and weight_decay"
            )
        named = {} if optimizer else _optimizers(found)
        optimizer = optimizer or next(iter(named.values()), "adamw")
        return cls(steps, columns, optimizer, momentum, total_steps, name, named)

    def form(self, group: str) -> str:
        """How the optimizer of a group applies its decay, see `etalambda.theory.budget.form`."""
        return budget.form(self.optimizers.get(group, self.optimizer))

    def get(self, quantity: str) -> Mapping[str, Tensor]:
        """Group -> values; empty if the log has no such quantity."""
        return self.columns.get(quantity, {})

    @property
    def length(self) -> float:
        """Steps of the whole run, logged or still to come."""
        return float(self.total_steps or self.steps[-1])

    def rates(self) -> dict[str, Tensor]:
        """The decay rate r of each group: as logged, or from lr and λ. NaN where unknown."""
        if self.get("rate"):
            return dict(self.get("rate"))
        lrs, decays, v_means = self.get("lr"), self.get("weight_decay"), self.get("v_mean")
        rates = {}
        for group, decay in decays.items():
            lr = lrs.get(group, next(iter(lrs.values()), None))
            if lr is not None:
                one = budget.gain(self.form(group), momentum=self.momentum, v_mean=None)
                if v_means and self.form(group) == "stable":
                    one = next(iter(v_means.values())).clamp_min(1e-300) ** -0.5
                rates[group] = torch.where(decay == 0, 0.0, lr * decay * one)
        return rates

    def budgets(self) -> dict[str, float]:
        """K of each group over the logged steps: as logged, or the rates held between rows."""
        if self.get("budget"):
            return {group: _last(values) for group, values in self.get("budget").items()}
        widths = torch.diff(self.steps, prepend=self.steps.new_zeros(1)).clamp_min(0)
        return {
            group: (rate.nan_to_num() * widths).sum().item() if not rate.isnan().all() else math.nan
            for group, rate in self.rates().items()
        }


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
    """Steps and known columns. Several rows of one step (train and validation) become one."""
    key = next((k for k in rows[0] if str(k).lower() in STEPS), None)
    merged: dict[float, dict[str, float]] = {}
    for index, row in enumerate(rows):
        step = _number(row.get(key)) if key is not None else float(index + 1)
        if math.isnan(step):
            continue
        values = {str(k): v for k, raw in row.items() if not math.isnan(v := _number(raw))}
        merged.setdefault(step, {}).update(values)
    steps = sorted(merged)
    columns: dict[str, dict[str, Tensor]] = {}
    for name in dict.fromkeys(name for step in steps for name in merged[step]):
        quantity = next((q for q, pattern in NAMES if re.search(pattern, name.lower())), None)
        if quantity is None or name == key:
            continue
        values = torch.tensor([merged[s].get(name, math.nan) for s in steps], dtype=torch.float64)
        group = re.search(r"(?:/|pg|group_?)(\d+)$", name.lower())
        columns.setdefault(quantity, {}).setdefault(group.group(1) if group else "0", values)
    return torch.tensor(steps, dtype=torch.float64), columns


def _optimizers(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Group -> optimizer, from columns of text; names that nobody knows are left out."""
    named = {}
    for row in rows[:2]:  # the doctor's first row is the start of the run
        for key, value in row.items():
            group = re.fullmatch(r"optimizer(?:/(\d+))?", str(key).lower())
            if group and isinstance(value, str) and value:
                with suppress(ValueError):
                    budget.form(value)
                    named[group.group(1) or "0"] = value
    return named


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def _last(values: Tensor) -> float:
    known = values[~values.isnan()]
    return known[-1].item() if len(known) else math.nan


def read_csv(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a CSV log with a header line.

    Raises:
        ValueError: If the file has no header and one row at least.
    """
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} has no rows below a header line; is it a CSV log?")
    return rows


def read_events(path: str | Path) -> list[dict[str, Any]]:
    """The scalars of a TensorBoard event file or folder, one row a step.

    Raises:
        ModuleNotFoundError: Without the ``tensorboard`` extra.
        ValueError: If there are no scalars.
    """
    from etalambda._common import need

    reader = need("tensorboard.backend.event_processing.event_accumulator", "tensorboard")
    events = reader.EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    rows: dict[int, dict[str, Any]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            rows.setdefault(event.step, {"step": event.step})[tag] = event.value
    for tag in events.Tags()["tensors"]:  # scalars written by newer writers
        for event in events.Tensors(tag):
            if event.tensor_proto.float_val:
                row = rows.setdefault(event.step, {"step": event.step})
                row[tag] = event.tensor_proto.float_val[0]
    if not rows:
        raise ValueError(f"{path} has no scalars; is it a TensorBoard event file or its folder?")
    return [rows[step] for step in sorted(rows)]
