"""Grids of constant λ that the evidence holds: what was planned, and the errors of every λ.

One `Grid` a setting: a network, its data, optimizer, lr, length. They come from the regret
experiment and from E1, E2, E3, E7, E10 and E11 of Part II, where constant decay was tuned; AdamS is
left out, as its λ has no K before a run. A setting whose decays, lr and labels are those of E1 is
``seen``: `etalambda.suggest.fitted` was made from it or from its twin on other seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import HYPER
from etalambda.lab.figures.parttwo import e1, e10
from etalambda.lab.models import MLP, MODELS
from etalambda.lab.records import files
from etalambda.lab.reproduce.cells import rows_where
from etalambda.lab.tasks.digits import SIZES
from etalambda.theory.shapes import Schedule

Rows = Mapping[str, np.ndarray]
NETS = {**MODELS, "small mlp": e10.NET}


@dataclass(frozen=True)
class Grid:
    """One setting.

    Attributes:
        source: The experiment that trained it.
        task: Data, network and optimizer; settings of one task are near each other.
        setting: What tells it from the others of its task.
        plan: What `etalambda.suggest` is told.
        decays: λ, ascending, (L,).
        val, test: Errors in percent, (L, seeds).
        seen: Whether the fitted rule was made from it.
    """

    source: str
    task: str
    setting: str
    plan: Mapping[str, Any]
    decays: np.ndarray
    val: np.ndarray
    test: np.ndarray
    seen: bool = False


def kept_grids(home: Path) -> list[Grid]:
    """All grids below the folder of evidence; experiments that are not there are left out."""
    return [grid for read in (_regret, _e1, _e2, _e3, _e7, _e10, _e11) for grid in read(home)]


def digits(
    source: str,
    model: str,
    optimizer: str,
    lr: float,
    epochs: int,
    rows: Rows,
    *,
    shape: Schedule = "cosine",
    batch: int = 50,
    labels: str = "",
    momentum: float | None = None,
) -> Grid:
    """A grid on the 600 digits, from rows with ``weight_decay``, ``seed``, ``val`` and ``test``."""
    if momentum is None:
        momentum = HYPER.get(optimizer, {}).get("momentum", 0.0)
    plan = dict(
        optimizer=optimizer,
        lr=lr,
        steps=epochs * -(-SIZES["train"] // batch),
        batch_size=batch,
        dataset_size=SIZES["train"],
        parameters=_parameters(model),
        lr_schedule=shape,
        momentum=momentum,
    )
    plain = ", no momentum" if optimizer == "sgd" and not momentum else ""
    label = model.replace("mlp", "MLP").replace("cnn", "CNN")
    name = f"digits{labels}, {label}, {optimizer}{plain}"
    size = "" if batch == 50 else f", batch {batch}"
    setting = f"{epochs} epochs, lr {lr:g} {shape}{size}"
    as_e1 = (model, labels, plain, size, lr) == ("mlp", "", "", "", e1.LRS.get(optimizer))
    return Grid(source, name, setting, plan, *errors(rows, 100.0), seen=as_e1)


def errors(rows: Rows, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """λ, and validation and test errors of each λ and seed."""
    decays = np.unique(rows["weight_decay"])
    each = [rows_where(rows, weight_decay=decay) for decay in decays]
    val, test = (
        np.stack([scale * one[name][np.argsort(one["seed"])] for one in each])
        for name in ("val", "test")
    )
    return decays.astype(float), val, test


@cache
def _parameters(model: str) -> int:
    return sum(p.numel() for p in NETS[model]().parameters())


def _kept(home: Path, name: str, table: str) -> Rows | None:
    path = home / name / f"cpu.{table}.parquet"
    return files.read_parquet([path]) if path.is_file() else None


def _regret(home: Path) -> Iterator[Grid]:
    return (grid for grid, _ in with_trained_rules(home))


def with_trained_rules(home: Path) -> Iterator[tuple[Grid, dict[float, float]]]:
    """The grids of the regret experiment, and λ -> test error of the rules, which it trained."""
    for path in sorted((home / "regret").glob("*-*.json")):
        said = json.loads(path.read_text())
        task, decays = said["task"], {0.0, *said["task"]["grid"]}
        runs = {name: np.array([run[name] for run in said["runs"]]) for name in said["runs"][0]}
        planned = np.isin(runs["weight_decay"], list(decays))
        rows = {name: column[planned] for name, column in runs.items()}
        labels = "" if task["label_noise"] else ", clean"
        about = (task["model"], task["optimizer"], task["lr"], said["epochs"])
        others = np.unique(runs["weight_decay"][~planned]).tolist()
        means = {d: 100 * runs["test"][runs["weight_decay"] == d].mean() for d in others}
        yield digits("regret", *about, rows, labels=labels), means


def _e1(home: Path) -> Iterator[Grid]:
    if cells := _kept(home, "parttwo-e1", "cells"):
        epochs = np.unique(cells["epochs"]).tolist()
        for optimizer, shape, length in product(e1.LRS, e1.SHAPES, epochs):
            rows = rows_where(cells, optimizer=optimizer, shape=shape, epochs=length)
            yield digits("E1", "mlp", optimizer, e1.LRS[optimizer], length, rows, shape=shape)


def _e2(home: Path) -> Iterator[Grid]:
    """MNIST: 1200 steps of 50, so 60 000 pictures once or a share of them again and again."""
    if grid := _kept(home, "parttwo-e2images", "grid"):
        count = sum(p.numel() for p in MLP((784, 128, 10)).parameters())
        for passes in np.unique(grid["passes"]).tolist():
            rows = rows_where(grid, passes=passes)
            lr = float(rows["lr"][0])
            plan = dict(
                optimizer="sgd",
                lr=lr,
                steps=1200,
                batch_size=50,
                dataset_size=60_000 // passes,
                parameters=count,
                lr_schedule="cosine",
                momentum=0.9,
            )
            setting = f"{passes} pass{'es' if passes > 1 else ''}, lr {lr:g} cosine"
            yield Grid("E2", "MNIST, MLP, sgd", setting, plan, *errors(rows))


def _e3(home: Path) -> Iterator[Grid]:
    if grid := _kept(home, "parttwo-e3", "grid"):
        for model, lr in product(("mlp", "cnn"), np.unique(grid["lr"]).tolist()):
            rows = rows_where(grid, model=model, arm="adamw", lr=lr)
            yield digits("E3", model, "adamw", lr, 40, rows)


def _e7(home: Path) -> Iterator[Grid]:
    if grid := _kept(home, "parttwo-e7", "grid"):
        for lr in np.unique(grid["lr"]):
            rows = rows_where(grid, sphere="free", way="constant", lr=lr)
            about = ("E7", "mlp", "sgd", _round(lr), 40)
            yield digits(*about, rows, shape="constant", momentum=0.0)


def _e10(home: Path) -> Iterator[Grid]:
    if grid := _kept(home, "parttwo-e10", "grid"):
        columns = (grid[name].tolist() for name in ("optimizer", "batch", "lr"))
        for optimizer, batch, lr in dict.fromkeys(zip(*columns)):
            rows = rows_where(grid, optimizer=optimizer, batch=batch, lr=lr)
            yield digits("E10", "small mlp", optimizer, _round(lr), 40, rows, batch=batch)


def _e11(home: Path) -> Iterator[Grid]:
    if grid := _kept(home, "parttwo-e11", "grid"):
        for model, lr in product(("mlp", "cnn"), np.unique(grid["lr"])):
            rows = rows_where(grid, model=model, arm="sgd", lr=lr)
            yield digits("E11", model, "sgd", _round(lr), 40, rows)


def _round(lr: float) -> float:
    """An lr that was kept in 32 bits, as it was given."""
    return float(f"{lr:.4g}")
