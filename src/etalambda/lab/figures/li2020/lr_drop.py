"""What an lr drop does, Li, Lyu & Arora 2020 section 5.3: lr to a tenth in equilibrium.

The effective lr falls by 10 at once and then recovers, since with ηλ the norm falls, to √10 below
where it was (the printed exponent of λ_e has the wrong sign; the √10 is right). The test error
falls with it, and rises again.

Departures from the paper: at cpu scale a BatchNorm network on digits, with 20 % wrong labels for
the effective lr, and with clean ones for the errors (with wrong ones an error also rises because
they are learnt).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, plain_log_ticks
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, within
from etalambda.lab.reproduce.classifiers import Arm, OnDigits, one_a_seed, watch
from etalambda.lab.reproduce.pairs import a_seed, keeping, mean_curve, rows
from etalambda.lab.statistics import Interval, mean_interval, paired_difference
from etalambda.schedule import multi_step


@dataclass(frozen=True, kw_only=True)
class Drop(OnDigits):
    """Steps before the drop of lr, and after it, in 1/(ηλ) of the product that holds then."""

    lr: float = 0.4
    weight_decay: float = 0.025
    before: float = 8.0
    after: float = 5.0


LABELS = {"20 % wrong labels": 0.2, "clean labels": 0.0}


def measure(recipe: Drop, bench: Bench) -> list[Jobs]:
    """One part for wrong labels, one for clean ones."""
    parts = {name.replace(" ", "-").replace("%", ""): noise for name, noise in LABELS.items()}
    return [{name: _job(recipe, bench, noise) for name, noise in parts.items()}]


def _job(recipe: Drop, bench: Bench, noise: float) -> Any:
    def job(tick: Tick) -> Tables:
        product = recipe.lr * recipe.weight_decay
        before, after = round(recipe.before / product), round(recipe.after / (0.1 * product))
        rules = {"lr": multi_step({before: 0.1})}
        trials = one_a_seed(range(recipe.seeds), recipe.lr, recipe.weight_decay, rules)
        task = replace(recipe, label_noise=noise).task(bench)
        run = dict(steps=before + after, every=max(1, before // 40), tick=tick)
        seen = watch(recipe.net, task, [Arm("dropped", trials)], **run)
        size = len(seen["step"])
        return {"curves": seen | {"noise": np.full(size, noise), "drop": np.full(size, before)}}

    return job


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Ratios of the effective lr, and the test error soon after the drop and at the end."""
    curves = tables["curves"]
    drop, end = float(curves["drop"][0]), float(curves["step"].max())
    noisy, clean = (rows(curves, noise=noise) for noise in LABELS.values())
    before = a_seed(rows(noisy, drop / 2, drop - 1), "effective_lr")
    after = a_seed(rows(noisy, drop + 0.7 * (end - drop)), "effective_lr")
    soon = rows(clean, drop + 0.01 * (end - drop), drop + 0.1 * (end - drop))
    late = rows(clean, drop + 0.7 * (end - drop))
    errors = {name: a_seed(table, "test_error") for name, table in dict(s=soon, l=late).items()}
    first = a_seed(rows(clean, drop / 2, drop), "test_error")
    return {
        "recovers": mean_interval(before / after),
        "falls": paired_difference(errors["s"], first),
        "rises": paired_difference(errors["l"], errors["s"]),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Effective lr, norm and test error over steps, for both kinds of labels."""
    made, axes = figure(12.0, 3.9, columns=3)
    curves = tables["curves"]
    drop = float(curves["drop"][0])
    for axis, column in zip(axes, ("effective_lr", "norm", "test_error")):
        for (name, noise), colour in zip(LABELS.items(), OKABE_ITO):
            steps, mean = mean_curve(rows(curves, noise=noise), column)
            percent = 100 if "error" in column else 1
            axis.plot(steps, percent * mean, color=colour, lw=1.2, label=name)
        axis.axvline(drop, color="#999999", lw=0.8, ls=":")
        title = column.replace("_", " ") + (" %" if "error" in column else "")
        axis.set(xlabel="step", title=title)
    noisy = rows(curves, noise=LABELS["20 % wrong labels"])
    settled = float(np.mean(a_seed(rows(noisy, drop / 2, drop - 1), "effective_lr")))
    for factor, label in ((1, "before"), (10, "÷ 10"), (10**0.5, "÷ √10")):
        axes[0].axhline(settled / factor, color="#666666", lw=0.8, ls="--")
        axes[0].text(0, settled / factor, label, va="bottom", fontsize=8, color="#666666")
    axes[0].set_yscale("log")
    plain_log_ticks(axes[0].yaxis, (1, 2, 5))
    axes[2].set_ylim(0, 30)
    axes[2].legend()
    return made


DIGITS = "digits and a {} network with BatchNorm, with 20 % wrong labels for the effective lr"

FIGURE = Figure(
    name="li2020-lr-drop",
    shows="Section 5.3, after an lr drop",
    claim="After an lr drop by 10 the effective lr recovers to √10 below its old value, and the "
    "test error, which fell, rises again.",
    criteria={
        "recovers": within("effective lr before over after, in equilibrium (√10)", 2.53, 3.95),
        "falls": within("test error soon after the drop minus before", -1.0, 0.0),
        "rises": above("test error in the new equilibrium minus soon after the drop", 0.0),
    },
    recipes={
        "smoke": Drop(
            minutes=0.06,
            seeds=3,
            hidden=(16,),
            weight_decay=0.25,
            departures=(DIGITS.format("64-16-10"),),
        ),
        "cpu": Drop(minutes=3.0, seeds=20, departures=(DIGITS.format("64-32-32-10"),)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=keeping("noise", "drop", "seed", "step", "norm", "effective_lr", "test_error"),
)
