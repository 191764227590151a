"""Figure 5a, b of Lewkowycz & Gur-Ari 2020: a mode of an infinitely wide network under L2.

(a) degree k = 2: the kernel decays with the weights, so what was learned is lost again; (b) k = 1,
a fixed kernel: the mode settles at the ridge solution γ/(γ + λ). The third panel follows the time
at which half of the peak is lost, for networks of depth 2 to 5 (degree = depth). No network is
trained: the closed form is held against a numerical integration of the mode's equation.

Departures from the paper: its γ/λ are not given, ours are 100 and 0.1. The decay time ∝ 1/(kλ) is
the late rate e^(-kλt); half of the peak is lost after ln(γ/2(k-1)λ)/(2(k-1)λ), 1/λ up to a
logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import OKABE_ITO, by_group, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, below, within
from etalambda.lab.statistics import Interval, exact, mean_interval, slope
from etalambda.theory import wide, wide_modes

EIGENVALUES, WEIGHT_DECAY = (1.0, 1e-3), 0.01
DEPTHS = (2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class Modes(Recipe):
    """Points of a curve, and values of λ from 1e-5 to 1e-2 for the decay times."""

    points: int
    decays: int


def measure(recipe: Modes, bench: Bench) -> list[Jobs]:
    """The curves of both panels with their integration, and the decay times."""
    return [
        {
            "modes": lambda tick: {"modes": modes(recipe.points)},
            "times": lambda tick: {"times": times(recipe.decays)},
        }
    ]


def modes(points: int) -> dict[str, np.ndarray]:
    """f(t) for the target 1 by the closed form and by integration."""
    t = np.concatenate([[0.0], np.logspace(-1, np.log10(30 / WEIGHT_DECAY), points - 1)])
    rows = []
    for degree in (2, 1):
        for eigenvalue in EIGENVALUES:
            f = wide.mode(t, degree, eigenvalue, WEIGHT_DECAY, 1.0, 0.0).numpy()
            there = _integrated(t, degree, eigenvalue)
            rows.append(dict(degree=degree, eigenvalue=eigenvalue, t=t, f=f, integrated=there))
    return columns(rows)


def _integrated(t: np.ndarray, degree: int, eigenvalue: float) -> np.ndarray:
    """df/dt = -γ e^(-2(k-1)λt) (f - 1) - kλf, (S8)."""
    from scipy.integrate import solve_ivp

    def slope_of(now: float, f: np.ndarray) -> np.ndarray:
        kernel = eigenvalue * np.exp(-2 * (degree - 1) * WEIGHT_DECAY * now)
        return -kernel * (f - 1) - degree * WEIGHT_DECAY * f

    close = dict(method="LSODA", rtol=1e-12, atol=1e-14)
    return solve_ivp(slope_of, (0, t[-1]), [0.0], t_eval=t, **close).y[0]


def times(decays: int) -> dict[str, np.ndarray]:
    """Half-decay time of a mode with γ = 1, and the late rate over kλ, by depth and λ."""
    grid = np.logspace(-5, -2, decays)
    rows = []
    for depth in DEPTHS:
        half = wide_modes.half_decay_time(depth, 1.0, grid).numpy()
        late = np.array([30.0, 31.0]) / grid[:, None]
        # The kernel is gone; depth 2 keeps a factor t beside e^(-2λt).
        f = wide.mode(late, depth, 1.0, grid[:, None], 1.0, 0.0).numpy()
        f = f / (late if depth == 2 else 1.0)
        rate = np.log(f[:, 0] / f[:, 1]) / (depth * grid * (late[:, 1] - late[:, 0]))
        rows.append(dict(depth=depth, weight_decay=grid, half_decay=half, late_rate=rate))
    return columns(rows)


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Closed form against integration, both ends, and how the decay time falls with λ."""
    seen, found = tables["modes"], tables["times"]
    ends = by_group(seen, "degree", "eigenvalue")
    decayed = [abs(rows["f"][-1]) for (k, _), rows in ends.items() if k == 2]
    ridge = [abs(rows["f"][-1] - g / (g + WEIGHT_DECAY)) for (k, g), rows in ends.items() if k == 1]
    slopes = [
        slope(np.log(rows["weight_decay"]), np.log(rows["half_decay"])).value
        for rows in by_group(found, "depth").values()
    ]
    n = len(seen["f"])
    return {
        "integrated": exact(np.abs(seen["f"] - seen["integrated"]).max(), n),
        "ends": exact(max(decayed + ridge), n),
        "late": mean_interval(found["late_rate"]),
        "slope": mean_interval(slopes),
    }


@house_style
def draw(tables: Tables) -> Any:
    """The paper's two panels, and decay times against λ."""
    made, axes = figure(13.0, 3.9, columns=3)
    titles = {2: "(a) degree 2: learned, then lost", 1: "(b) degree 1: settles at the ridge"}
    for axis, (degree, title) in zip(axes, titles.items()):
        for colour, (key, rows) in zip(OKABE_ITO, by_group(tables["modes"], "eigenvalue").items()):
            ours = rows["degree"] == degree
            ratio = key[0] / WEIGHT_DECAY
            axis.plot(
                rows["t"][ours][1:], rows["f"][ours][1:], color=colour, label=f"γ/λ {ratio:g}"
            )
        axis.set(xscale="log", xlabel="time t = lr · steps", ylabel="output f, target 1")
        axis.set_title(title)
        axis.set_ylim(-0.03, 1.05)
        axis.legend()
    for colour, (key, rows) in zip(OKABE_ITO, by_group(tables["times"], "depth").items()):
        depth, grid = key[0], rows["weight_decay"]
        axes[2].plot(grid, rows["half_decay"], color=colour, label=f"depth {depth}")
        axes[2].plot(grid, 1 / (depth * grid), ":", color=colour)
    axes[2].set(xscale="log", yscale="log", xlabel="weight_decay λ", ylabel="time t")
    axes[2].set_title("Half of the peak lost; dotted: 1/(kλ)")
    axes[2].legend()
    return made


GIVEN = "γ/λ = 100 and 0.1, the paper gives none; the loss is summed over samples"

FIGURE = Figure(
    name="lewkowycz2020-fig5ab",
    shows="Figure 5a, b",
    claim="Under L2 a mode of a wide network of degree 2 or more is learned and lost again in a "
    "time proportional to 1/λ, while a fixed kernel keeps the ridge solution.",
    criteria={
        "integrated": below("largest distance of the closed form from the integrated one", 1e-9),
        "ends": below("largest distance at t = 30/λ from 0 (degree 2) and the ridge (1)", 1e-9),
        "late": within("late rate of decay over kλ, depths 2 to 5", 0.99, 1.01),
        "slope": within("log-log slope of the half-decay time on λ, depths 2 to 5", -1.25, -1.0),
    },
    recipes={
        "smoke": Modes(minutes=0.02, points=60, decays=7, departures=(GIVEN, "fewer points")),
        "cpu": Modes(minutes=0.05, points=400, decays=31, departures=(GIVEN,)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
