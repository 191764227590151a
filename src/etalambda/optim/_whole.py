"""An optimizer whose step needs one number of the whole model: v̄, the mean of v̂.

It spans param groups, devices and ranks; elements without a gradient are in neither sum nor count.
"""

import math
from typing import Any

import torch
from torch import Tensor

from etalambda.optim import _mean, _v_sums
from etalambda.optim._base import Base, Lists
from etalambda.optim.convert import v_mean_of


class Whole(Base):
    """Base of AdamS, Adai and AdaiS."""

    def _pieces(self, active: list[Lists]) -> list[Lists]:
        """The active tensors, those apart that are split over the ranks in another way."""
        group = getattr(self, "_process_group", None)
        return [piece for lists in active for piece in _mean.by_layout(lists, group)]

    def _memory(self) -> dict[Tensor, Any]:
        """Σv of each parameter, with the tensor and version that it was taken from."""
        if torch.compiler.is_compiling():  # no path there remembers, and no attribute may be set
            return {}
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

    def _keep(self, v_mean: Tensor, parts: list[Any]) -> None:
        """Remember v̄ for `v_mean`, after the step; one that GradScaler skips leaves the former."""
        if torch.compiler.is_compiling():
            return  # notes are lost there; `v_mean` sees that the counter went on
        v_mean, found_inf = v_mean.detach(), getattr(self, "found_inf", None)
        if found_inf is not None:
            former = self.__dict__.get("_latest")
            former = torch.zeros_like(v_mean) if former is None else former
            overflow = found_inf.to(v_mean.device).reshape(()) > 0
            v_mean = former.copy_(torch.where(overflow, former, v_mean))  # in place: CUDA graphs
        self._note(v_mean, *[part.lists.params[0] for part in parts[:1]])

    def _note(self, v_mean: Tensor, *first: Tensor) -> None:
        """Keep v̄ for `v_mean`, and the age of a parameter to tell when it is out of date."""
        self._latest = v_mean
        self._latest_ages = [(p, _age(self.state[p])) for p in first]

    def v_mean(self) -> Tensor | None:
        """v̄, the mean of v̂ over the model, as the last step had it; None before the first step.

        A 0-d float64 tensor that a step leaves behind: monitors may read it at every step. It
        stays on its device, so only who asks for the number waits. After loading or copying, and
        after a step under torch.compile, v̄ is summed from the state instead: over all elements
        that have moments, also those without a gradient at the last step. With sharded
        parameters every rank has to ask then.

        Example:
            >>> from etalambda.optim import AdamS
            >>> w = torch.nn.Parameter(torch.ones(3))
            >>> optimizer = AdamS([w])
            >>> optimizer.v_mean() is None
            True
            >>> (2 * w.sum()).backward()
            >>> optimizer.step()
            >>> optimizer.v_mean()
            tensor(4.0000, dtype=torch.float64)
        """
        if not self.state:
            return None
        latest = self.__dict__.get("_latest")
        ages = self.__dict__.get("_latest_ages", ())
        if latest is not None and all(_same_age(self.state[p], age) for p, age in ages):
            return latest.clone()
        try:
            mean = v_mean_of(self, getattr(self, "_process_group", None))
        except ValueError:  # state, but no moments yet
            return None
        home = self.param_groups[0]["params"][0].device
        return torch.tensor(mean, dtype=torch.float64, device=home)

    # --- state ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        if getattr(self, "_process_group", None) is not None:
            raise TypeError(
                "process_group cannot be copied or pickled; save state_dict() and build the "
                "optimizer anew"
            )
        return super().__getstate__() | {_v_sums.KEY: _v_sums.saved(self, self._memory())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        rows = state.pop(_v_sums.KEY, ())
        super().__setstate__(state)
        self.__dict__.pop("_latest", None)
        self._memory().clear()
        _v_sums.restore(self, self._memory(), rows)

    def state_dict(self) -> dict[str, Any]:
        """torch's state, and beside it Σv as the recursion of v has it.

        To read it leaves a run as it is, to the last bit, and so does a load from it into the
        same process or another. What takes "state" and "param_groups" alone (distributed
        checkpoints, AdamW) loses Σv; it is then summed anew, which moves the weights of a
        float32 run by some 1e-9.
        """
        return super().state_dict() | {_v_sums.KEY: _v_sums.saved(self, self._memory())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; what its groups do not name keeps the value that it has here."""
        super().load_state_dict(state_dict)
        _v_sums.restore(self, self._memory(), state_dict.get(_v_sums.KEY, ()))


def _age(state: dict[str, Any]) -> tuple[Any, int]:
    """Which counter a state has, and how often it was written: no look at its value."""
    step = state.get("step")
    return step, getattr(step, "_version", 0)


def _same_age(state: dict[str, Any], age: tuple[Any, int]) -> bool:
    step, version = _age(state)
    return step is age[0] and version == age[1]
