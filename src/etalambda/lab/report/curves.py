"""Learning curves that switch: one plotly chart a quantity, one line and band a method."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from etalambda.lab.figures.style import by_group
from etalambda.lab.report.html import chart, figures

Columns = dict[str, np.ndarray]
_NONE = np.zeros(0)
DASH = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
DECADES = 5  # that a log axis shows at most, below its highest value
# x, y, title, factor on y, y axis
PANELS = (
    ("step", "val_error", "validation error % against the step", 100.0, "log"),
    ("K", "val_error", "validation error % against K = Σ lr · λ", 100.0, "log"),
    ("step", "train_loss", "training loss", 1.0, "log"),
    ("step", "decay_share", "weight decay λ, as a share of its base value", 1.0, "linear"),
    ("step", "lr_share", "learning rate, as a share of its peak", 1.0, "linear"),
    ("step", "norm", "norm of the weights", 1.0, "linear"),
    ("step", "effective_lr", "effective learning rate", 1.0, "log"),
    ("step", "gradient_norm", "gradient norm", 1.0, "log"),
    ("step", "angle", "angle that a step turns the weights by, radians", 1.0, "log"),
    ("step", "v_mean", "mean second moment of Adam", 1.0, "log"),
)


def tuned_curves(tables: dict[str, Columns]) -> dict[str, Columns]:
    """Method -> rows of ``metrics`` at the λ that ``summary`` calls tuned."""
    summary, metrics = tables["summary"], tables["metrics"]
    tuned = summary["role"] == "tuned"
    chosen = dict(zip(summary["method"][tuned], summary["weight_decay"][tuned]))
    grouped = by_group(metrics, "method")
    return {
        name: _with_shares(grouped[(name,)], decay)
        for name, decay in chosen.items()
        if (name,) in grouped
    }


def _with_shares(rows: Columns, decay: float) -> Columns:
    """The rows at this base λ, with λ and lr as shares of base and peak."""
    kept = {key: c[np.isclose(rows["weight_decay"], decay)] for key, c in rows.items()}
    if {"lam", "lr"} <= set(kept):
        kept["decay_share"] = kept["lam"] / decay if decay else np.zeros(kept["lam"].shape)
        kept["lr_share"] = kept["lr"] / max(kept["lr"].max(initial=0.0), 1e-300)
    return kept


def chips(colours: Mapping[str, tuple[str, str]]) -> str:
    """A button a method that switches its lines on and off in every chart of the section."""
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-method="{escape(name)}">'
        f'<i style="background:{escape(colour)}"></i>{escape(name)}</button>'
        for name, (colour, _) in colours.items()
    )
    return f'<div class="chips">{buttons}</div>'


def curve_charts(
    curves: Mapping[str, Columns], colours: Mapping[str, tuple[str, str]], name: str
) -> str:
    """Every panel whose quantity was recorded."""
    made = [
        _chart(curves, colours, f"{name}-c{i}", panel)
        for i, panel in enumerate(PANELS)
        if any(np.isfinite(rows.get(panel[1], _NONE)).any() for rows in curves.values())
    ]
    return figures(made)


def _chart(
    curves: Mapping[str, Columns], colours: Mapping[str, tuple[str, str]], name: str, panel: tuple
) -> str:
    x, y, title, factor, scale = panel
    data = [
        trace
        for method, rows in curves.items()
        for trace in _traces(method, rows, x, y, factor, colours[method])
    ]
    label = "decay spent so far" if x == "K" else "step"
    layout = dict(
        title=dict(text=title, x=0, xanchor="left", font=dict(size=14)),
        xaxis=_axis("log" if x == "K" else "linear", [t["x"] for t in data]) | _titled(label),
        yaxis=_axis(scale, [t["y"] for t in data]),
        margin=dict(l=50, r=10, t=36, b=44),
        showlegend=False,
    )
    return chart(name, data, layout, height=320)


def _titled(text: str) -> dict[str, Any]:
    return dict(title=dict(text=text))


def _axis(scale: str, values: list[Any]) -> dict[str, Any]:
    """A linear axis, or a log one whose ticks are 1, 2, 5, 10: plotly's own are hard to read."""
    if scale == "linear":
        return dict(type="linear", exponentformat="power")
    there = np.concatenate([np.asarray(column, dtype=float) for column in values])
    there = there[there > 0]
    if not there.size:
        return dict(type="log")
    high = there.max() * 1.1
    low = max(there.min() / 1.1, high / 10**DECADES)
    ticks = log_ticks(low, high)
    shown = dict(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return dict(type="log", range=[np.log10(low), np.log10(high)], **shown)


def log_ticks(low: float, high: float) -> list[float]:
    """Round values between ``low`` and ``high``: 1, 2, 5 a decade, or 1 where there are many.

    >>> log_ticks(0.9, 30)
    [1.0, 2.0, 5.0, 10.0, 20.0]
    >>> log_ticks(1e-4, 50)
    [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0]
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if np.log10(high / low) < 2.5 else (1,)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def _traces(
    method: str, rows: Columns, x: str, y: str, factor: float, look: tuple[str, str]
) -> list[dict[str, Any]]:
    """The band of one standard deviation, and the mean over seeds."""
    steps, index = np.unique(rows["step"], return_inverse=True)
    places = [float(np.mean(rows[x][index == i])) for i in range(len(steps))]
    values = [factor * rows[y][index == i].astype(float) for i in range(len(steps))]
    values = [column[np.isfinite(column)] for column in values]
    mean = np.array([v.mean() if v.size else np.nan for v in values])
    sd = np.array([v.std(ddof=1) if v.size > 1 else 0.0 for v in values])
    colour, dash = look
    there = np.isfinite(mean) & ((np.array(places) > 0) | (x != "K"))
    px, mean, sd = np.array(places)[there], mean[there], sd[there]
    low = np.maximum(mean - sd, mean / 10)  # the axis may be a logarithm
    common: dict[str, Any] = dict(type="scatter", mode="lines", meta=method)
    band = dict(
        x=[*px, *px[::-1]],
        y=[*(mean + sd), *low[::-1]],
        fill="toself",
        fillcolor=_faint(colour),
        line=dict(width=0),
        hoverinfo="skip",
    )
    line = dict(x=px, y=mean, name=method, line=dict(color=colour, width=1.8, dash=DASH[dash]))
    hover = f"{escape(method)}<br>{x} %{{x:.4g}}<br>%{{y:.4g}}<extra></extra>"
    return [common | band, common | line | dict(hovertemplate=hover)]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},.12)"
