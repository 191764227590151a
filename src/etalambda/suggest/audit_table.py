"""The audit's table: one row a param group, twelve lines in all, and the same as a dict."""

import math
from dataclasses import dataclass
from typing import Any

from etalambda.suggest.findings import Finding, number, plain

LINES = 12
HEAD = f"{'group':<7} {'tensors':>7} {'parameters':>10} {'weight decay':>12} {'K':>8} " + (
    f"{'τ (steps)':>18} {'shrink':>8}"
)


@dataclass(frozen=True)
class Row:
    """One param group in the audit's table. ``tau`` is in steps, ``budget`` is K of the run."""

    index: int
    optimizer: str
    form: str
    tensors: int
    parameters: int
    frozen: int
    strangers: int
    lr: float
    weight_decay: float
    budget: float
    rate: float

    @property
    def tau(self) -> float:
        """1/r at the run's largest decay rate, in steps."""
        return 1 / self.rate if self.rate else math.inf

    @property
    def shrink(self) -> float:
        """1 - exp(-K): the share of the starting weights that decay alone would remove."""
        return -math.expm1(-self.budget)


@dataclass(frozen=True)
class Audit:
    """What `audit` found. Print it; ``to_dict()`` for machines, ``plot()`` for the K ruler.

    Example:
        >>> import torch
        >>> from etalambda.suggest import audit
        >>> model = torch.nn.Linear(9, 9, bias=False)
        >>> optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        >>> found = audit(model, optimizer, steps=2000)
        >>> [finding.code for finding in found.findings]
        ['INERT']
    """

    steps: int
    steps_per_epoch: float | None
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """No finding asks for a change."""
        return not any(finding.level == "warning" for finding in self.findings)

    @property
    def budget(self) -> float:
        """K of the group that holds most of the decayed parameters; 0 if nothing decays."""
        decayed = [row for row in self.rows if row.weight_decay and row.parameters]
        return max(decayed, key=lambda row: row.parameters).budget if decayed else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values that ``json.dumps`` takes; NaN and infinity are None."""
        rows = [
            {key: plain(value) for key, value in vars(row).items()}
            | dict(
                tau=plain(row.tau), tau_epochs=plain(self._epochs(row)), shrink=plain(row.shrink)
            )
            for row in self.rows
        ]
        return dict(
            steps=self.steps,
            steps_per_epoch=self.steps_per_epoch,
            ok=self.ok,
            budget=plain(self.budget),
            groups=rows,
            findings=[finding.to_dict() for finding in self.findings],
        )

    def plot(self, ax: Any = None) -> Any:
        """The K ruler, published recipes on a log axis, with an arrow at this run's K.

        Returns:
            The matplotlib axes. Needs matplotlib, which the ``lab`` extra brings.
        """
        from etalambda.suggest.ruler import ruler

        return ruler({"your run": self.budget}, ax=ax)

    def _epochs(self, row: Row) -> float:
        return row.tau / self.steps_per_epoch if self.steps_per_epoch else math.nan

    def __str__(self) -> str:
        shown = self.findings[: (LINES - 3) // 2]  # warnings come first; to_dict() has them all
        notes = [line for finding in shown for line in str(finding).split("\n")]
        room = LINES - 2 - len(notes)
        names = " + ".join(dict.fromkeys(row.optimizer for row in self.rows))
        total = sum(row.parameters for row in self.rows)
        title = f"{names}: {self.steps:,} steps, {count(total)} parameters"
        verdict = "" if self.findings else "; nothing to change"
        return "\n".join([title + verdict, HEAD, *self._table(room), *notes])

    def _table(self, room: int) -> list[str]:
        """The largest rows that fit, groups that read alike joined."""
        alike: dict[tuple, list[Row]] = {}
        for row in self.rows:
            key = (row.optimizer, row.lr, row.weight_decay, row.budget, row.frozen > 0)
            alike.setdefault(key, []).append(row)
        joined = sorted(alike.values(), key=lambda rows: -sum(row.parameters for row in rows))
        if len(joined) > room:
            hidden = sum(len(rows) for rows in joined[room - 1 :])
            shown = [self._line(rows) for rows in joined[: room - 1]]
            return [*shown, f"... and {hidden} more groups: to_dict() has them all"]
        return [self._line(rows) for rows in sorted(joined, key=lambda rows: rows[0].index)]

    def _line(self, alike: list[Row]) -> str:
        row, indices = alike[0], [row.index for row in alike]
        group = str(indices[0]) if len(indices) == 1 else f"{indices[0]}..{indices[-1]}"
        epochs = self._epochs(row)
        tau = number(row.tau) + (f" / {number(epochs)} ep" if math.isfinite(epochs) else "")
        notes = [f"{sum(r.frozen for r in alike)} frozen"] if row.frozen else []
        notes += [f"{row.strangers} not in the model"] if row.strangers else []
        shrink = "?" if math.isnan(row.budget) else f"{100 * row.shrink:.3g} %"
        line = (
            f"{group:<7} {sum(r.tensors for r in alike):>7} "
            f"{count(sum(r.parameters for r in alike)):>10} {number(row.weight_decay):>12} "
            f"{number(row.budget):>8} {tau:>18} {shrink:>8}"
        )
        return line + (f"  ({', '.join(notes)})" if notes else "")


def count(parameters: int) -> str:
    """A number of parameters in k, M or B.

    Example:
        >>> count(11_173_962), count(62)
        ('11.2 M', '62')
    """
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if parameters >= size:
            return f"{parameters / size:.1f} {unit}"
    return str(parameters)
