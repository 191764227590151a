"""The fixture of torch's matrix, for the files that ask for it."""

from tests.optim.matrix import device

__all__ = ["device"]
