"""Experiment E5 on text: which tensors should match, in a character GPT under AdamW.

Norms before and after each branch, queries and keys normalized: so the matrices of q, k, v, of the
attention's output and the second of the MLP are scale invariant one by one; the MLP's first, the
embeddings and the head are not. Loss in nats a character, on held-out text.

Departures from the paper: a GPT of 2 x 64 and a short run; the norms' ε is lowered to 1e-8, since
beside 1e-5 the small initial weights are not invariant to a few per cent.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from etalambda.lab.figures.parttwo import _matching
from etalambda.lab.figures.parttwo._scope import Scope, World, measuring
from etalambda.lab.figures.parttwo.e2text import CONTEXT, held_out, windows
from etalambda.lab.models.gpt import GPT
from etalambda.lab.reproduce import Bench, Figure
from etalambda.lab.reproduce.cells import losses
from etalambda.lab.tasks import Passes
from etalambda.lab.tasks.text import Characters

SHAPE = "linear"
SMALL = 100  # steps; a run of fewer is a smoke test


def network(vocabulary: int, width: int, depth: int) -> nn.Module:
    """The GPT whose matrices are invariant, its norms' ε out of the way."""
    net = GPT(vocabulary, width, depth, context=CONTEXT, placement="peri", qk_norm=True)
    for module in net.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-8
    return net


def world(recipe: Scope, bench: Bench) -> World:
    """Windows of the text in one pass, and the GPT."""
    text = None if bench.data is None else bench.data / "tinyshakespeare.txt"
    small = recipe.steps < SMALL
    task = Characters(text, CONTEXT)
    x, y = (part.to(bench.device) for part in windows(task.train))
    passes = Passes(x, y, passes=1, batch_size=2 if small else 8)
    parts = held_out(task, 16 if small else 512, bench.device)
    width, depth = (16, 1) if small else (64, 2)
    return World(
        partial(network, len(task.vocabulary), width, depth),
        x[:4].cpu(),
        passes.batches,
        "adamw",
        dict(betas=(0.9, 0.95)),
        partial(losses, parts=parts, rows=64),
        1 if torch.device(bench.device).type == "cpu" else None,
    )


FIGURE = Figure(
    "parttwo-e5text",
    shows="Part II, E5, characters",
    claim="Decay that follows the lr on scale-invariant weights keeps the gradient norm from "
    "rising at the end, and lowers the loss.",
    criteria=_matching.criteria([SHAPE]),
    recipes={
        "smoke": Scope(
            minutes=0.1, shapes=(SHAPE,), budgets=(0.5,), common=2.0, choosing=1, seeds=2,
            lr=3e-3, steps=10, departures=("ten steps of two windows, one layer of 16",),
        ),
        "cpu": Scope(
            minutes=9,
            shapes=(SHAPE,),
            budgets=(0.5, 4.0),
            common=4.0,
            choosing=2,
            seeds=8,
            lr=3e-3,
            steps=600,
            departures=("2 layers, 64 wide, context 64; 600 steps of 8 windows",),
        ),
    },
    measure=measuring(world),
    estimate=_matching.estimate,
    draw=_matching.draw,
    compact=_matching.compact,
)  # fmt: skip
