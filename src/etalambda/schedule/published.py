"""Schedules that papers publish, as dicts of rules: ``Scheduler(optimizer, **two_phase(10_000))``.

Li, Lyu & Arora 2020, *Reconciling modern deep learning with traditional optimization analyses*:
the two-phase paradigm (LLA-R1), the five schedules of Table 1 and the labels of Figures 2 and 10.

Departures from the paper: schedule 4 of Table 1, "LR, WD ×4, /2, /2, /4, ×4", scales both; its
text allows a second reading, ``wd_only``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.schedule.rule import Rule
from etalambda.schedule.stairs import multi_step


def two_phase(switch: float, lr_drop: float = 0.1) -> dict[str, Rule]:
    """Noise first, then descent: at ``switch``, lr times ``lr_drop`` and no weight decay (LLA-R1).

    The first phase lasts until the norm is in equilibrium, some 1/(ηλ) steps; the second until
    the loss is fitted.

    Raises:
        ValueError: If ``switch`` or ``lr_drop`` is not positive.

    Example:
        >>> rules = two_phase(100)
        >>> [rules["lr"](step) for step in (99, 100)], rules["weight_decay"](100)
        ([1.0, 0.1], 0.0)
    """
    check_positive(switch=switch, lr_drop=lr_drop)
    return {"lr": multi_step({switch: lr_drop}), "weight_decay": multi_step({switch: 0.0})}


# Multipliers of the present value at epochs 0, 100, 200, 300, 400, 500; lr and weight decay.
_ONES = (1, 1, 1, 1, 1, 1)
_TABLE_1: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: ((1, 1 / 4, 4, 1 / 4, 2, 2), _ONES),
    2: (_ONES, _ONES),
    3: ((1, 4, 1 / 2, 1 / 2, 1 / 4, 4), _ONES),
    4: ((1, 4, 1 / 2, 1 / 2, 1 / 4, 4), (1, 4, 1 / 2, 1 / 2, 1 / 4, 4)),
    5: ((32, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2), _ONES),
}


def table_1(schedule: int, epoch: float = 1, *, wd_only: bool = False) -> dict[str, Rule]:
    """Schedule 1 to 5 of Table 1: all meet at epoch 500; at 1000 lr/10 and no weight decay.

    Args:
        schedule: 1 to 5.
        epoch: Ticks an epoch.
        wd_only: Read schedule 4 as one of the weight decay alone.

    Raises:
        ValueError: If there is no such schedule, or ``epoch`` is not positive.

    Example:
        >>> [table_1(5)["lr"](epoch) for epoch in (0, 100, 500, 1000)]
        [32.0, 16.0, 1.0, 0.1]
    """
    if schedule not in _TABLE_1:
        raise unknown("schedule of Table 1", schedule, map(str, _TABLE_1))
    check_positive(epoch=epoch)
    lr, weight_decay = _TABLE_1[schedule]
    return {
        "lr": _at(epoch, _ONES if wd_only and schedule == 4 else lr, 0.1),
        "weight_decay": _at(epoch, weight_decay, 0.0),
    }


def _at(epoch: float, multipliers: tuple[float, ...], end: float) -> multi_step:
    steps = {100 * i * epoch: m for i, m in enumerate(multipliers)}
    return multi_step(steps | {1000 * epoch: end})


def from_label(label: str, epoch: float = 1, gamma: float = 0.1) -> dict[str, Rule]:
    """The schedule of a label such as ``wd_100_200_lr_0_5000``: times 0.1 at those epochs.

    Figures 2 and 10: weight decay is divided by 10 at the epochs after ``wd``, lr at those after
    ``lr``. Either part may be left out.

    Raises:
        ValueError: If the label is not of that form.

    Example:
        >>> rules = from_label("wd_300_lr_0_500")
        >>> [rules["lr"](epoch) for epoch in (0, 500)], rules["weight_decay"](300)
        ([0.1, 0.010000000000000002], 0.1)
    """
    if not re.fullmatch(r"(wd(_\d+)+)?_?(lr(_\d+)+)?", label) or not label.strip("_"):
        raise ValueError(f"label {label!r} is not of the form wd_100_200_lr_0_5000")
    check_nonnegative(epoch=epoch, gamma=gamma)
    rules: dict[str, Rule] = {}
    for short, entry in {"wd": "weight_decay", "lr": "lr"}.items():
        found = re.search(rf"{short}((?:_\d+)+)", label)
        if found:
            epochs = [int(text) for text in found[1].strip("_").split("_")]
            steps: Mapping[float, float] = {at * epoch: gamma for at in epochs}
            rules[entry] = multi_step(steps)
    return rules
