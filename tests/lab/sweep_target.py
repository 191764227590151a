"""An experiment that costs nothing: it sleeps, and writes down when it was begun and ended."""

import os
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """What a cell is told."""

    lr: float = 0.1
    weight_decay: float = 0.0
    name: str = "a"
    big: bool = False
    seed: int = 0
    sleep: float = 0.0
    log: str = ""
    fail: float = -1.0

    def __post_init__(self):
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")


def note(config, run, what):
    if config.log:
        line = f"{what} {run.folder.name} {os.getpid()}\n".encode()
        descriptor = os.open(config.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)  # one write: lines of many processes do not mix
        os.close(descriptor)


def run(config, run, progress):
    note(config, run, "begin")
    if config.lr == config.fail:
        raise ValueError("this one cannot be trained")
    for i in range(10):
        time.sleep(config.sleep / 10)
        progress(i, 10, "sleeping")
    error = (config.lr - 0.1) ** 2 + config.weight_decay + config.seed / 1000
    run.add("all", metrics={"step": [0, 1], "loss": [1.0, error]}, summary={"val_error": [error]})
    run.finish()
    note(config, run, "end")
