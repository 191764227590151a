"""Real data: readers of the published formats, and pictures that live on the device."""

from etalambda.lab.data.formats import (
    DataError,
    Images,
    read_cifar_binary,
    read_idx,
    read_idx_pair,
    read_image_parquet,
    read_keras_npz,
)
from etalambda.lab.data.pipeline import CIFAR, Pictures, Recipe

__all__ = [
    "CIFAR",
    "DataError",
    "Images",
    "Pictures",
    "Recipe",
    "read_cifar_binary",
    "read_idx",
    "read_idx_pair",
    "read_image_parquet",
    "read_keras_npz",
]
