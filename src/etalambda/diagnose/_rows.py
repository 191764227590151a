"""Rows of numbers that may still be on a GPU: sent to the host together, read without waiting.

A row's device tensors are laid side by side in one slot of a ring on the device, copied to pinned
memory in the stream's own time, and read once their event has passed: a row or so later. Nothing
here calls ``.item()`` on a device tensor before that, so that
``torch.cuda.set_sync_debug_mode("error")`` stays quiet.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

SLOTS = 64


class Deferred(NamedTuple):
    """Tensors, and what to make of their numbers once these are on the host.

    ``finish`` gets all numbers in order as one float64 vector and returns a mapping of entries.
    """

    tensors: Sequence[Tensor]
    finish: Callable[[Tensor], Mapping[str, Any]]


class Late:
    """Numbers on their way: ``ready()`` asks without waiting, ``read()`` waits if it must."""

    def __init__(self, host: Tensor, event: Any = None) -> None:
        self._host, self._event = host, event
        self._arrived = event is None

    def ready(self) -> bool:
        """Whether ``read`` would return at once."""
        return self._arrived or self._event.query()

    def read(self) -> Tensor:
        """The numbers, in the order of the tensors that were sent: float64 on the CPU."""
        if not self._arrived:
            self._event.synchronize()
            self._host, self._arrived = self._host.clone(), True  # the slot is used again
        return self._host


class Ring:
    """``SLOTS`` rows of numbers on a device, and as many in pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._next = device, 0
        self._sent: list[Late] = []
        self._grow(0)

    @torch.no_grad()
    def send(self, tensors: Sequence[Tensor]) -> Late:
        """Start the way of these tensors (all on the ring's device) to the host.

        One kernel a run of equal dtypes: sorted by dtype they cost as many as there are dtypes.
        """
        flat = [t.detach().reshape(-1) for t in tensors]
        parts = [torch.cat(list(run)) for _, run in groupby(flat, key=lambda t: t.dtype)]
        width = sum(len(part) for part in parts)
        if width > self._rows.shape[1]:
            self._grow(width)
        if len(self._sent) == SLOTS:
            self._sent.pop(0).read()  # SLOTS rows old: it arrived long ago
        slot, self._next = self._next, (self._next + 1) % SLOTS
        row, host = self._rows[slot, :width], self._host[slot, :width]
        for piece, part in zip(row.split([len(part) for part in parts]), parts):
            piece.copy_(part)
        host.copy_(row, non_blocking=True)
        event = None
        if self._device.type == "cuda":
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self._device))
        self._sent.append(Late(host, event) if event is not None else Late(host.clone()))
        return self._sent[-1]

    def _grow(self, width: int) -> None:
        for late in self._sent:
            late.read()
        pinned = self._device.type == "cuda"
        self._rows = torch.empty(SLOTS, width, dtype=torch.float64, device=self._device)
        self._host = torch.empty(SLOTS, width, dtype=torch.float64, pin_memory=pinned)
        self._sent, self._next = [], 0


class Row:
    """One row of a `Monitor`: named numbers, some of which may still be on their way.

    Args:
        values: Name -> number, tensor, list, mapping or `Deferred`; see ``Monitor``.
        rings: One a device; this row adds those that it needs.
    """

    def __init__(self, values: Mapping[str, Any], rings: dict[torch.device, Ring]) -> None:
        self._values = dict(values)
        self._late: list[tuple[Late, list[Tensor]]] = []
        tensors: dict[torch.device, list[Tensor]] = {}
        for tensor in _tensors(self._values):
            if _away(tensor):
                tensors.setdefault(tensor.device, []).append(tensor)
        for device, sent in tensors.items():
            sent.sort(key=lambda t: str(t.dtype))
            ring = rings.setdefault(device, Ring(device)) if device not in rings else rings[device]
            self._late.append((ring.send(sent), sent))

    def ready(self) -> bool:
        """Whether ``read`` would return at once."""
        return all(late.ready() for late, _ in self._late)

    def read(self) -> dict[str, Any]:
        """The row as plain numbers, under flat names."""
        there: dict[int, Tensor] = {}
        for late, sent in self._late:
            parts = late.read().split([t.numel() for t in sent])
            there |= {id(t): part for t, part in zip(sent, parts)}
        row: dict[str, Any] = {}
        for name, value in self._values.items():
            row |= _flat(name, value, there)
        return row


def _away(tensor: Tensor) -> bool:
    """Whether reading it makes the host wait."""
    return tensor.device.type != "cpu"


def _tensors(value: Any) -> list[Tensor]:
    """Every tensor in a value, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Deferred):
        return list(value.tensors)
    if isinstance(value, Mapping):
        return [t for entry in value.values() for t in _tensors(entry)]
    if isinstance(value, list | tuple):
        return [t for entry in value for t in _tensors(entry)]
    return []


def _flat(name: str, value: Any, there: Mapping[int, Tensor]) -> dict[str, Any]:
    """``{name: number}``, or one entry a key or position for what holds several."""
    if isinstance(value, Tensor):
        numbers = there.get(id(value))
        host = (value.detach() if numbers is None else numbers).reshape(value.shape)
        value = host.tolist() if host.ndim else host.item()
    elif isinstance(value, Deferred):
        parts = [there.get(id(t), t.detach()).reshape(-1).double() for t in value.tensors]
        value = value.finish(torch.cat(parts))
    entries: Any = None
    if isinstance(value, Mapping):
        entries = value.items()
    elif isinstance(value, list | tuple):
        entries = enumerate(value)
    if entries is None:
        return {name: value}
    row: dict[str, Any] = {}
    for key, entry in entries:
        row |= _flat("/".join(part for part in (name, str(key)) if part), entry, there)
    return row
