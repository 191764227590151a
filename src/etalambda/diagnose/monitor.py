"""A `Monitor` decides when to measure; what it measures are plain functions; rows are plain dicts.

It counts optimizer steps by itself, so nothing is called in the training loop, and it adds up the
decay that the run has spent, K = Σ ηλ, which survives a resume through its ``state_dict``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.diagnose.decay import intrinsic_lr, stats

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

    Args:
        optimizers: One optimizer or several that step together; the last one's steps count.
        when: A predicate on the step count, such as ``every(10)``. The first step is 1.
        quantities: Name -> function of the list of optimizers. It returns a number, a 0-d tensor
            (read when the rows are read, so that a GPU is not waited for), a list or a dict of
            them (entered as ``name/key``). Without any, the row is ``stats(optimizers)``.

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
        self._step = 0
        self._spent: list[float] = []
        self._sinks: list[Callable[[dict[str, Any]], Any]] = []
        self._handle = self._optimizers[-1].register_step_post_hook(self._after_step)

    def _after_step(self, *_: Any) -> None:
        self._step += 1
        rates = intrinsic_lr(self._optimizers)
        spent = self._spent + [0.0] * (len(rates) - len(self._spent))  # a group may be added later
        self._spent = [k + rate for k, rate in zip(spent, rates)]
        if self._when(self._step):
            self._rows.append({"step": self._step, **_flatten("K", self._spent), **self._measure()})
            for sink in self._sinks:
                sink(self.last)

    def to(self, *sinks: Callable[[dict[str, Any]], Any]) -> "Monitor":
        """Hand every new row to these functions, such as `tensorboard` or a `LivePanel`.

        A sink reads its row at once, so quantities that are tensors on a GPU are waited for.

        Returns:
            This monitor, so that it can be made and connected in one line.
        """
        self._sinks += sinks
        return self

    def _measure(self) -> dict[str, Any]:
        if not self._quantities:
            return dict(stats(self._optimizers))
        row: dict[str, Any] = {}
        for name, quantity in self._quantities.items():
            try:
                row |= _flatten(name, quantity(self._optimizers))
            except Exception as error:
                error.add_note(f"raised by the Monitor's quantity {name!r} at step {self._step}")
                raise
        return row

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows so far; tensors have become numbers."""
        self._rows = [
            {key: v.item() if isinstance(v, Tensor) else v for key, v in row.items()}
            for row in self._rows
        ]
        return self._rows

    @property
    def last(self) -> dict[str, Any]:
        """The newest row, empty before the first: what a logger wants."""
        return self.rows[-1] if self._rows else {}

    @property
    def spent(self) -> list[float]:
        """K = Σ ηλ so far, one number a param group."""
        return list(self._spent)

    def state_dict(self) -> dict[str, Any]:
        """Step count, K so far and the rows: plain numbers, loadable with ``weights_only``."""
        return {
            "step": self._step,
            "spent": list(self._spent),
            "rows": [dict(r) for r in self.rows],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting where a saved monitor stopped."""
        missing = {"step", "spent", "rows"} - set(state)
        if missing:
            raise ValueError(f"the state lacks {sorted(missing)}; pass a Monitor's state_dict()")
        self._step, self._spent = int(state["step"]), [float(k) for k in state["spent"]]
        self._rows = [dict(row) for row in state["rows"]]

    def remove(self) -> None:
        """Stop measuring. The rows stay."""
        self._handle.remove()


def _flatten(name: str, value: Any) -> dict[str, Any]:
    """``{name: value}``, or one entry a key or position for a dict or a list."""
    if isinstance(value, Mapping):
        return {f"{name}/{key}": entry for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"{name}/{index}": entry for index, entry in enumerate(value)}
    return {name: value.detach() if isinstance(value, Tensor) else value}
