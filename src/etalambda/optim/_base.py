"""What every optimizer here shares: arguments checked as torch does, state, and plain views.

The update itself is never here: it is a pure rule of `functional`, or an engine that is tested
against one. Parameters may be sharded (DTensor) or complex; engines see plain, real, local
tensors, and what must be known of the whole model goes through `_mean`.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter, is_
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT, _get_scalar_dtype, _use_grad_for_differentiable

from etalambda.optim._checks import check_flags, check_fused

FLAGS: dict[str, Any] = dict(
    maximize=False, foreach=None, capturable=False, differentiable=False, fused=None
)
HALF = (torch.float16, torch.bfloat16)
PLAIN = {Tensor, torch.nn.Parameter}
LAYOUT = attrgetter("layout")


def as_float(value: float | Tensor) -> float:
    """A hyperparameter on the host; a tensor on a device costs one wait."""
    return value.item() if isinstance(value, Tensor) else float(value)


def scalar(value: Any) -> Any:
    """A 1-element tensor as a 0-d one, so that it never widens a 0-d weight."""
    return value.reshape(()) if isinstance(value, Tensor) and value.dim() else value


def all_plain(params: list[Tensor]) -> bool:
    """Whether all are ordinary real tensors, which need no view to be updated."""
    return set(map(type, params)) <= PLAIN and not any(map(Tensor.is_complex, params))


def plain(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """The real, local tensor behind a complex or sharded one: a view, writes go through.

    ``like`` is the parameter of a gradient that may be laid out differently on the mesh.
    """
    if hasattr(tensor, "to_local"):
        if like is not None and tensor.placements != like.placements:  # type: ignore[attr-defined]
            tensor = tensor.redistribute(placements=like.placements)  # type: ignore[attr-defined]
        tensor = tensor.to_local()  # type: ignore[attr-defined]
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


class Lists:
    """The tensors of one param group that have a gradient, as parallel lists.

    ``params`` are the keys of the state; ``weights``, ``grads`` and ``buffers`` are plain views.
    """

    __slots__ = ("buffers", "grads", "group", "params", "states", "steps", "weights")

    def __init__(self, group: dict[str, Any], names: Sequence[str]) -> None:
        self.group = group
        self.params: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.grads: list[Tensor] = []
        self.steps: list[Tensor] = []
        self.states: list[dict[str, Any]] = []  # empty while compiling
        self.buffers: dict[str, list[Tensor]] = {name: [] for name in names}

    def pick(self, indices: Sequence[int]) -> "Lists":
        """The entries at ``indices``, as lists of their own."""
        part = Lists(self.group, ())
        for name in ("params", "weights", "grads", "steps", "states"):
            values = getattr(self, name)
            setattr(part, name, [values[i] for i in indices] if values else [])
        part.buffers = {k: [v[i] for i in indices] for k, v in self.buffers.items()}
        return part

    def make_plain(self) -> None:
        """Replace sharded and complex tensors by their plain views, if there are any."""
        if all_plain(self.params):
            return
        self.weights = [plain(p) for p in self.params]
        self.grads = [plain(g, p) for g, p in zip(self.grads, self.params)]
        self.buffers = {k: [plain(b) for b in v] for k, v in self.buffers.items()}


class Base(Optimizer):
    """An optimizer whose state is made lazily, checked, and moved between torch's classes."""

    _OPTIONS: ClassVar[dict[str, Any]] = FLAGS  # back-filled into groups that lack them

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        check_flags(defaults)
        super().__init__(params, defaults)
        self._set_amp_flag()

    def _set_amp_flag(self) -> None:
        # GradScaler leaves unscaling and the check for overflow to a fused step.
        self._step_supports_amp_scaling = bool(self.defaults.get("fused"))

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The buffers that each parameter of the group has."""
        raise NotImplementedError

    def _update(self, active: list[Lists]) -> None:
        """Move the weights. One entry a param group, empty ones included."""
        raise NotImplementedError

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure``, if given, recomputes the loss and its gradients."""
        if "capturable" in self.defaults:  # else nothing of a step has to be on the device
            check = getattr(self, "_accelerator_graph_capture_health_check", None)
            (check or self._cuda_graph_capture_health_check)()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        active = None if torch.compiler.is_compiling() else self._standing()
        if active is None:
            active = []
            for group in self.param_groups:
                again = None if torch.compiler.is_compiling() else self._again(group)
                active.append(again or self._gathered(group))
        self._update(active)
        return loss

    def _standing(self) -> list[Lists] | None:
        """`_again` of all groups at once, where that is asked of the whole optimizer."""
        return None

    def _again(self, group: dict[str, Any]) -> Lists | None:
        """The lists of the last step with the gradients of this one, if nothing else changed."""
        return None

    def _gathered(self, group: dict[str, Any]) -> Lists:
        lists = Lists(group, self._names(group))
        columns = (lists.params, lists.grads, lists.steps, *lists.buffers.values())
        if torch.compiler.is_compiling():
            self._init_group(group, *columns)
        else:
            self._init_group(group, *columns, states=lists.states)
        lists.weights = lists.params
        lists.make_plain()
        return lists

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        steps: list[Tensor],
        *buffers: list[Tensor],
        states: list[dict[str, Any]] | None = None,
    ) -> None:
        """Fill the lists with what has a gradient; torch.compile runs this outside its graph."""
        everyone = group["params"]
        every_grad = [p.grad for p in everyone]
        grads += [g for g in every_grad if g is not None]
        if set(map(LAYOUT, grads)) - {torch.strided}:
            raise RuntimeError(
                f"{type(self).__name__} does not support sparse gradients; "
                "build the embedding with sparse=False"
            )
        if group["fused"]:
            for p in everyone:
                check_fused(p)
        whole = len(grads) == len(everyone)
        params += everyone if whole else [p for p in everyone if p.grad is not None]
        if not buffers:
            return  # nothing to remember: the state stays empty
        found = [self.state[p] for p in params]
        if not all(found):
            for p, state in zip(params, found):
                if not state:
                    self._init_state(p, group, state)
        if states is None or group.get("capturable"):
            self._unshare_steps()  # these count in place
        if states is not None:
            states += found
        steps += [state["step"] for state in found]
        for name, column in zip(self._names(group), buffers):
            column += [state[name] for state in found]

    def _init_state(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        state["step"] = self._new_step(p, group, 0.0)
        for name in self._names(group):
            state[name] = torch.zeros_like(p, memory_format=torch.preserve_format)

    def _new_step(self, p: Tensor, group: dict[str, Any], value: float) -> Tensor:
        """The counter, on the host unless the step itself must stay on the device."""
        on_device = group.get("capturable") or group["fused"]
        dtype = _get_scalar_dtype(is_fused=group["fused"])
        return torch.full((), value, dtype=dtype, device=p.device if on_device else "cpu")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self._OPTIONS.items():
                group.setdefault(name, value)
            for p in group["params"]:
                own = self.state.get(p, {})
                if "step" in own and not torch.is_tensor(own["step"]):
                    own["step"] = self._new_step(p, group, float(own["step"]))
        self._set_amp_flag()

    def _unshare_steps(self) -> None:
        """Give each parameter a counter of its own, as torch's optimizers expect to find."""
        seen: set[int] = set()
        for state in self.state.values():
            step = state.get("step")
            if isinstance(step, Tensor) and id(step) in seen:
                state["step"] = step.clone()
            seen.add(id(step))

    def __getstate__(self) -> dict[str, Any]:
        self._unshare_steps()
        return super().__getstate__()

    def state_dict(self) -> dict[str, Any]:
        """torch's state dict, with one counter a parameter."""
        self._unshare_steps()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; what its groups do not name keeps the value that it has here."""
        saved, mine = state_dict.get("param_groups", []), self.param_groups
        if len(saved) == len(mine):
            filled = []
            for theirs, ours in zip(saved, mine):
                kept = {k: v for k, v in ours.items() if k in self.defaults and k not in theirs}
                filled.append({**kept, **theirs})
            state_dict = {**state_dict, "param_groups": filled}
        super().load_state_dict(state_dict)


def working(tensors: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """What a pure rule computes with: half precision in float32, as kernels do in registers, and
    copies where autograd must keep the values that the step is about to replace."""
    keep = group["differentiable"]
    return [t.float() if t.dtype in HALF else t.clone() if keep else t for t in tensors]


def host_steps(lists: Lists) -> list[float] | list[Tensor]:
    """The counters as numbers, or as tensors where the host must not look at them."""
    if torch.compiler.is_compiling() or lists.group.get("capturable"):
        return [s.double() for s in lists.steps]
    return [s.item() for s in lists.steps]


def one_object(values: list[Any]) -> bool:
    """Whether a list holds one object over and over."""
    return all(map(is_, values, repeat(values[0])))


def advance_steps(lists: Lists) -> None:
    """Count this step. Counters may be shared, so they are replaced where addresses are free."""
    if lists.states and not lists.group.get("capturable"):
        if lists.steps and one_object(lists.steps):  # as this function has left them
            step = lists.steps[0] + 1
            lists.steps = [step] * len(lists.steps)
            for state in lists.states:
                state["step"] = step
            return
        new = {id(s): s for s in lists.steps}
        by_age: dict[Any, Tensor] = {}  # tensors of one age share one counter from here on
        for key, s in new.items():
            age = (s.item(), s.dtype) if s.device.type == "cpu" else key
            new[key] = by_age.setdefault(age, s + 1) if age not in by_age else by_age[age]
        lists.steps = [new[id(s)] for s in lists.steps]
        for state, step in zip(lists.states, lists.steps):
            state["step"] = step
    else:
        for step in lists.steps:
            step.add_(1)


def round_back(lists: Lists, weights: list[Tensor], buffers: dict[str, list[Tensor]]) -> None:
    """Round the float32 tensors of `working` into the live ones that they stand for, if any do."""
    columns = [(lists.weights, weights), *((lists.buffers[k], v) for k, v in buffers.items())]
    for live, worked in columns:
        pairs = [(old, new) for old, new in zip(live, worked) if old is not new]
        if pairs:
            torch._foreach_copy_([old for old, _ in pairs], [new for _, new in pairs])


def write_back(lists: Lists, weights: list[Tensor], state: dict[str, Any]) -> None:
    """Copy what a pure rule returned into the live tensors."""
    for name, buffers in lists.buffers.items():
        for old, new in zip(buffers, state[name]):
            old.copy_(new)
    for old, new in zip(lists.weights, weights):
        old.copy_(new)
