"""Draw docs/img/schedules.svg, every rule at a glance: python docs/gallery.py

Each row is one rule over 100 steps: λ and η over their base values, their product, and the budget
K as a share of what constant values would spend. Rules that read the loss get a scripted one,
drawn in the first row.
"""

import math
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from etalambda.schedule import (
    AutoL2,
    CoupledToLR,
    MatchedAnnealing,
    clip,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    from_label,
    inverse,
    join,
    linear,
    log_time,
    multi_step,
    one_cycle,
    piecewise,
    polynomial,
    power_law,
    replay,
    shuffle,
    simulate,
    staircase,
    table_1,
    times,
    trapezoid,
    two_phase,
    u_shape,
    warmup,
    window,
)

STEPS = 100
# Falls, with ripples, and turns up at the end: what feedback has to live with.
LOSSES = [
    2.3 * math.exp(-t / 25) + 0.15 * (1 + math.sin(t / 3)) + (t / 110) ** 6 for t in range(STEPS)
]
SIGNALS = [{"loss": loss, "error": loss / 2.5} for loss in LOSSES]
LR = times(warmup(10), cosine(STEPS))
FLOORED_LR = times(warmup(10, start=0.1), cosine(STEPS, end=0.1))


def coupled(power: float) -> dict:
    return {"lr": LR, "weight_decay": CoupledToLR(power)}


ROWS = {
    "Shapes": {
        "constant": constant(),
        "linear": linear(STEPS),
        "cosine (nanochat)": cosine(STEPS),
        "cosine, growing (DINO, scaled)": cosine(STEPS, start=0.1, end=1.0),
        "linear, growing (Megatron)": linear(STEPS, start=0.33, end=1.0),
        "cosine_restarts (CGD-A2, literal)": cosine_restarts(50),
        'cosine_restarts "half"': cosine_restarts(50, "half"),
        'cosine_restarts "warm_restart"': cosine_restarts(50, "warm_restart"),
        "power_law (CGD-B0)": power_law(),
        "log_time": log_time(10),
        "polynomial": polynomial(STEPS, power=2),
        "exponential": exponential(0.97),
        "staircase": staircase(30, 0.5),
        "multi_step": multi_step({0: 0.5, 30: 2, 70: 0.1}),
        "warmup": warmup(20),
        "trapezoid (WSD)": trapezoid(STEPS, 0.1, 0.2),
        "one_cycle": one_cycle(STEPS),
        "u_shape": u_shape(STEPS),
        "window": window(STEPS, 0.25, 0.5),
        "piecewise": piecewise({0: 0.8, 0.2: 0.8, 0.8: 0.1, 1: 0.93}, length=STEPS),
        "join: fast early, stable late": join([cosine(40, end=0.2), constant(0.2)], [40]),
        "replay of a shuffled trace": replay(shuffle([power_law()(t) for t in range(STEPS)])),
    },
    "Feedback (thin line: the loss)": {
        "MatchedAnnealing (CGD-A1)": MatchedAnnealing(),
        "matched, sma of 10": MatchedAnnealing(10),
        "matched, reference = 0.3": MatchedAnnealing(reference=0.3),
        'matched, "increment", ema': MatchedAnnealing(10, "ema", variant="increment"),
        'matched, "aitken", median': MatchedAnnealing(10, "median", variant="aitken"),
        "AutoL2 (LG-A1)": AutoL2(every=5, refractory=10),
        'AutoL2, unit="decay"': AutoL2(every=5, refractory=10, unit="decay"),
        "clip(AutoL2, low=0.3)": clip(AutoL2(every=5, refractory=10), low=0.3),
    },
    "Coupled to the lr": {
        "decoupled": coupled(0),
        "matched (AdamC)": coupled(1),
        "palm (the same, from another λ₀)": coupled(1),
        "constant_product (lr ends at 0.1)": {
            "lr": FLOORED_LR,
            "weight_decay": lambda t: 1 / FLOORED_LR(t),
        },
        "inverse": {"lr": LR, "weight_decay": lambda t: inverse()(LR(t), 1.0)},
        "MatchedAnnealing x CoupledToLR": {
            "lr": LR,
            "weight_decay": times(MatchedAnnealing(), CoupledToLR()),
        },
    },
    "Published pairs (LLA)": {
        "two_phase": two_phase(70),
        **{f"Table 1, schedule {n}": table_1(n, epoch=STEPS / 1100) for n in range(1, 6)},
        "wd_30_60_lr_0_80": from_label("wd_30_60_lr_0_80"),
    },
}


TITLES = {"weight_decay": "λ/λ₀", "lr": "η/η₀", "decay": "ηλ", "K": "K, share of constant"}


def draw_row(axes: list, name: str, rule: object, feedback: bool) -> None:
    rules = rule if isinstance(rule, dict) else {"weight_decay": rule}
    run = simulate(STEPS, signals=SIGNALS, **rules)
    for axis, entry in zip(axes, TITLES):
        values = (run[entry] / (STEPS if entry == "K" else 1)).tolist()
        axis.plot(values, color="C0" if entry != "K" else "C1", lw=1.3)
        top = max(1.0, *values)
        axis.set(ylim=(0, 1.12 * top), xticks=[], yticks=[0, top], yticklabels=["0", f"{top:.3g}"])
        axis.tick_params(labelsize=6, length=0, pad=1)
        axis.spines[["top", "right"]].set_visible(False)
    if feedback:
        axes[0].plot([loss / LOSSES[0] for loss in LOSSES], color="0.6", lw=0.6)
    axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7, labelpad=14)


def draw_section(figure: plt.Figure, grid: object, part: str, rules: dict) -> None:
    """A line with the section's name and the columns' titles, then a row a rule."""
    lines = grid.subgridspec(len(rules) + 1, 4, hspace=0.45, wspace=0.15)
    for column, title in enumerate(TITLES.values()):
        axis = figure.add_subplot(lines[0, column])
        axis.axis("off")
        axis.text(0.5, 0.1, title, fontsize=8, ha="center")
        if column == 0:
            axis.text(-1.35, 0.1, part, weight="bold", fontsize=9, ha="left")
    for line, (name, rule) in enumerate(rules.items(), start=1):
        axes = [figure.add_subplot(lines[line, column]) for column in range(4)]
        draw_row(axes, name, rule, feedback=part.startswith("Feedback"))


def main(path: Path = Path(__file__).parent / "img" / "schedules.svg") -> None:
    """One picture, the same bytes every time."""
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "etalambda", "svg.fonttype": "none"})
    heights = [len(rules) + 1 for rules in ROWS.values()]
    figure = plt.figure(figsize=(9, 0.55 * sum(heights)))
    grid = figure.add_gridspec(
        len(ROWS), 1, height_ratios=heights, left=0.27, right=0.99, top=0.998, bottom=0.003,
        hspace=0.02,
    )  # fmt: skip
    for section, (part, rules) in zip(grid, ROWS.items()):
        draw_section(figure, section, part, rules)
    figure.savefig(path, metadata={"Date": None})
    print(path)


if __name__ == "__main__":
    main()
