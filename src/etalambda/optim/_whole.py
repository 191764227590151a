"""An optimizer whose step needs one number of the whole model: v̄, the mean of v̂.

It spans param groups, devices and ranks; elements without a gradient are in neither sum nor count.
"""

import math
from typing import Any

import torch
from torch import Tensor

from etalambda.optim import _mean
from etalambda.optim._base import Base, Lists


class Whole(Base):
    """Base of AdamS, Adai and AdaiS."""

    def _pieces(self, active: list[Lists]) -> list[Lists]:
        """The active tensors, those apart that are split over the ranks in another way."""
        group = getattr(self, "_process_group", None)
        return [piece for lists in active for piece in _mean.by_layout(lists, group)]

    def _memory(self) -> dict[Tensor, Any]:
        """Σv of each parameter, with the tensor and version that it was taken from."""
        return self.__dict__.setdefault("_sums", {})

    def _layouts(self) -> list[_mean.Groups]:
        params = (p for group in self.param_groups for p in group["params"])
        return _mean.layouts(params, getattr(self, "_process_group", None))

    def _total(self, parts: list[Any], rows: list[Any], every: Any) -> list[Any]:
        """Each column of ``rows`` (one row a part) summed over the whole model."""
        if not every and not any(isinstance(x, Tensor) for row in rows for x in row):
            return [math.fsum(column) for column in zip(*rows)]
        process_group = getattr(self, "_process_group", None)
        where = [_mean.shard_groups(part.lists.params[0], process_group) for part in parts]
        home = next(p.device for group in self.param_groups for p in group["params"])
        return _mean.total(list(zip(where, rows)), every, 2, home)

    def _v_mean(self, parts: list[Any], every: Any, clip: Tensor | float) -> Any:
        """v̄ of the whole model: a float when the host has it, else a 0-d tensor."""
        rows = [(part.second_moment(clip), float(part.count)) for part in parts]
        v_sum, count = self._total(parts, rows, every)
        if isinstance(v_sum, Tensor):
            return v_sum / count.clamp_min(1)
        return torch.tensor(v_sum / max(count, 1.0), dtype=torch.float64)

    # --- state ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        if getattr(self, "_process_group", None) is not None:
            raise TypeError(
                "process_group cannot be copied or pickled; save state_dict() and build the "
                "optimizer anew"
            )
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._memory().clear()

    def state_dict(self) -> dict[str, Any]:
        """torch's state. A run that goes on and one that is resumed from it stay equal."""
        self._memory().clear()  # both measure Σv anew
        return super().state_dict()
