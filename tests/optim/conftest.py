"""The fixtures of torch's matrix and of Triton's kernels, for the files that ask for them."""

from tests.optim._chip import chip
from tests.optim.matrix import device

__all__ = ["chip", "device"]
