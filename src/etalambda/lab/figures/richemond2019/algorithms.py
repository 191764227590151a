"""Algorithms 1-3 of Richemond & Guo 2019 on landscapes and on a network, against controls.

The paper derives three ways of annealing L2 and leaves their evaluation to a Part II. Here they
face, paired: no decay, constant λ, and, where a way takes two gradients a step, two plain steps.
On 3-spin spheres and flat fields the measure is the final energy density; on digits the test error,
each way at the λ that validation pictures choose on other seeds. The claim holds if every way wins.

Departures from the paper: it shows no experiment. Algorithm 2 without a restart, as printed;
networks decay without projection (with one λ is a learning rate, see richemond2019-projection).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from etalambda.lab.engine import Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.experiments.ways_down import WAYS, Case, Runner
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style
from etalambda.lab.models import MLP
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, below
from etalambda.lab.reproduce.pairs import a_seed, rows
from etalambda.lab.statistics import Interval, mean_sd, paired_difference
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error
from etalambda.schedule import MatchedAnnealing, cosine_restarts
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass


@dataclass(frozen=True, kw_only=True)
class Annealed(Recipe):
    """Draws and sizes of the landscapes; seeds, epochs and λ grid of the network."""

    draws: int
    spins: int
    dimensions: int
    descent: int
    seeds: int
    epochs: int
    lr: float = 0.1
    grid: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)


GLASS = {  # algorithm: (the way down, its control)
    "1": ("matched annealing, L - L_c", "plain"),
    "2": ("cosine L2", "plain"),
    "3": ("two-step, literal", "plain, two steps a step"),
}
NETWORK = ("no decay", "constant", "1", "2", "3", "3, relative", "two plain steps")
CHOOSING = 1000  # the first of the seeds that choose λ and report nothing


def measure(recipe: Annealed, bench: Bench) -> Iterator[Jobs]:
    """The landscapes and the λ grid; then the networks at the λ that the grid chose."""
    landscapes = {
        f"{name}.draw={seed}": _descend(recipe, name, seed)
        for name in LANDSCAPES
        for seed in range(recipe.draws)
    }
    cells = [(way, decay) for way, decay in product(NETWORK, recipe.grid) if way != "no decay"]
    choosing = range(CHOOSING, CHOOSING + recipe.seeds)
    yield landscapes | {
        f"grid.{two}": _train(recipe, bench, [c for c in cells if _twice(c[0]) == two], choosing)
        for two in (False, True)
    }
    best = chosen(bench.tables()["networks"])
    final = [(way, best.get(way, 0.0)) for way in NETWORK]
    yield {
        f"final.{two}": _train(
            recipe, bench, [c for c in final if _twice(c[0]) == two], range(recipe.seeds)
        )
        for two in (False, True)
    }


LANDSCAPES = ("sphere", "flat")


def _descend(recipe: Annealed, name: str, seed: int) -> Any:
    sphere = name == "sphere"
    case = Case(
        name,
        lambda draw: (
            SphericalSpinGlass({3: 1.0}, recipe.spins, seed=draw)
            if sphere
            else RandomFourierField(recipe.dimensions, features=1000, seed=draw)
        ),
        0.05 if sphere else 0.1,
        2.5 if sphere else 0.7,
    )

    def job(tick: Tick) -> Tables:
        runner = Runner(case, seed, steps=recipe.descent, polish=recipe.descent // 3, samples=50)
        label = {"landscape": name, "seed": seed}
        found = (label | {"way": way.name, "energy": end["energy"]}
                 for way, end in zip(WAYS, runner.run(tick)))  # fmt: skip
        return {"landscapes": columns(found)}

    return job


def _twice(way: str) -> bool:
    """Whether a way takes two gradients a step."""
    return way.startswith("3") or way == "two plain steps"


def trial(way: str, seed: int, lr: float, decay: float, steps: int, epoch: int) -> Trial:
    """The trial of a way: Algorithm 3 anneals λ as Algorithm 2 does."""
    rules: dict[str, Any] = {}
    if way == "1":
        rules = {"weight_decay": MatchedAnnealing(epoch)}
    elif way[0] in "23":
        rules = {"weight_decay": cosine_restarts(steps)}
    second = {"3": "literal", "3, relative": "relative", "two plain steps": "twice"}.get(way)
    return Trial(seed, lr, decay, rules=rules, two_step=second)


def _train(recipe: Annealed, bench: Bench, cells: list[tuple[str, float]], seeds: range) -> Any:
    def job(tick: Tick) -> Tables:
        task = Digits(0.2, 50, bench.device)
        steps, epoch = recipe.epochs * task.steps_per_epoch, task.steps_per_epoch
        runs = [(way, decay, seed) for (way, decay), seed in product(cells, seeds)]
        trials = [trial(way, seed, recipe.lr, decay, steps, epoch) for way, decay, seed in runs]
        found = []
        for seen in train(
            MLP, task.batches, trials, optimizer="sgd", steps=steps, every=max(1, steps // 20),
            device=bench.device,
        ):  # fmt: skip
            tick(seen.step / steps)
            if seen.step == steps:
                found.append({part: _errors(seen, task, part)
                              for part in ("val", "test")})  # fmt: skip
        ways, decays, numbers = zip(*runs)
        label = dict(
            way=np.array(ways, dtype=object), weight_decay=np.array(decays), seed=np.array(numbers)
        )
        return {"networks": label | {k: np.concatenate([f[k] for f in found]) for k in found[0]}}

    return job


def _errors(seen: Any, task: Digits, part: str) -> np.ndarray:
    """Errors of every trial; a diverged network errs as often as a guess."""
    wrong = error(seen.predict(task.x[part]), task.y[part]).numpy()
    return np.where(seen.alive.numpy(), wrong, 0.9)


def chosen(networks: dict[str, np.ndarray]) -> dict[str, float]:
    """Each way's λ of the lowest mean validation error over the choosing seeds."""
    best = {}
    for way in np.unique(networks["way"]):
        ours = rows(networks, way=way)
        ours = {key: column[ours["seed"] >= CHOOSING] for key, column in ours.items()}
        decays = np.unique(ours["weight_decay"])
        means = [np.nanmean(ours["val"][ours["weight_decay"] == decay]) for decay in decays]
        best[str(way)] = float(decays[int(np.argmin(means))])
    return best


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Each algorithm minus its control: on each landscape, and in test error on digits."""
    found = {}
    for name, (number, (way, control)) in product(LANDSCAPES, GLASS.items()):
        ours = rows(tables["landscapes"], landscape=name)
        pair = [a_seed(rows(ours, way=one), "energy") for one in (way, control)]
        found[f"{name} {number}"] = paired_difference(*pair)
    errors = finals(tables)
    for number in GLASS:
        control = "two plain steps" if number == "3" else "constant"
        found[f"digits {number}"] = paired_difference(errors[number], errors[control])
    return found


def finals(tables: Tables) -> dict[str, np.ndarray]:
    """Way -> test errors of the reporting seeds at its own λ."""
    networks = tables["networks"]
    ours = {key: column[networks["seed"] < CHOOSING] for key, column in networks.items()}
    return {way: a_seed(rows(ours, way=way), "test") for way in NETWORK}


@house_style
def draw(tables: Tables) -> Any:
    """Energies on both landscapes and test errors, a row a way: seeds, mean and sd."""
    made, axes = figure(14.0, 4.2, columns=3)
    drawn = [name for pair in GLASS.values() for name in pair]
    drawn = ["plain", "plain, two steps a step", "constant L2", *drawn]
    ways = list(dict.fromkeys(drawn))
    for axis, name in zip(axes, LANDSCAPES):
        ours = rows(tables["landscapes"], landscape=name)
        values = {way: a_seed(rows(ours, way=way), "energy") for way in ways}
        _dots(axis, values)
        axis.set(xlabel="final energy ε", title=f"{name}: lower is better")
    names = {w: f"Algorithm {w}" if w[0].isdigit() else w for w in NETWORK}
    _dots(axes[2], {names[w]: 100 * e for w, e in finals(tables).items()})
    axes[2].set(xlabel="test error %", title="digits, each at its own λ")
    return made


def _dots(axis: Any, values: Mapping[str, np.ndarray]) -> None:
    for i, (values_of, colour) in enumerate(zip(values.values(), OKABE_ITO)):
        axis.plot(values_of, np.full(len(values_of), i), "o", ms=4, alpha=0.45, color=colour)
        mean, sd, _ = mean_sd(values_of)
        axis.errorbar(mean, i, xerr=sd, color=INK, capsize=3, lw=1.3)
    axis.set_yticks(range(len(values)), list(values))
    axis.invert_yaxis()


def _criteria() -> dict[str, Any]:
    where = {"sphere": "3-spin sphere: ε", "flat": "flat field: ε", "digits": "digits: test error"}
    return {
        f"{name} {number}": below(f"{what}, Algorithm {number} minus its control", -1e-6)
        for name, what in where.items()
        for number in GLASS
    }


OURS = (
    "the paper shows no experiment; ours: 3-spin spheres (N = {}), flat fields (d = {}), a "
    "64-64-64-10 network on digits with 20 % wrong labels"
)

FIGURE = Figure(
    name="richemond2019-algorithms",
    shows="Algorithms 1-3",
    claim="Annealing L2 by Algorithms 1-3 finds better minima than descent without annealing.",
    criteria=_criteria(),
    recipes={
        "smoke": Annealed(
            minutes=0.06,
            draws=3,
            spins=10,
            dimensions=6,
            descent=12,
            seeds=3,
            epochs=1,
            grid=(1e-3, 1e-2),
            departures=(OURS.format(10, 6),),
        ),
        "cpu": Annealed(
            minutes=4.0,
            draws=12,
            spins=60,
            dimensions=30,
            descent=400,
            seeds=10,
            epochs=40,
            departures=(OURS.format(60, 30),),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
