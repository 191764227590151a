"""Linear scaling, section 5.3 of Li, Lyu & Arora 2020: batch B and η ∝ B, the same run per picture.

Where a picture's loss does not depend on the others (GroupNorm), W_t^{B,η} is W_{Bt}^{1,η/B}, so at
one λ the product ηλ/B fixes the equilibrium (the text's λ/B is an erratum). With BatchNorm the loss
depends on the batch, and it must fail.

Departures from the paper, which shows no figure: digits with 20 % wrong labels and networks of two
hidden layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import DASHES, figure, house_style, plain_log_ticks, shades
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, within
from etalambda.lab.reproduce.classifiers import Arm, OnDigits, one_a_seed, watch
from etalambda.lab.reproduce.pairs import a_seed, apart, mean_curve, rows
from etalambda.lab.statistics import Interval, mean_interval, paired_difference


@dataclass(frozen=True, kw_only=True)
class Batches(OnDigits):
    """Batch sizes, η a picture (η/B), and pictures in 1/(ηλ/B)."""

    batches: tuple[int, ...]
    lr_a_picture: float = 0.002
    weight_decay: float = 0.1
    length: float = 8.0


NORMS = ("group", "batch")


def measure(recipe: Batches, bench: Bench) -> list[Jobs]:
    """One part a normalization and batch size."""
    return [
        {f"{norm}.B={size}": _job(recipe, bench, norm, size)
         for size in recipe.batches for norm in NORMS}
    ]  # fmt: skip


def _job(recipe: Batches, bench: Bench, norm: str, size: int) -> Any:
    def job(tick: Tick) -> Tables:
        ours = replace(recipe, norm=norm, batch_size=size)
        lr = recipe.lr_a_picture * size
        steps = round(recipe.length / (lr * recipe.weight_decay))
        trials = one_a_seed(range(recipe.seeds), lr, recipe.weight_decay)
        run = dict(steps=steps, every=max(1, steps // 40), tick=tick)
        arm = Arm(f"{norm}, B = {size}", trials)
        seen = watch(ours.net, ours.task(bench), [arm], **run)
        pictures = seen["step"] * size
        keep = ("arm", "seed", "norm", "train_loss", "train_error", "test_error")
        return {"curves": {"step": pictures} | {key: seen[key] for key in keep}}

    return job


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Runs of all batch sizes apart from the middle one, over the later half."""
    curves = tables["curves"]
    late = rows(curves, 0.5 * curves["step"].max())
    sizes = sorted({int(str(arm).rpartition(" ")[2]) for arm in curves["arm"]})
    group = {k: v[[str(a).startswith("group") for a in late["arm"]]] for k, v in late.items()}
    middle = f"group, B = {sizes[len(sizes) // 2]}"
    batch = [rows(late, arm=f"batch, B = {size}") for size in (sizes[0], sizes[-1])]
    norms, losses = (
        [np.log(a_seed(table, column)) for table in batch] for column in ("norm", "train_loss")
    )
    apart_batch = paired_difference(*norms), paired_difference(*losses)
    return {
        "norm": apart(group, middle, "norm", log=True),
        "loss": apart(group, middle, "train_loss", log=True),
        "test": apart(group, middle, "test_error"),
        "batch norm": mean_interval(_larger(norms, losses, apart_batch)),
    }


def _larger(norms: Any, losses: Any, means: tuple[Interval, Interval]) -> np.ndarray:
    """The log ratio, seed by seed, of the quantity whose mean ratio is furthest from 0."""
    pairs = zip((norms, losses), means)
    (first, last), mean = max(pairs, key=lambda item: abs(item[1].value))
    return np.sign(mean.value) * (first - last)


@house_style
def draw(tables: Tables) -> Any:
    """Norm, training loss and test error against the pictures seen."""
    made, axes = figure(13.0, 3.9, columns=3)
    curves = tables["curves"]
    arms = sorted({str(arm) for arm in curves["arm"]}, key=lambda a: (a[0], int(a.split()[-1])))
    colours = shades(len(arms) // 2)
    for axis, column in zip(axes, ("norm", "train_loss", "test_error")):
        for norm, dash in (("group", DASHES[0]), ("batch", DASHES[1])):
            ours = [arm for arm in arms if arm.startswith(norm)]
            for arm, colour in zip(ours, colours):
                pictures, mean = mean_curve(rows(curves, arm=arm), column)
                percent = 100 if "error" in column else 1
                axis.plot(pictures / 1000, percent * mean, dash, color=colour, lw=1.3, label=arm)
        title = column.replace("_", " ") + (" %" if "error" in column else "")
        axis.set(xlabel="pictures seen, thousands", title=title)
    axes[0].set_yscale("log")
    axes[1].set(yscale="log", ylim=(0.4, 5))
    for axis in axes[:2]:
        plain_log_ticks(axis.yaxis, (1, 2, 3, 5))
    axes[2].set_ylim(0, 60)
    axes[0].legend(fontsize=8)
    return made


DIGITS = "the paper shows no figure: digits with 20 % wrong labels, {} networks"

FIGURE = Figure(
    name="li2020-scaling",
    shows="Section 5.3, linear scaling",
    claim="With GroupNorm, η proportional to the batch size gives the same run; with BatchNorm it "
    "does not.",
    criteria={
        "norm": within("GroupNorm: log norm apart from the middle batch size", -0.05, 0.05),
        "loss": within("GroupNorm: log training loss apart", -0.1, 0.1),
        "test": within("GroupNorm: test error apart", -0.01, 0.01),
        "batch norm": above("BatchNorm, smallest against largest batch: log norm or loss", 0.1),
    },
    recipes={
        "smoke": Batches(
            minutes=0.06,
            seeds=3,
            hidden=(16,),
            batches=(10, 20, 50),
            weight_decay=1.0,
            departures=(DIGITS.format("64-16-10"),),
        ),
        "cpu": Batches(
            minutes=3.0,
            seeds=20,
            batches=(5, 15, 50),
            departures=(DIGITS.format("64-32-32-10"),),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
