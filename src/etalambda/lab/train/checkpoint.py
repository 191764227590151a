"""Checkpoints: a run stops anywhere and goes on as if it had not.

A checkpoint is written under a temporary name, forced to the disk, and renamed: a kill at any
moment leaves the old one or the new one. It holds weights, optimizers, schedules, the monitor's K,
averages, random states, what a recurrent network carries, and every row so far; the place in the
data is the step, because a batch depends on seed and step alone. It loads with ``weights_only``.

On a CPU in float32, with the same torch and the same number of threads, the resumed run is equal to
the last bit; elsewhere to rounding.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from etalambda.lab.train import contents, shards
from etalambda.lab.train.training import Training

VERSION = 1


class CheckpointError(ValueError):
    """A checkpoint is damaged, or of another run; the message says what differs."""


class Checkpoint:
    """The checkpoint of a run: one file, or with FSDP a folder of shards beside it.

    Args:
        path: Of the file; its folder must exist. The shards are in ``NAME.shards``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.shards = self.path.with_suffix(".shards")

    def save(self, run: Training) -> None:
        """Replace the checkpoint by the run's present state; by the first rank.

        Raises:
            CheckpointError: If the disk refuses; the old checkpoint is kept.
        """
        head = dict(
            version=VERSION,
            config=_comparable(asdict(run.config)),
            run=run.state_dict(),
            random=run.ranks.gathered(_random_state(run.device)),
        )
        if run.ranks.sharded:
            shards.save(run, head, self.shards)
        elif run.ranks.first:
            tensors = dict(
                model=run.model.state_dict(),
                optimizers=[optimizer.state_dict() for optimizer in run.optimizers],
                average=None if run.average is None else run.average.state_dict(),
            )
            write(self.path, head | tensors)

    def load(self, run: Training) -> bool:
        """Put the run where the checkpoint stands; False if there is none.

        Raises:
            CheckpointError: If it is damaged, or was made with other flags: it names them.
        """
        newest = shards.newest(self.shards)
        if newest is None and not self.path.is_file():
            return False
        path = self.path if newest is None else newest / shards.HEAD
        content = read(path, run.device)
        _check_config(path, content["config"], asdict(run.config))
        if newest is None:
            self._load_whole(run, content)
        else:
            _check_contents(newest)
            shards.load(run, newest)
        run.load_state_dict(content["run"])
        if run.ranks.rank < len(content["random"]):
            _set_random_state(content["random"][run.ranks.rank], run.device)
        return True

    def _load_whole(self, run: Training, content: dict[str, Any]) -> None:
        if run.ranks.sharded:
            raise CheckpointError(
                f"{self.path} was written by one process; go on with one, or without sharding"
            )
        run.model.load_state_dict(content["model"])
        for optimizer, state in zip(run.optimizers, content["optimizers"]):
            optimizer.load_state_dict(state)
        if run.average is not None:
            run.average.load_state_dict(content["average"])

    def steps(self) -> int:
        """How many steps are kept; 0 if nothing is."""
        newest = shards.newest(self.shards)
        if newest is None and not self.path.is_file():
            return 0
        content = read(self.path if newest is None else newest / shards.HEAD, torch.device("cpu"))
        return int(content["run"]["step"])

    def remove(self) -> None:
        """Nothing is kept any more: the run is finished."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.shards, ignore_errors=True)


def _check_contents(folder: Path) -> None:
    try:
        contents.check(folder)
    except Exception as error:  # a damaged pickle raises whatever it stumbles over
        raise CheckpointError(
            f"{folder / contents.NAME} is damaged or not of a checkpoint ({error}); "
            f"delete {folder} to start anew"
        ) from error


def read(path: Path, device: torch.device) -> dict[str, Any]:
    """The content of a checkpoint file.

    Raises:
        CheckpointError: If it is damaged, or of another version.
    """
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # zip, pickle and torch each raise their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is damaged ({reason}); delete it to start anew") from error
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise CheckpointError(f"{path} is no checkpoint of this version; delete it")
    return found


def write(path: Path, content: Any) -> None:
    """Save for ``torch.load(weights_only=True)``: a temporary name, the disk, a rename.

    Raises:
        CheckpointError: If the disk refuses; the file before is kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {str(error).splitlines()[0]}; the checkpoint before is kept. "
            "Free space or mend the folder's rights, then run the same command again to go on"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where the system lets folders be opened."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_config(path: Path, there: dict[str, Any], config: Mapping[str, Any]) -> None:
    asked = _comparable(config)
    keys = [key for key in there | asked if there.get(key) != asked.get(key)]
    if keys:
        lines = ", ".join(f"{k} ({there.get(k)!r} there, {asked.get(k)!r} now)" for k in keys)
        raise CheckpointError(
            f"{path} is a checkpoint of other flags: {lines}; take those, or choose another --out"
        )


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in config.items()}


def _random_state(device: torch.device) -> dict[str, Any]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
