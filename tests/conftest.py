"""One torch thread a worker: two workers on two cores, and timings that mean something."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# No time limits: a loaded machine is not a wrong result. The seed is printed with a failure.
settings.register_profile("etalambda", deadline=None, print_blob=True)
settings.load_profile("etalambda")
torch.set_num_threads(1)
if not torch.cuda.is_available():  # asked for before Triton is imported: see tests/optim/_chip.py
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _fresh_seed():
    """Every test starts from the same random state, whatever ran before it on its worker."""
    torch.manual_seed(0)
