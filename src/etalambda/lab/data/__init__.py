"""Real data: readers of the published formats, and pictures that live on the device."""

from etalambda.lab.data.find import ImageSplits, find, fingerprint, load
from etalambda.lab.data.formats import (
    DataError,
    Images,
    IncompleteError,
    read_cifar_binary,
    read_idx,
    read_idx_pair,
    read_image_parquet,
    read_keras_npz,
)
from etalambda.lab.data.pipeline import CIFAR, Pictures, Recipe
from etalambda.lab.data.text import TextSplits, Tokens, read_ptb, read_text, tokens

__all__ = [
    "CIFAR",
    "DataError",
    "ImageSplits",
    "Images",
    "IncompleteError",
    "Pictures",
    "Recipe",
    "TextSplits",
    "Tokens",
    "find",
    "fingerprint",
    "load",
    "read_cifar_binary",
    "read_idx",
    "read_idx_pair",
    "read_image_parquet",
    "read_keras_npz",
    "read_ptb",
    "read_text",
    "tokens",
]
