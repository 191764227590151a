"""The doctor: the audit's and the trace's rules on a live training or on a log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.diagnose import Monitor, every, stats
from etalambda.diagnose.decay import decay_form
from etalambda.diagnose.rehearsal import unwrapped
from etalambda.suggest.auditing import audit
from etalambda.suggest.findings import Finding, number, plain
from etalambda.suggest.symptoms import SYMPTOMS
from etalambda.suggest.trace import Trace, read_csv, read_events
from etalambda.theory import budget

SCRIPT = """\
import etalambda as el
doctor = el.suggest.Doctor(model, optimizer, steps=total_steps)  # before the loop
...                                                              # train as always
print(doctor.report())                                           # after it, or at any time
doctor.save("doctor.csv")                                        # for: etalambda doctor doctor.csv
"""
"""Five lines to paste into a training script."""


@dataclass(frozen=True)
class Report:
    """What the doctor says about one run.

    Example:
        >>> rows = [{"step": t, "lr": 1e-3, "weight_decay": 0.01} for t in range(1, 1001)]
        >>> report = examine(Trace.of(rows))
        >>> report.ok, round(report.budgets["0"], 3)
        (False, 0.01)
    """

    name: str
    budgets: Mapping[str, float]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """No finding asks for a change."""
        return not any(finding.level == "warning" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(
            name=self.name,
            ok=self.ok,
            budgets={group: plain(value) for group, value in self.budgets.items()},
            findings=[finding.to_dict() for finding in self.findings],
        )

    def __str__(self) -> str:
        spent = ", ".join(f"K{'/' + g if g != '0' else ''} = {number(k)}" for g, k in _few(self))
        head = f"{self.name or 'run'}: {spent or 'K unknown'}"
        if not self.findings:
            return f"{head}; nothing to change"
        return "\n".join([head, *map(str, self.findings)])


def _few(report: Report) -> list[tuple[str, float]]:
    return list(report.budgets.items())[:4]


def examine(trace: Trace) -> Report:
    """Every rule of `etalambda.suggest.symptoms` on a trace.

    Example:
        >>> rows = [{"step": t, "lr": 1e-3, "weight_decay": 0.01} for t in range(1, 1001)]
        >>> print(examine(Trace.of(rows)))
        run: K = 0.01
        INERT       group 0: K = 0.01 < 0.2: decay shrinks these weights by 0.995 % in the whole run
                    > print(el.suggest(optimizer="adamw", lr=0.001, steps=1000))  [K ruler: ...
    """
    found = [finding for rule in SYMPTOMS for finding in rule(trace)]
    return Report(trace.name, trace.budgets(), tuple(found))


def examine_log(path: str | Path, **options: Any) -> Report:
    """`examine` on a CSV log, a TensorBoard event file or a folder of them.

    Args:
        path: The file, or a folder with event files.
        options: As `Trace.of`: ``optimizer``, ``momentum``, ``lr``, ``weight_decay``,
            ``total_steps``.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If it holds nothing that the doctor knows.

    Example:
        >>> examine_log("nowhere.csv")
        Traceback (most recent call last):
        FileNotFoundError: there is no log at nowhere.csv
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no log at {path}")
    events = path.is_dir() or "tfevents" in path.name
    rows = read_events(path) if events else read_csv(path)
    return examine(replace(Trace.of(rows, **options), name=path.name))


class Doctor:
    """Watches a live training through a step hook: nothing to call in the loop.

    Args:
        model: The network.
        optimizers: One torch optimizer or several that step together.
        steps: Optimizer steps of the whole run.
        interval: Steps between two measurements.

    Example:
        >>> net = torch.nn.Linear(4, 1, bias=False)
        >>> optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
        >>> doctor = Doctor(net, optimizer, steps=100)
        >>> for _ in range(100):
        ...     net(torch.ones(4)).square().sum().backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        >>> [finding.code for finding in doctor.report().findings]
        ['INERT']
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizer | Iterable[Optimizer],
        steps: int,
        *,
        interval: int = 10,
    ) -> None:
        self._optimizers, self._steps = as_optimizers(optimizers), steps
        self._model = model
        audit(model, self._optimizers, steps)  # bad input is named now, not at the end
        start = stats(self._optimizers).items()
        self._start = {k: v for k, v in start if k.startswith(("weight_decay/", "norm/"))}
        self._names = [_name(o, group) for o in self._optimizers for group in o.param_groups]
        self.monitor = Monitor(self._optimizers, every(interval), row=_row)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was measured so far, one row every ``interval`` steps."""
        names = {f"optimizer/{i}": name for i, name in enumerate(self._names)}
        rows = self.monitor.rows
        return [{k.removeprefix("row/"): v for k, v in row.items()} | names for row in rows]

    def report(self) -> Report:
        """The diagnosis at this point of the run."""
        sick = [f for f in self._audit() if f.code in ("GROUPS", "L2-IN-ADAM")]
        if not self.rows:
            return Report("live run, before its first measurement", {}, tuple(sick))
        rows = self._from_the_start()
        trace = Trace.of(rows, total_steps=self._steps, name="live run")
        report = examine(trace)
        said = {finding.code for finding in sick}
        more = (finding for finding in report.findings if finding.code not in said)
        return Report(report.name, report.budgets, (*sick, *more))

    def save(self, path: str | Path) -> None:
        """Write the rows as CSV, for ``etalambda doctor``."""
        import csv

        rows = self._from_the_start()
        names = list(dict.fromkeys(name for row in rows for name in row))
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)

    def remove(self) -> None:
        """Stop watching; the rows stay."""
        self.monitor.remove()

    def _audit(self) -> tuple[Finding, ...]:
        return audit(self._model, self._optimizers, self._steps).findings

    def _from_the_start(self) -> list[dict[str, Any]]:
        """The rows, after one with what each group had before the first step."""
        return [{"step": 0} | self._start, *self.rows]


def _row(optimizers: list[Optimizer]) -> dict[str, float]:
    return stats(optimizers) | {"grad_norm": _grad_norm(optimizers)}


def _grad_norm(optimizers: list[Optimizer]) -> float:
    """‖g‖ over all parameters; NaN if the gradients are gone when the step ends."""
    total: Tensor | float = math.nan
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    square = torch.linalg.vector_norm(p.grad.detach()).double().cpu() ** 2
                    total = square + (0.0 if isinstance(total, float) else total)
    return float(total) ** 0.5


def _name(optimizer: Optimizer, group: dict[str, Any]) -> str:
    """The optimizer's name as `theory.budget` knows it: a known class, or one that decays alike."""
    form = decay_form(optimizer, group)
    for base in type(unwrapped(optimizer)).__mro__:
        if budget.FORMS.get(base.__name__.lower()) == form:
            return base.__name__
    return {"adaptive": "Adam", "stable": "AdamS", "momentum": "SGD"}.get(form, "AdamW")
