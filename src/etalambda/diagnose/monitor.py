"""A `Monitor` decides when to measure; what it measures are plain functions; rows are plain dicts.

It counts optimizer steps by itself, so nothing is called in the training loop, and it adds up the
decay that the run has spent, K = Σ ηλ, which survives a resume through its ``state_dict``.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.diagnose._rows import Ring, Row
from etalambda.diagnose.decay import live_rates, stats

Quantity = Callable[[list[Optimizer]], Any]


def every(k: int, *, start: int = 0) -> Callable[[int], bool]:
    """When to measure: at every ``k``-th optimizer step, from ``start`` on.

    Raises:
        ValueError: If ``k`` is not a positive integer.

    Example:
        >>> [step for step in range(1, 10) if every(3)(step)]
        [3, 6, 9]
    """
    if not (isinstance(k, int) and k > 0):
        raise ValueError(f"every(k) takes a positive whole number of steps, got {k!r}")
    return lambda step: step >= start and step % k == 0


class Monitor:
    """Rows of measurements along a training run, taken right after optimizer steps.

    On a GPU nothing waits: numbers that live there are copied to pinned memory in the stream's own
    time, K with them, and a row reaches the sinks at the first later measurement at which it has
    arrived. Asking for ``rows``, ``last``, ``spent`` or a ``state_dict`` waits for what is missing.

    Args:
        optimizers: One optimizer or several that step together; the last one's steps count.
        when: A predicate on the step count, such as ``every(10)``. The first step is 1.
        quantities: Name -> function of the list of optimizers. It returns a number, a tensor of
            at most one dimension, a list or a dict of them (entered as ``name/key``). Without any,
            the row is ``stats(optimizers)``, which does wait for a GPU.

    Raises:
        ValueError: If a quantity is called ``step`` or ``K``, which every row has.

    Example:
        >>> import torch
        >>> from etalambda.diagnose import weight_norms
        >>> w = torch.nn.Parameter(torch.ones(4))
        >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
        >>> monitor = Monitor(optimizer, every(2), norm=weight_norms)
        >>> for _ in range(4):
        ...     w.grad = torch.zeros(4)
        ...     optimizer.step()
        >>> [(row["step"], round(row["K/0"], 2), round(row["norm/0"], 2)) for row in monitor.rows]
        [(2, 0.1, 1.8), (4, 0.2, 1.63)]
    """

    def __init__(
        self,
        optimizers: Optimizer | Iterable[Optimizer],
        when: Callable[[int], bool] | None = None,
        **quantities: Quantity,
    ) -> None:
        for name in ("step", "K"):
            if name in quantities:
                raise ValueError(f"a quantity may not be called {name!r}: every row has it already")
        self._optimizers = as_optimizers(optimizers)
        self._when = every(1) if when is None else when
        self._quantities = quantities
        self._rows: list[dict[str, Any]] = []
        self._waiting: deque[Row] = deque()
        self._rings: dict[torch.device, Ring] = {}
        self._step = 0
        self._spent: list[float | Tensor] = []
        self._course = Course()
        self._sinks: list[Callable[[dict[str, Any]], Any]] = []
        self._handle = self._optimizers[-1].register_step_post_hook(self._after_step)

    def _after_step(self, *_: Any) -> None:
        self._step += 1
        rates = live_rates(self._optimizers)
        self._spent += [0.0] * (len(rates) - len(self._spent))  # a group may be added later
        self._spent = [k + rate for k, rate in zip(self._spent, rates)]
        if self._when(self._step):
            self._course.add(self._spent, self._optimizers)
            self._waiting.append(Row(self._measure(), self._rings))
            self._deliver(wait=False)

    def _measure(self) -> dict[str, Any]:
        row: dict[str, Any] = {"step": self._step, "K": list(self._spent)}
        if not self._quantities:
            return row | stats(self._optimizers)
        for name, quantity in self._quantities.items():
            try:
                row[name] = quantity(self._optimizers)
            except Exception as error:
                error.add_note(f"raised by the Monitor's quantity {name!r} at step {self._step}")
                raise
        return row

    def _deliver(self, *, wait: bool) -> None:
        """Read the rows that have arrived, or all of them, in order, and hand them to the sinks."""
        while self._waiting and (wait or self._waiting[0].ready()):
            self._rows.append(self._waiting.popleft().read())
            for sink in self._sinks:
                sink(self._rows[-1])

    def to(self, *sinks: Callable[[dict[str, Any]], Any]) -> "Monitor":
        """Hand every new row to these functions, such as `tensorboard` or a `LivePanel`.

        Returns:
            This monitor, so that it can be made and connected in one line.
        """
        self._sinks += sinks
        return self

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows so far, of plain numbers."""
        self._deliver(wait=True)
        return self._rows

    @property
    def last(self) -> dict[str, Any]:
        """The newest row, empty before the first: what a logger wants."""
        rows = self.rows
        return rows[-1] if rows else {}

    @property
    def spent(self) -> list[float]:
        """K = Σ ηλ so far, one number a param group."""
        return [float(k) for k in self._spent]

    def dual_coefficients(self) -> list[list[float]]:
        """How much the update of each measured step still counts now: a list a row, by group.

        c_i = η_i Π_{j>i} (1 - r_j), as `etalambda.theory.budget.dual_coefficients` has it, with
        exp(-r) for 1 - r; for SGD with momentum η is η/(1 - μ).

        Example:
            >>> import torch
            >>> w = torch.nn.Parameter(torch.ones(1))
            >>> optimizer = torch.optim.SGD([w], lr=0.5, weight_decay=0.01)
            >>> monitor = Monitor(optimizer, norm=lambda _: w.norm())
            >>> for _ in range(3):
            ...     w.grad = torch.zeros(1)
            ...     optimizer.step()
            >>> [round(c, 4) for (c,) in monitor.dual_coefficients()]
            [0.495, 0.4975, 0.5]
        """
        return self._course.coefficients(self.spent)

    def state_dict(self) -> dict[str, Any]:
        """Step count, K so far and the rows: plain numbers, loadable with ``weights_only``."""
        return {
            "step": self._step,
            "spent": self.spent,
            "rows": [dict(r) for r in self.rows],
            "course": self._course.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting where a saved monitor stopped."""
        missing = {"step", "spent", "rows"} - set(state)
        if missing:
            raise ValueError(f"the state lacks {sorted(missing)}; pass a Monitor's state_dict()")
        self._step = int(state["step"])
        self._spent = [float(k) for k in state["spent"]]
        self._rows = [dict(row) for row in state["rows"]]
        self._waiting.clear()
        self._course = Course(state.get("course", ()))

    def flush(self) -> None:
        """Wait for rows that are on their way from a GPU and hand them to the sinks."""
        self._deliver(wait=True)

    def remove(self) -> None:
        """Stop measuring. The rows stay."""
        self.flush()
        self._handle.remove()


class Course:
    """lr and K at the measured steps, from which dual coefficients follow at any later time."""

    def __init__(self, state: Iterable[Sequence[Any]] = ()) -> None:
        self._points: list[tuple[list[Any], list[Any]]] = [(list(a), list(b)) for a, b in state]

    def add(self, spent: list[float | Tensor], optimizers: list[Optimizer]) -> None:
        """One measured step."""
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        lrs = [g["lr"] / (1 - g.get("momentum", 0.0)) for g in groups]
        self._points.append((lrs, list(spent)))

    def coefficients(self, spent: list[float]) -> list[list[float]]:
        """c_i of every point and group, at K = ``spent``."""
        return [
            [float(lr) * math.exp(float(k) - now) for lr, k, now in zip(lrs, then, spent)]
            for lrs, then in self._points
        ]

    def state(self) -> list[list[list[float]]]:
        """As plain numbers."""
        return [[[float(x) for x in part] for part in point] for point in self._points]
