"""Do two ways of training end in one distribution over functions? Total variation over trials.

Li, Lyu & Arora 2020, Figure 3: the mean over test inputs of the total variation between the class
predictions of N trials of either way. It is biased upwards, so it is shown against N beside two
floors: the split-half floor of one set of trials, and, at equal N, the distance of two independent
sets of the same way. What is judged is the excess over the latter, as a share of the baseline, the
sum of both test errors. A network whose units start dead must show such an excess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from etalambda.diagnose import split_half_floor, total_variation
from etalambda.lab.engine import Trial
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import DASHES, OKABE_ITO, by_group, figure, house_style
from etalambda.lab.reproduce.classifiers import (
    CLASSES,
    OnDigits,
    classes_at,
    curves,
    dead,
    one_a_seed,
    steps_of,
)
from etalambda.lab.reproduce.criteria import Criterion, above, below
from etalambda.lab.reproduce.figure import Bench, Jobs
from etalambda.lab.reproduce.pairs import hull, rows
from etalambda.lab.statistics import Interval, mean_interval, slope
from etalambda.schedule import multi_step

ARMS = ("Const", "Const again", "LR-decay", "WD-decay", "dead start")
WHEN = ("equilibrium", "fine-tuned")
GROUPS = 5  # disjoint sets of trials whose distances make the interval


@dataclass(frozen=True, kw_only=True)
class Trials(OnDigits):
    """Figure 3's recipe: 4, 2, 1 times lr or λ, ``phase`` steps each, then lr/10 and no decay.

    ``seeds`` is the number of trials of each arm. ``start``: ``random``, or ``fixed`` for one w₀.
    """

    phase: int
    lr: float = 0.1
    weight_decay: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.0
    start: str = "random"


def measure(recipe: Trials, bench: Bench) -> list[Jobs]:
    """One part an arm; the predictions wait in the scratch folder for the distances."""
    arms = {name: _arm(recipe, bench, name) for name in ARMS}
    named = {name.replace(" ", "-"): job for name, job in arms.items()}
    return [named, {"distances": lambda tick: _distances(recipe, bench, tick)}]


def trials_of(recipe: Trials, name: str) -> list[Trial]:
    """The trials of an arm; only the second set of Const repeats no seed of the others."""
    phase = recipe.phase
    falling = multi_step({0: 4.0, phase: 0.5, 2 * phase: 0.5, 3 * phase: 0.1})
    level = multi_step({3 * phase: 0.1})
    off = multi_step({3 * phase: 0.0})
    lr = falling if name == "LR-decay" else level
    decay = multi_step({0: 4.0, phase: 0.5, 2 * phase: 0.5, 3 * phase: 0.0})
    rules = {"lr": lr, "weight_decay": decay if name == "WD-decay" else off}
    first = ARMS.index(name) * recipe.seeds
    seeds = range(first, first + recipe.seeds)
    return one_a_seed(seeds, recipe.lr, recipe.weight_decay, rules)


def _arm(recipe: Trials, bench: Bench, name: str) -> Any:
    make: Callable[[], Any] = recipe.net
    if recipe.start == "fixed":
        make = _always_the_same(recipe)
    if name == "dead start":
        make = dead(make)

    def job(tick: Tick) -> Tables:
        task, phase = recipe.task(bench), recipe.phase
        hyper: dict[str, Any] = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
        run = dict(steps=5 * phase, every=max(1, phase // 5), tick=tick)
        found, kept = [], {}
        for look in steps_of(
            make, task, trials_of(recipe, name), optimizer=recipe.optimizer, **run, **hyper
        ):
            found.append(_means(curves(look, task)))
            for when, step in zip(WHEN, (3 * phase, 5 * phase)):
                if look.seen.step == step:
                    kept[when] = classes_at(look, task)
        for when, classes in kept.items():
            np.save(_file(bench, name, when), classes)
        label = {"arm": np.array([name], dtype=object), "phase": phase}
        return {"curves": columns(label | row for row in found)}

    return job


def _always_the_same(recipe: Trials) -> Callable[[], Any]:
    """Networks that all start from one w₀ (Figure 9); the seed decides the order of data only."""

    def make() -> Any:
        torch.manual_seed(12345)
        return recipe.net()

    return make


def _file(bench: Bench, name: str, when: str) -> Any:
    return bench.scratch / f"{name.replace(' ', '-')}.{when}.npy"


def _means(row: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean and spread over trials of what a figure shows, at one step."""
    out: dict[str, float] = {"step": float(row["step"][0]), "n": len(row["step"])}
    for name in ("train_error", "test_error", "effective_lr", "norm"):
        out[name] = float(np.nanmean(row[name]))
        out[f"{name}_sd"] = float(np.nanstd(row[name]))
    return out


def _distances(recipe: Trials, bench: Bench, tick: Tick) -> Tables:
    """Total variation of every arm from Const at every N, in up to 5 disjoint groups."""
    task, found = recipe.task(bench), []
    labels = task.y["test"].cpu().numpy()
    for when in WHEN:
        files = {name: _file(bench, name, when) for name in ARMS}
        classes = {name: np.load(path, allow_pickle=False) for name, path in files.items()}
        wrong = {name: float((c != labels).mean()) for name, c in classes.items()}
        ours = torch.as_tensor(classes["Const"])
        for size in sizes(recipe.seeds):
            tick(size / (recipe.seeds + 1))
            for group in range(min(GROUPS, recipe.seeds // size)):
                part = slice(group * size, (group + 1) * size)
                one = ours[part]
                floor = split_half_floor(one, CLASSES, splits=5)
                for name in ARMS[1:]:
                    theirs = torch.as_tensor(classes[name])[part]
                    distance = total_variation(one, theirs, CLASSES)
                    baseline = wrong["Const"] + wrong[name]
                    found.append(_row(when, name, size, group, distance, floor, baseline))
    return {"distances": columns(found)}


def _row(
    when: str, name: str, size: int, group: int, distance: float, floor: float, baseline: float
) -> dict[str, Any]:
    names = {"when": np.array([when], dtype=object), "arm": np.array([name], dtype=object)}
    numbers = dict(trials=size, group=group, distance=distance, floor=floor, baseline=baseline)
    return names | numbers


def sizes(trials: int) -> list[int]:
    """N of the curve: all trials, halved and halved again; and a fifth of them, which is judged.

    >>> sizes(200)
    [6, 12, 25, 40, 50, 100, 200]
    """
    found, size = {max(1, trials // GROUPS)}, trials
    while size >= 4:
        found.add(size)
        size //= 2
    return sorted(found)


def criteria(limit: float = 0.1) -> dict[str, Criterion]:
    """Conjectures 5.3 and 5.4 as criteria, and the start for which they must not hold."""
    share = "excess total variation as a share of the baseline"
    return {
        "equilibrium": below(f"in equilibrium, {share}", limit),
        "fine-tuned": below(f"fine-tuned, {share}", limit),
        "falls": below("log-log slope of the total variation on the number of trials", -0.3),
        "dead start": above(f"control, all units dead but two: {share}", limit),
    }


def estimate(tables: Tables) -> dict[str, Interval]:
    """The excesses, in groups of a fifth of the trials; and the slope of distance on N."""
    table = tables["distances"]
    decays = ("LR-decay", "WD-decay")
    found = {when: hull(_excess(table, when, arm) for arm in decays) for when in WHEN}
    same = rows(table, when="equilibrium")
    falls = hull(_slope(rows(same, arm=arm)) for arm in decays)
    return found | {"falls": falls, "dead start": _excess(table, "equilibrium", "dead start")}


def _excess(table: dict[str, np.ndarray], when: str, arm: str) -> Interval:
    size = int(table["trials"].max()) // GROUPS
    ours = rows(table, when=when, trials=size, arm=arm)
    floor = rows(table, when=when, trials=size, arm="Const again")
    return mean_interval((ours["distance"] - floor["distance"]) / ours["baseline"])


def _slope(table: dict[str, np.ndarray]) -> Interval:
    every = np.unique(table["trials"])
    means = [table["distance"][table["trials"] == size].mean() for size in every]
    return slope(np.log(every), np.log(means))


@house_style
def draw(tables: Tables) -> Any:
    """Errors and effective lr over steps; total variation over the number of trials."""
    made, axes = figure(14.0, 4.0, columns=4)
    _draw_curves(axes[:2], tables["curves"])
    for axis, when in zip(axes[2:], WHEN):
        _draw_distances(axis, rows(tables["distances"], when=when), when)
    axes[2].set_ylim(bottom=axes[2].get_ylim()[0] / 4)  # room for the legend
    axes[2].legend(fontsize=8, loc="lower left")
    axes[0].legend(fontsize=8)
    return made


COLOURS: Sequence[str] = ("#000000", "#888888", *OKABE_ITO[:2], OKABE_ITO[3])


def _draw_curves(axes: Sequence[Any], table: dict[str, np.ndarray]) -> None:
    for (arm,), ours in by_group(table, "arm").items():
        if arm == "Const again":
            continue
        colour = COLOURS[ARMS.index(str(arm))]
        errors, rates = axes
        errors.plot(ours["step"], 100 * ours["test_error"], color=colour, label=arm)
        errors.plot(ours["step"], 100 * ours["train_error"], DASHES[3], color=colour)
        rates.plot(ours["step"], ours["effective_lr"], color=colour)
    phase = float(table["phase"][0])
    for axis in axes:
        for k in (1, 2, 3):
            axis.axvline(k * phase, color="#999999", lw=0.8, ls=":")
        axis.set(xlabel="step")
    axes[0].set(title="test error (dots: train) %", ylim=(0, 60))
    axes[1].set(title="effective lr  η/‖W‖²", yscale="log")


def _draw_distances(axis: Any, table: dict[str, np.ndarray], when: str) -> None:
    every = np.unique(table["trials"])
    for arm in ARMS[1:]:
        ours = rows(table, arm=arm)
        mean = [ours["distance"][ours["trials"] == size].mean() for size in every]
        label = "Const against Const" if arm == "Const again" else f"{arm} against Const"
        colour = COLOURS[ARMS.index(arm)]
        axis.plot(every, mean, marker="o", ms=3.5, color=colour, label=label)
        axis.axhline(ours["baseline"].mean(), color=colour, lw=0.8, ls="--")
    floors = [table["floor"][table["trials"] == size].mean() for size in every]
    axis.plot(every, floors, ":", color="#000000", label="split-half floor of Const")
    axis.set(xscale="log", yscale="log", xlabel="trials N", title=f"total variation, {when}")
