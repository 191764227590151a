"""How the maps, sweeps and curves of Xie et al. 2022 are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.grid import map_grid
from etalambda.lab.figures.map import arm_maps
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, plain_log_ticks, strip
from etalambda.lab.figures.xie2022._maps import ARMS, errors
from etalambda.lab.reproduce.cells import rows_where

NAMES = {"mlp": "MLP", "cnn": "CNN with BatchNorm"}


def decay_label(arms: Sequence[str]) -> str:
    """The name of the λ axis, with the arms whose numbers it does not show as they are.

    >>> decay_label(["AdamS", "AdamW"])
    'weight decay (AdamW times 0.001)'
    """
    if len(arms) > 4:
        return "weight decay, each in its own unit"
    scaled = {arm: 1 / ARMS[arm].decay_unit for arm in arms if ARMS[arm].decay_unit != 1}
    said = ", ".join(f"{arm} times {unit:.3g}" for arm, unit in scaled.items())
    return f"weight decay ({said})" if said else "weight decay"


def maps(tables: Tables, model: str, arms: Sequence[str]) -> Any:
    """One (lr, λ) map an arm, all on one colour scale; axes in each optimizer's numbers."""
    grids = {}
    for arm in arms:
        rows = rows_where(tables["map"], model=model, arm=arm)
        grids[arm] = map_grid(rows | dict(val_error=rows["val"], test_error=rows["test"]))
    return arm_maps(grids)


@house_style
def sweeps(tables: Tables, models: Sequence[str], arms: Sequence[str]) -> Any:
    """For each model: test error against λ, the best lr of each, and the seeds at the optimum."""
    fig, axes = figure(5.5 * len(models) + 2.5 * len(models), 4.0, 2 * len(models))
    for place, model in enumerate(models):
        left, right = axes[2 * place : 2 * place + 2]
        for spot, (arm, color) in enumerate(zip(arms, OKABE_ITO)):
            every = errors(tables, model, arm, "test")
            row = errors(tables, model, arm).mean(-1).min(1).argmin()
            decays = np.unique(rows_where(tables["map"], model=model, arm=arm)["decay"])
            mean, sd = every[row].mean(-1), every[row].std(-1, ddof=1) if every.shape[-1] > 1 else 0
            left.plot(decays, mean, "o-", ms=4, color=color, label=arm)
            left.fill_between(decays, mean - sd, mean + sd, color=color, alpha=0.15, lw=0)
            points = 100 * rows_where(tables["cells"], model=model, arm=arm)["test"]
            strip(right, spot, points, color)
        left.set(xscale="log", yscale="log", xlabel=decay_label(arms))
        left.set(ylabel="test error, %")
        plain_log_ticks(left.yaxis, (1, 1.5, 2, 3, 5, 7))
        left.set_title(f"{NAMES[model]}, n = {every.shape[-1]}")
        left.legend()
        right.set_xticks(
            range(len(arms)),
            [arm if len(arm) < 9 else arm.replace(" ", "\n") for arm in arms],
            fontsize=7.5,
        )
        right.set_title(f"at each optimum, n = {len(points)}")
    return fig


@house_style
def curves(tables: Tables, model: str, arms: Sequence[str]) -> Any:
    """Test error and training loss by epoch, and one against the other over the last fifth."""
    fig, axes = figure(13.0, 3.9, 3)
    for arm, color in zip(arms, OKABE_ITO):
        rows = rows_where(tables["curves"], model=model, arm=arm)
        epochs = np.unique(rows["epoch"])
        for axis, name, unit in ((axes[0], "test", 100), (axes[1], "train_loss", 1)):
            means = [unit * rows[name][rows["epoch"] == epoch].mean() for epoch in epochs]
            axis.plot(epochs, means, color=color, label=arm)
        late = rows["epoch"] > 0.8 * epochs[-1]
        axes[2].plot(100 * rows["test"][late], rows["train_loss"][late], ".", ms=3, color=color)
    axes[0].set(xlabel="epoch", ylabel="test error, %", yscale="log")
    axes[1].set(xlabel="epoch", ylabel="training loss")
    axes[2].set(xlabel="test error, %", ylabel="training loss")
    plain_log_ticks(axes[0].yaxis, (1, 1.5, 2, 3, 5, 7))
    axes[0].legend()
    axes[0].set_title(NAMES[model])
    axes[2].set_title("the last fifth of training")
    return fig
