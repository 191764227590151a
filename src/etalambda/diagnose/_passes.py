"""What changed since a copy of the weights was made, tensor by tensor, in as few passes as we can.

Three numbers a tensor say all there is to know: ‖w‖ of the copy, ‖u‖ of the change, and ⟨u, w⟩.
On a CPU one pass in blocks that fit the cache takes the sums and renews the copy. On an
accelerator torch's multi-tensor kernels take norms only, so ⟨u, w⟩ comes by polarization, with u
scaled to the length of w, which loses no digits:

    ⟨su, w⟩ = (‖w + su‖² - ‖w - su‖²)/4,       s = ‖w‖/‖u‖ of all tensors together

The angle is atan2(‖u⊥‖, ‖w‖ + u∥), which is exact for small turns: every part is as small as u.
Neither way makes the host wait: the numbers come as `Deferred`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from etalambda.diagnose._rows import Deferred

_BLOCK = 1 << 17  # half a MiB of float32: large against a call, small against the cache
_SMALL = 1 << 12
PLAIN = {Tensor, torch.nn.Parameter}


class Turns:
    """Copies of the weights, and what became of them since.

    The first call makes the copies and returns None. Later ones give four float64 vectors, one
    entry a tensor: ``norm`` (of the weights now), ``update``, ``along`` (the part of the update
    along the old weight) and ``before`` (the norm of the copy).
    """

    def __init__(self) -> None:
        self._copies: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, params: Sequence[Tensor]) -> Deferred | None:
        now = [p.detach() for p in params]
        places = [(c.shape, c.device, c.dtype) for c in self._copies]
        if places != [(p.shape, p.device, p.dtype) for p in now]:
            self._copies = [p.clone(memory_format=torch.contiguous_format) for p in now]
            return None
        if _plain(now) and all(p.device.type == "cpu" for p in now):
            rows = [_one_pass(old, new) for old, new in zip(self._copies, now)]
            return Deferred([torch.tensor(rows, dtype=torch.float64)], _from_sums)
        sent = _by_norms(self._copies, now)
        if _plain(now):
            torch._foreach_copy_(self._copies, now)
        else:
            for copy, p in zip(self._copies, now):
                copy.copy_(p)
        return sent


def angles(seen: dict[str, Tensor]) -> Tensor:
    """The angle between the weights of the copy and of now, radians; 0 for a weight of norm 0."""
    across = (seen["update"].square() - seen["along"].square()).clamp_min(0).sqrt()
    turned = torch.atan2(across, seen["before"] + seen["along"])
    return torch.where((seen["before"] > 0) & (seen["norm"] > 0), turned, 0.0)


def norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The norm of each tensor, 0-d; the whole norm of a sharded one."""
    if not tensors:
        return []
    dtype = torch.float32 if _half(tensors) else None
    if _plain(tensors):
        return list(torch._foreach_norm(list(tensors), 2, dtype))
    found = [torch.linalg.vector_norm(t, dtype=dtype) for t in tensors]
    return [n.full_tensor() if hasattr(n, "full_tensor") else n for n in found]


def _plain(tensors: Sequence[Tensor]) -> bool:
    return set(map(type, tensors)) <= PLAIN


def _half(tensors: Sequence[Tensor]) -> bool:
    return any(t.dtype in (torch.float16, torch.bfloat16) for t in tensors)


def _one_pass(old: Tensor, new: Tensor) -> list[float]:
    """‖old‖², ‖new - old‖² and ⟨new - old, old⟩; ``old`` becomes ``new``."""
    sums = [0.0] * 3
    real = [torch.view_as_real(t) if t.is_complex() else t for t in (old, new)]
    was, now = (t.reshape(-1) for t in real)
    # Small tensors are free to be exact; large ones resolve angles to 3e-4 of ‖u‖/‖w‖.
    wide = torch.float64 if len(was) <= _SMALL else torch.float32
    for kept, new in zip(was.split(_BLOCK), now.split(_BLOCK)):
        w, n = (t if t.dtype == torch.float64 else t.to(wide) for t in (kept, new))
        u = n - w
        for i, (a, b) in enumerate(((w, w), (u, u), (u, w))):
            sums[i] += float(torch.dot(a, b))
        kept.copy_(new)
    return sums


def _from_sums(numbers: Tensor) -> dict[str, Tensor]:
    before, update, dot = numbers.reshape(-1, 3).T
    return _turned(before.sqrt(), update.sqrt(), dot)


def _turned(before: Tensor, update: Tensor, dot: Tensor) -> dict[str, Tensor]:
    along = torch.where(before > 0, dot / before, 0.0).clamp(-update, update)
    across = update.square() - along.square()
    norm = ((before + along).square() + across).sqrt()
    return dict(norm=norm, update=update, along=along, before=before)


def _by_norms(old: list[Tensor], new: list[Tensor]) -> Deferred:
    """The same by norms of lists alone: few kernels, whatever the number of tensors."""
    if _half(old):
        old, new = [o.float() for o in old], [n.float() for n in new]
    plain = _plain(old)
    change = list(torch._foreach_sub(new, old)) if plain else [n - o for n, o in zip(new, old)]
    before, update = norms(old), norms(change)
    sizes = [torch.linalg.vector_norm(torch.stack(n).float()) for n in (before, update)]
    scale = torch.where(sizes[1] > 0, sizes[0] / sizes[1], 1.0)
    if plain:
        torch._foreach_mul_(change, scale.to(change[0].dtype))
        plus, minus = (norms(f(old, change)) for f in (torch._foreach_add, torch._foreach_sub))
    else:
        scaled = [c * _like(scale, c) for c in change]
        plus = norms([o + c for o, c in zip(old, scaled)])
        minus = norms([o - c for o, c in zip(old, scaled)])

    def finish(numbers: Tensor) -> dict[str, Tensor]:
        s, (before, update, plus, minus) = numbers[-1], numbers[:-1].reshape(4, -1)
        return _turned(before, update, (plus.square() - minus.square()) / (4 * s))

    return Deferred([*before, *update, *plus, *minus, scale], finish)


def _like(scale: Tensor, tensor: Tensor) -> Tensor:
    """A number in the kind of a tensor: on every rank of the mesh of a sharded one."""
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return scale.to(tensor.dtype)
    from torch.distributed.tensor import DTensor, Replicate

    return DTensor.from_local(scale.to(tensor.dtype), mesh, [Replicate()] * mesh.ndim)
