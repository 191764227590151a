"""Distance between two ways of training, seen through what the trained networks predict.

Li, Lyu & Arora 2020, section 5.2 and figure 3: two schedules have reached the same equilibrium if,
over many trials, each test input gets the same distribution of predicted classes,

    TV(x) = ½ Σ_c |P(F(W; x) = c) - P(F(W'; x) = c)|,

averaged over the test inputs. From N trials a side the estimate is biased upwards by about
√(classes / N) even for identical distributions. Departures from the paper: `split_half_floor`
prints that floor beside every distance, which the paper does not.
"""

import torch
from torch import Tensor

from etalambda._common import check_positive


def _histograms(predictions: Tensor, n_classes: int) -> Tensor:
    """Class frequencies an input, shape ``(inputs, n_classes)``, float64."""
    if predictions.ndim != 2 or not len(predictions):
        raise ValueError(f"predictions must be (trials, inputs), got {tuple(predictions.shape)}")
    if predictions.is_floating_point() or predictions.is_complex():
        raise ValueError(f"predictions must be class numbers, got {predictions.dtype}; take argmax")
    if (
        predictions.numel()
        and not 0 <= int(predictions.min()) <= int(predictions.max()) < n_classes
    ):
        raise ValueError(f"predictions must lie in [0, n_classes), n_classes is {n_classes}")
    return torch.nn.functional.one_hot(predictions.long(), n_classes).double().mean(0)


def total_variation(predictions_a: Tensor, predictions_b: Tensor, n_classes: int) -> float:
    """Mean over inputs of the total variation between two sets of trials (Li et al., figure 3).

    Args:
        predictions_a: Predicted classes, integers, shape ``(trials, inputs)``.
        predictions_b: The same inputs, shape ``(trials', inputs)``.
        n_classes: Number of classes.

    Returns:
        A number in [0, 1]: 0 for equal distributions on every input, 1 for disjoint ones.

    Raises:
        ValueError: If shapes or class numbers do not fit.

    Example:
        >>> a = torch.tensor([[0, 1], [0, 1]])
        >>> b = torch.tensor([[0, 1], [1, 1]])
        >>> total_variation(a, b, n_classes=2)
        0.25
    """
    check_positive(n_classes=n_classes)
    a, b = torch.as_tensor(predictions_a), torch.as_tensor(predictions_b)
    p, q = _histograms(a, n_classes), _histograms(b, n_classes)
    if p.shape != q.shape:
        raise ValueError(f"both sides must hold the same inputs, got {len(p)} and {len(q)}")
    return float((p - q).abs().sum(1).mean() / 2)


def split_half_floor(
    predictions: Tensor, n_classes: int, *, splits: int = 20, seed: int = 0
) -> float:
    """The total variation that finite trials show between halves of one and the same set.

    A distance between two sets of N trials is no evidence of a difference unless it exceeds this
    floor; halves have N/2 trials, so the floor is an upper one, by about √2.

    Args:
        predictions: Predicted classes, integers, shape ``(trials, inputs)``, at least 2 trials.
        n_classes: Number of classes.
        splits: Random splits to average over.
        seed: Of the splits.

    Example:
        >>> split_half_floor(torch.zeros(8, 3, dtype=torch.long), n_classes=10)
        0.0
    """
    trials = torch.as_tensor(predictions)
    if len(trials) < 2:
        raise ValueError(f"two halves need at least 2 trials, got {len(trials)}")
    generator = torch.Generator().manual_seed(seed)
    distances = []
    for _ in range(splits):
        order, half = torch.randperm(len(trials), generator=generator), len(trials) // 2
        halves = trials[order[:half]], trials[order[half : 2 * half]]
        distances.append(total_variation(*halves, n_classes))
    return sum(distances) / splits


def agreement(predictions_a: Tensor, predictions_b: Tensor) -> float:
    """The share of inputs on which two networks, or paired trials, predict the same class.

    Example:
        >>> agreement(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2]))
        0.75
    """
    a, b = torch.as_tensor(predictions_a), torch.as_tensor(predictions_b)
    if a.shape != b.shape:
        raise ValueError(f"shapes must agree, got {tuple(a.shape)} and {tuple(b.shape)}")
    return float((a == b).double().mean())
