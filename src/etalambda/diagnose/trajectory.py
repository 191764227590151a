"""How far weights and outputs wander along a run, and what averaging along it gains.

Li, Lyu & Arora 2020, section 6 and figures 6, 7: in equilibrium the accuracy stands still while the
weights do not. ‖W_T - W_{T+Δ}‖ keeps growing with Δ where a quadratic valley would bound it, and
the average of two points of the trajectory is better than either (SWA).

    paper   ‖W_T - W_{T+Δ}‖      SWA of two points    drift of the outputs
    code    weight_distances     averaging_gain       output_drift

Departures from the paper: the gain is of any number of points, with the members beside it.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def snapshot(model: nn.Module) -> State:
    """Copies of the parameters and buffers now, on the CPU.

    Example:
        >>> sorted(snapshot(torch.nn.Linear(2, 1)))
        ['bias', 'weight']
    """
    return {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}


def weight_distances(snapshots: Sequence[State]) -> Tensor:
    """‖W_a - W_b‖ between all pairs of snapshots: float64, shape ``(n, n)``.

    Buffers count as weights; leave them out of the snapshots if they should not.

    Raises:
        ValueError: If there is none, or their tensors differ in name or shape.

    Example:
        >>> points = [{"w": torch.zeros(4)}, {"w": torch.ones(4)}]
        >>> weight_distances(points).tolist()
        [[0.0, 2.0], [2.0, 0.0]]
    """
    _check(snapshots)
    floating = [n for n, t in snapshots[0].items() if t.is_floating_point()]
    flat = torch.stack(
        [torch.cat([s[n].reshape(-1).double() for n in floating]) for s in snapshots]
    )
    return torch.stack([(flat - row).norm(dim=1) for row in flat])


def output_drift(before: Tensor, after: Tensor) -> float:
    """Mean total variation between the class probabilities of two moments of one run.

    Args:
        before: Logits, shape ``(inputs, classes)``.
        after: Of the same inputs, later.

    Returns:
        A number in [0, 1]; `agreement` counts only the inputs whose class changed.

    Example:
        >>> round(output_drift(torch.zeros(3, 2), torch.tensor([[9.0, 0.0]] * 3)), 3)
        0.5
    """
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(
            f"both must be (inputs, classes), got {tuple(before.shape)} and {tuple(after.shape)}"
        )
    p, q = (logits.double().softmax(1) for logits in (before, after))
    return float((p - q).abs().sum(1).mean() / 2)


@dataclass(frozen=True)
class AveragingGain:
    """The measure of the averaged weights, of each member, and the gain over their mean.

    Example:
        >>> round(AveragingGain(average=0.9, members=[0.8, 0.7]).gain, 3)  # from `averaging_gain`
        0.15
    """

    average: float
    members: list[float]

    @property
    def gain(self) -> float:
        """average - mean of the members: above 0 if averaging helps an accuracy."""
        return self.average - sum(self.members) / len(self.members)


@torch.no_grad()
def averaging_gain(
    model: nn.Module,
    snapshots: Sequence[State],
    evaluate: Callable[[nn.Module], float],
    *,
    refresh: Callable[[nn.Module], object] | None = None,
) -> AveragingGain:
    """What the mean of several points of a trajectory gains (SWA).

    Args:
        model: Whose architecture it is; left as it is.
        snapshots: Of `snapshot`, along the run.
        evaluate: A model -> a number, such as its accuracy; called without gradients.
        refresh: Called with the averaged model before it is evaluated. A network with BatchNorm
            needs new running statistics: ``lambda net: update_bn(loader, net)`` of
            ``torch.optim.swa_utils``.

    Raises:
        ValueError: If there is no snapshot, or one does not fit another.

    Example:
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> points = [{"weight": torch.tensor([[w]])} for w in (1.0, 3.0)]
        >>> found = averaging_gain(net, points, lambda m: 5 - (m.weight.item() - 2) ** 2)
        >>> found.average, found.members, found.gain
        (5.0, [4.0, 4.0], 1.0)
    """
    _check(snapshots)
    twin = copy.deepcopy(model)
    members = []
    for point in snapshots:
        twin.load_state_dict(point)
        members.append(float(evaluate(twin)))
    mean = {
        name: torch.stack([s[name].double() for s in snapshots]).mean(0).to(t.dtype)
        if t.is_floating_point()
        else t
        for name, t in snapshots[-1].items()
    }
    twin.load_state_dict(mean)
    if refresh is not None:
        refresh(twin)
    return AveragingGain(float(evaluate(twin)), members)


def _check(snapshots: Sequence[State]) -> None:
    if not snapshots:
        raise ValueError("snapshots is empty; pass at least one of snapshot(model)")
    shapes = [{name: t.shape for name, t in point.items()} for point in snapshots]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("snapshots differ in the names or shapes of their tensors")
