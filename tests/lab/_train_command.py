"""The command in a process of its own, forked from a server that has imported everything: what a
kill hits is the command's work, not Python's start."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess

import sklearn.datasets  # noqa: F401  (for the server: children find it loaded)
import torch

import etalambda.lab.commands.train
import etalambda.lab.train.recorded  # noqa: F401
from etalambda.lab import cli


def _run(words: Sequence[str]) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    torch.set_num_threads(1)
    sys.exit(cli.main(words))


def started(words: Sequence[str]) -> ForkServerProcess:
    """``etalambda WORDS`` at work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(list(words),))
    process.start()
    return process
