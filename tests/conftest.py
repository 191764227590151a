"""One torch thread a worker: two workers on two cores, and timings that mean something."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fresh_seed():
    """Every test starts from the same random state, whatever ran before it on its worker."""
    torch.manual_seed(0)
