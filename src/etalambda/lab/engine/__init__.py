"""The many-trials engine: hundreds of small networks trained together, each with its own lr,
weight decay, schedules, seed and data order, exactly as each would be trained alone."""

from etalambda.lab.engine.masks import AT_RANDOM, CAUTIOUS, Mask
from etalambda.lab.engine.training import chunk_size, cross_entropy, train
from etalambda.lab.engine.trials import (
    Batches,
    Classes,
    Feed,
    Loss,
    Snapshot,
    Trial,
    everything,
    matrices,
)

__all__ = [
    "AT_RANDOM",
    "CAUTIOUS",
    "Batches",
    "Classes",
    "Feed",
    "Loss",
    "Mask",
    "Snapshot",
    "Trial",
    "chunk_size",
    "cross_entropy",
    "everything",
    "matrices",
    "train",
]
