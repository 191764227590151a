"""The K ruler: how much decay published recipes spend, on one log axis, with "your run" on it."""

import math
from collections.abc import Mapping
from typing import Any

from etalambda._common import check_positive, need
from etalambda.suggest.findings import EXCESS, INERT, number
from etalambda.suggest.recipes import RECIPES, Recipe

ONE_PASS, MANY_PASSES, YOURS = "#0072B2", "#D55E00", "#000000"


def ruler(runs: Mapping[str, float] | None = None, *, ax: Any = None) -> Any:
    """Draw the K ruler.

    Recipes on the left of the shaded edge shrink their weights by less than 20 % in all. Blue
    recipes see their data once, orange ones many times.

    Args:
        runs: Name -> K of your own runs; each gets an arrow. A K that is not a positive finite
            number has no place on a log axis and is named in the title instead.
        ax: Matplotlib axes to draw on; by default a new figure.

    Returns:
        The axes. ``ax.figure.savefig("ruler.svg")`` saves the picture.

    Raises:
        ModuleNotFoundError: If matplotlib is missing; the ``lab`` extra brings it.

    Example:
        >>> ruler({"mine": 0.05}).get_xscale()
        'log'
    """
    if ax is None:
        _, ax = need("matplotlib.pyplot", "lab").subplots(figsize=(9, 4.6), layout="constrained")
    rows = sorted(RECIPES, key=lambda recipe: recipe.budget)
    for height, recipe in enumerate(rows):
        color = ONE_PASS if recipe.passes <= 2 else MANY_PASSES
        ax.plot([recipe.budget, recipe.peak_budget], [height] * 2, color=color, lw=2, alpha=0.4)
        ax.plot(recipe.budget, height, "o", color=color)
        _label(ax, recipe, height)
    runs = dict(runs or {})
    unplaced = _arrows(ax, runs, len(rows))
    placed = [budget for budget in runs.values() if 0 < budget < math.inf]
    _frame(ax, len(rows) + 0.2 + 0.9 * len(placed), placed, unplaced)
    return ax


_CLEAR = dict(facecolor="white", edgecolor="none", alpha=0.85, pad=0.6)  # over an arrow's line
_TEXT: dict[str, Any] = dict(textcoords="offset points", va="center", fontsize=8, bbox=_CLEAR)


def _label(ax: Any, recipe: Recipe, height: int) -> None:
    """The recipe's name, on the side of the axis that has room."""
    text = f"{recipe.name}  ({number(recipe.budget)})"
    if recipe.budget > 1:
        ax.annotate(text, (recipe.budget, height), (-7, 0), ha="right", **_TEXT)
    else:
        ax.annotate(text, (recipe.peak_budget, height), (7, 0), ha="left", **_TEXT)


def _arrows(ax: Any, runs: Mapping[str, float], top: int) -> list[str]:
    """An arrow down to the axis for each run; returns what has no place on a log axis."""
    unplaced = []
    for index, (name, budget) in enumerate(runs.items()):
        text = f"{name}: K = {number(budget)}"
        try:
            check_positive(K=budget)
        except ValueError:
            unplaced.append(text)
            continue
        foot, head = (budget, -0.7), (budget, top + 0.4 + 0.9 * index)
        ax.annotate(
            "", foot, head, arrowprops=dict(arrowstyle="-|>", color=YOURS, lw=1.8), zorder=1
        )
        side = dict(xytext=(-7, 0), ha="right") if budget > 1 else dict(xytext=(7, 0), ha="left")
        ax.annotate(text, head, weight="bold", **side, **_TEXT)
    return unplaced


def _frame(ax: Any, top: float, budgets: list[float], unplaced: list[str]) -> None:
    low, high = min([0.02, *budgets]) / 2, max([EXCESS, *budgets]) * 4
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_ylim(-0.7, top)
    for edges, word in (((low, INERT), "inert"), ((EXCESS, high), "excess")):
        ax.axvspan(*edges, color="0.92", lw=0, zorder=0)
        ax.text(edges[0] * 1.1, -0.35, word, fontsize=8, color="0.35", va="center")
    for height, (color, text) in enumerate(((ONE_PASS, "one pass"), (MANY_PASSES, "many passes"))):
        ax.text(high / 1.15, 1.6 + height, text, color=color, fontsize=9, ha="right")
    ax.set_yticks([])
    ax.spines[["left", "top", "right"]].set_visible(False)
    ax.set_xlabel("decay budget K = Σ ηλ of the run (dot: with its schedule, line: up to its peak)")
    ax.set_title("; ".join(unplaced), fontsize=9, loc="left")
