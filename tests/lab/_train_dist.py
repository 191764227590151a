"""What the two processes of test_train_distributed.py run: gloo, a file as meeting point."""

from contextlib import suppress
from pathlib import Path

import torch

from etalambda.lab.train import TrainConfig, fit
from etalambda.lab.train.loop import Keep
from tests.lab.stopping import Stop, stopped_at
from tests.two_ranks import run_scenarios

BASE = dict(
    steps=8, monitor_every=2, evaluate_every=1, evaluate_size=60, batch_size=100, lr=0.02,
    weight_decay=0.01,
)  # fmt: skip
GPT = dict(
    task="text", model="gpt", width=32, depth=2, context=16, batch_size=8, evaluate_size=400,
    optimizer="adamw",
)  # fmt: skip
FSDP = dict(sharding="fsdp")
RECIPES = {
    "ddp": dict(weight_decay_schedule="matched-annealing", clip=0.5),
    "ddp accumulated": dict(accumulate=2, optimizer="adams", lr_schedule="cosine"),
    "ddp batch norm": dict(model="cnn"),
    "ddp sphere": dict(sphere="tensor", weight_decay_schedule="autol2"),
    "ddp averaged": dict(ema=0.9),
    "fsdp": FSDP | dict(weight_decay_schedule="matched-annealing", clip=0.5),
    "fsdp adams": FSDP | dict(optimizer="adams", lr_schedule="cosine"),
    "fsdp gpt": FSDP | GPT | dict(weight_decay_schedule="matched", lr_schedule="linear"),
    "fsdp sphere": FSDP | dict(sphere="tensor"),
}


def same(rank, folder):
    """Every recipe, from the start."""
    for name, recipe in RECIPES.items():
        result = fit(TrainConfig(**BASE | recipe))
        if rank == 0:
            found = dict(metrics=result.metrics, weights=result.weights)
            torch.save(found, f"{folder}/{name.replace(' ', '-')}.pt")


def resumed(rank, folder):
    """Stopped after 5 steps, and gone on with from the shards of step 4."""
    for name in ("ddp", "fsdp adams", "fsdp gpt"):
        config = TrainConfig(**BASE | RECIPES[name])
        keep = Keep(Path(folder, f"{name.replace(' ', '-')}-checkpoint.pt"), steps=2)
        with suppress(Stop):
            fit(config, keep=keep, progress=stopped_at(5))
        result = fit(config, keep=keep)
        straight = fit(config)
        assert result.metrics.keys() == straight.metrics.keys()
        for column, values in straight.metrics.items():
            for ours, theirs in zip(result.metrics[column], values):
                assert ours == theirs or ours != ours, (name, column, ours, theirs)
        for key, tensor in straight.weights.items():
            assert torch.equal(result.weights[key], tensor), (name, key)


def left_behind(rank, folder):
    """A checkpoint of two ranks, for one process to go on with."""
    keep = Keep(Path(folder, "left.pt"), steps=2)
    with suppress(Stop):
        fit(TrainConfig(**BASE | RECIPES["fsdp adams"]), keep=keep, progress=stopped_at(5))


SCENARIOS = (same, resumed, left_behind)


def process(rank, folder):
    """One process: meet, run every scenario in float64, note how it ended, leave."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    run_scenarios(SCENARIOS, rank, folder)
