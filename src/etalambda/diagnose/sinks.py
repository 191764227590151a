"""Where a `Monitor`'s rows can go while training runs: TensorBoard and the terminal.

A sink is any function of one row. For W&B it is ``monitor.to(wandb.log)``, for MLflow
``monitor.to(lambda row: mlflow.log_metrics(row, step=row["step"]))``, for a list ``rows.append``.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from etalambda._common import check_positive, need

Row = dict[str, Any]
_BLOCKS = "▁▂▃▄▅▆▇█"


def tensorboard(writer: Any, *, prefix: str = "etalambda/") -> Callable[[Row], None]:
    """A sink that writes every number of a row to a ``SummaryWriter``, at the row's step.

    Example:
        >>> class Writer:
        ...     def add_scalar(self, tag, value, step):
        ...         print(tag, value, step)
        >>> tensorboard(Writer())({"step": 10, "K/0": 0.25})
        etalambda/K/0 0.25 10
    """

    def sink(row: Row) -> None:
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(f"{prefix}{name}", value, row["step"])

    return sink


class LivePanel:
    """A table in the terminal that follows a run: each quantity, its value and its recent course.

    Needs the ``lab`` extra (rich). Use it as a sink inside ``with``; on an output that is no
    terminal it prints one table at the end instead.

    Args:
        history: Rows kept for the course.
        console: A ``rich.console.Console``; None makes one.

    Example:
        >>> import torch
        >>> from etalambda.diagnose import Monitor
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.5)
        >>> with LivePanel() as panel:  # doctest: +ELLIPSIS
        ...     monitor = Monitor(optimizer, norm=lambda _: w.norm()).to(panel)
        ...     w.grad = torch.zeros(2)
        ...     optimizer.step()
        step 1
        ...norm...1.344...
    """

    def __init__(self, *, history: int = 40, console: Any = None) -> None:
        check_positive(history=history)
        rich_console, self._live = need("rich.console", "lab"), need("rich.live", "lab")
        self._console = rich_console.Console() if console is None else console
        self._history, self._shown = history, None
        self._rows: list[Row] = []

    def __enter__(self) -> "LivePanel":
        self._shown = self._live.Live(
            self.table(), console=self._console, auto_refresh=False, transient=False
        )
        self._shown.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(kind, error, trace)
            self._shown = None

    def __call__(self, row: Row) -> None:
        self._rows = [*self._rows[-self._history + 1 :], row]
        if self._shown is not None:
            self._shown.update(self.table(), refresh=self._console.is_terminal)

    def table(self) -> Any:
        """The table as it stands: one line a quantity, the newest value and a sparkline."""
        title = f"step {self._rows[-1]['step']}" if self._rows else "waiting for the first row"
        plain = need("rich.text", "lab").Text  # a quantity's name is the user's, not markup
        table = need("rich.table", "lab").Table(title=title)
        for column, align in (("quantity", "left"), ("now", "right"), ("course", "left")):
            table.add_column(column, justify=align, no_wrap=True)
        for name, value in (self._rows[-1] if self._rows else {}).items():
            if name != "step":
                course = [row[name] for row in self._rows if name in row]
                table.add_row(plain(name), f"{value:.4g}", sparkline(course))
        return table


def sparkline(values: list[float]) -> str:
    """A series as a line of blocks between its extremes; a gap where a value is not finite.

    Example:
        >>> sparkline([0.0, 1.0, 2.0, float("nan"), 4.0])
        '▁▂▄ █'
    """
    finite = [v for v in values if v - v == 0]
    if not finite:
        return " " * len(values)
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[int((v - low) / span * top)] if v - v == 0 else " " for v in values)
