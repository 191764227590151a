"""The many-trials engine: hundreds of small networks trained together, each with its own lr,
weight decay, schedules, seed and data order, exactly as each would be trained alone."""

from etalambda.lab.engine.training import chunk_size, cross_entropy, train
from etalambda.lab.engine.trials import Batches, Feed, Loss, Snapshot, Trial

__all__ = ["Batches", "Feed", "Loss", "Snapshot", "Trial", "chunk_size", "cross_entropy", "train"]
