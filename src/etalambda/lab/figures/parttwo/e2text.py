"""Experiment E2 on text: a small character GPT under AdamW, one pass or ten over a tenth.

Non-overlapping windows of one text; matrices decay, gains do not. Loss in nats a character.

Departures from the paper: none of the papers tested this.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from etalambda.lab.figures.parttwo import _up_down
from etalambda.lab.figures.parttwo._direction import Direction, World, measuring
from etalambda.lab.models.gpt import GPT
from etalambda.lab.reproduce import Bench, Figure
from etalambda.lab.reproduce.cells import losses
from etalambda.lab.tasks.text import Characters

CONTEXT = 64


def windows(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Windows side by side, and the characters that follow each of theirs."""
    count = (len(tokens) - 1) // CONTEXT
    x = tokens[: count * CONTEXT].view(count, CONTEXT)
    return x, tokens[1 : count * CONTEXT + 1].view(count, CONTEXT)


def held_out(
    task: Characters, most: int, device: str | torch.device
) -> dict[str, tuple[Tensor, Tensor]]:
    """Held-out windows, at most so many a part: the even ones choose, the odd ones report."""
    x, y = (part.to(device) for part in windows(task.validation))
    return {name: (x[i::2][:most], y[i::2][:most]) for i, name in enumerate(("val", "test"))}


def world(recipe: Direction, bench: Bench) -> World:
    """The text's training windows, and its held-out ones."""
    text = None if bench.data is None else bench.data / "tinyshakespeare.txt"
    task = Characters(text, CONTEXT)
    x, y = (part.to(bench.device) for part in windows(task.train))
    rows = recipe.rows or len(x)
    parts = held_out(task, 512 if not recipe.rows else 16, bench.device)

    width, depth = (64, 2) if not recipe.rows else (16, 1)
    make = partial(GPT, len(task.vocabulary), width, depth, context=CONTEXT)
    hyper = dict(betas=(0.9, 0.95))
    multiples = (1.0,)  # on pictures four: one is what two cores can train in 45 minutes
    chunk = 1 if torch.device(bench.device).type == "cpu" else None
    scores = partial(losses, parts=parts, rows=64)
    return World(x[:rows], y[:rows], make, "adamw", hyper, scores, multiples, chunk)


FIGURE = Figure(
    "parttwo-e2text",
    shows="Part II, E2, characters",
    claim="Decay should fall where data are new and rise where they recur, at equal budget K.",
    criteria=_up_down.criteria("nats"),
    recipes={
        "smoke": Direction(
            minutes=0.1, passes=(1, 2), budgets=(0.0, 0.1), choosing=2, seeds=2, lr=3e-3,
            batch_size=2, rows=8, departures=("four steps of two windows, one layer of 16",),
        ),
        "cpu": Direction(
            minutes=120,
            passes=(1, 10),
            budgets=(0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
            choosing=4,
            seeds=8,
            lr=3e-3,
            batch_size=8,
            departures=("2 layers, 64 wide, context 64; 1960 steps of 8 windows",),
        ),
    },
    measure=measuring(world),
    estimate=_up_down.estimate,
    draw=_up_down.drawing("nats"),
)  # fmt: skip
