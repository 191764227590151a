"""AdamS on CUDA in one pass over the tensors: three kernel launches a step, and no wait.

    sums_of_chunks    Σg² of every chunk: read only, skipped when the lag below is harmless
    decide            one program: v̄, the decay and the step size of every tensor, the counters
    move              the step itself, and Σv of every chunk as it leaves it

v̄_t needs all gradients before the first weight moves, which costs a pass of its own (8 words an
element instead of AdamW's 7). `move` has v_t in registers, so Σv_t is free, but one step late. So
where it is harmless the decay is taken from v̄_{t-1}, and what that missed is made up for:

    kept_t = 1 - c_t(v̄_{t-1}) - [c_{t-1}(v̄_{t-1}) - c_{t-1}(v̄_{t-2})],    c_t(v̄) = η_t λ_t v̄^(-p)

`decide` measures what a lag leaves out at each step. Below 2^-23 of a weight, which float32 cannot
hold, the next step may lag; otherwise, for c above 1e-3, for float64 and with ``max_norm``, the
first pass is made and the step is exact. All of it stays on the device and in a CUDA graph, and so
do λ, η, the counters and the decision to skip a step on overflow.

Departures from the paper: the lag, at most 1e-7 of a weight while v̄ changes as it did the step
before. Gradients are left as they are: neither unscaled nor clipped in place.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from operator import is_
from typing import Any

import torch
from torch import Tensor

from etalambda.optim._base import Lists, advance_steps, as_float
from etalambda.optim._fused import DTYPE, dense_together
from etalambda.optim._triton_launch import Launch

NAMES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
LAG = 2.0**-23  # of a weight
# How the work is cut, from so many elements on: few elements still fill the chip. Of ten cuts of
# 11, 30 and 300 million elements on an H200 chunks of 4096 and of 8192 were the fastest, within 1 %
# of each other (docs/evidence/bench-optim-gpu); the fewer chunks, the less `decide` has to sum.
CUTS = {
    0: dict(chunk=4096, block=1024, warps=4),
    1 << 23: dict(chunk=8192, block=1024, warps=4),
}
DECIDE, DECIDE_WARPS = dict(BLOCK=2048, TENSORS=512), 16


def counts_on_device(lists: Lists) -> bool:
    """Whether the counters lie on the device; else they are numbers of the host."""
    return bool(lists.group["capturable"] or lists.group["fused"])


def aligned(groups: list[Lists]) -> bool:
    """Whether every gradient and buffer is laid out in memory as its weight, in one dtype."""
    return all(dense_together(x.pick([i])) for x in groups for i in range(len(x.weights)))


def capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


class SinglePass:
    """What the kernels share for one set of tensors. Addresses baked into a graph stay valid."""

    def __init__(self, groups: list[Lists], key: tuple[Any, ...]) -> None:
        self.key, self.stale, self.captured = key, True, False
        self.kernels: Any = import_module("etalambda.optim._adams_kernels")
        self.decision: Any = import_module("etalambda.optim._adams_decision")
        weights = [w for lists in groups for w in lists.weights]
        self.home = home = weights[0].device
        self.dtypes = list(map(DTYPE, weights))
        self.contiguous = all(map(Tensor.is_contiguous, weights))
        self.amsgrad = bool(groups[0].group["amsgrad"])
        numels = [w.numel() for w in weights]
        self.shape = CUTS[max(least for least in CUTS if least <= sum(numels))]
        kinds = [
            (w.dtype, bool(lists.group["maximize"])) for lists in groups for w in lists.weights
        ]
        self._cut(numels, kinds)
        count, chunks = len(weights), len(self.tensor_of)
        self.ages = torch.zeros(count, device=home)  # counters of those that count on the host
        self.counters: list[Tensor] = []
        self.table = torch.tensor(self._rows(groups, numels), dtype=torch.int64, device=home)
        self.hyper = torch.zeros(len(groups), 6, dtype=torch.float64, device=home)
        self.cells = [list(row.unbind()) for row in self.hyper.unbind()]
        self.known = [[float("nan")] * 6 for _ in groups]
        self.weighed: list[Any] = []  # β2 of the groups when their sums were last weighed
        self.sums = torch.zeros(chunks, dtype=torch.float64, device=home)
        self.ahead = torch.zeros_like(self.sums)
        self.coefs = torch.zeros(count, 8, dtype=torch.float64, device=home)
        lag = 0.0 if torch.float64 in self.dtypes else LAG
        dial = [1.0, 0.0, 1.0, max(sum(numels), 1), lag, 1.0, 0.0]
        self.dial = torch.tensor(dial, dtype=torch.float64, device=home)
        self.max_norm, self.limit = self.dial[5], float("nan")
        self.v_mean = self.dial[6]
        self.pointers: list[int] | None = None
        self._new_table()
        several = home.type == "cuda" and torch.cuda.device_count() > 1
        self.guard: Any = torch.cuda.device(home) if several else nullcontext()
        self.frozen: list[Tensor] = []  # tables of gradients that a graph reads
        self.last: Any = None  # the lists of the last step: see `_adams_plans`

    def _cut(self, numels: list[int], kinds: list[tuple[torch.dtype, bool]]) -> None:
        """Chunks of every tensor, those of one dtype and sign next to each other."""
        order = sorted(range(len(numels)), key=lambda i: (str(kinds[i]), i))
        length = self.shape["chunk"]
        each = torch.tensor([-(-numels[i] // length) for i in order])
        tensor_of = torch.repeat_interleave(torch.tensor(order), each)
        begins = torch.repeat_interleave(each.cumsum(0) - each, each)
        starts = (torch.arange(len(tensor_of)) - begins) * length
        self.bundles: list[tuple[Any, bool, int, int]] = []  # dtype, maximize, first chunk, chunks
        for kind in dict.fromkeys(kinds[i] for i in order):
            size = sum(int(n) for n, i in zip(each, order) if kinds[i] == kind)
            first = sum(bundle[3] for bundle in self.bundles)
            if size:
                self.bundles.append((*kind, first, size))
        self.tensor_of = tensor_of.to(self.home, torch.int32)
        self.start_of = starts.to(self.home, torch.int64)

    def _rows(self, groups: list[Lists], numels: list[int]) -> list[list[int]]:
        """The table of tensors, in the columns of `_adams_decision`."""
        rows = []
        for index, lists in enumerate(groups):
            columns = [lists.buffers.get(name, [None] * len(lists.weights)) for name in NAMES]
            for p, step, *buffers in zip(lists.weights, lists.steps, *columns):
                at = [0 if b is None else b.data_ptr() for b in buffers]
                own = self.ages[len(rows)]
                pointer = (step if counts_on_device(lists) else own).data_ptr()
                rows.append([p.data_ptr(), *at, pointer, numels[len(rows)], index])
        return rows

    def fits(self, groups: list[Lists]) -> bool:
        """Whether the gradients are laid out as their weights, in their dtypes."""
        grads = [g for lists in groups for g in lists.grads]
        if self.contiguous and all(map(Tensor.is_contiguous, grads)):
            return list(map(DTYPE, grads)) == self.dtypes
        return aligned(groups)

    def reseed(self) -> None:
        """Measure Σv anew and start without a lag: a run that is resumed from here does so too."""
        column = self.decision.MAX_EXP_AVG_SQ if self.amsgrad else self.decision.EXP_AVG_SQ
        with self.guard:
            for launch in self._sums(self.sums, "v", column.value, True, None):
                launch()
        self.coefs[:, 3:5].zero_()
        self.dial[0].fill_(1.0)
        self.stale = False

    def _weigh(self) -> None:
        count, size = len(self.dtypes), DECIDE["TENSORS"]
        with self.guard:
            self.decision.weigh[(-(-count // size),)](
                self.table, self.hyper, self.coefs, count, TENSORS=size
            )

    def step(self, groups: list[Lists], scale: Tensor | None, found_inf: Tensor | None) -> None:
        """Take one step."""
        recording = capturing(self.home)
        self.captured |= recording
        self._set_grads([g for lists in groups for g in lists.grads], recording)
        self._set_hyper([lists.group for lists in groups], recording)
        self._set_ages(groups)
        if self.stale:
            self.reseed()
            self.weighed = []
        betas2 = [as_float(lists.group["betas"][1]) for lists in groups]
        if betas2 != self.weighed:
            self._weigh()
            self.weighed = betas2
        with self.guard:
            self._launch(groups[0].group["max_norm"] is not None, scale, found_inf)
        for lists in groups:
            if not counts_on_device(lists):
                advance_steps(lists)
        self.counters = [s for lists in groups for s in lists.steps]

    def _launch(self, clip: bool, scale: Tensor | None, found_inf: Tensor | None) -> None:
        if scale is found_inf is None:
            if clip not in self.launches:
                self.launches[clip] = self._prepared(clip, None, None)
            launches = self.launches[clip]
        else:  # tensors of somebody else's: nothing is known of the next step's
            launches = self._prepared(clip, scale, found_inf)
        for launch in launches:
            launch()

    def _prepared(self, clip: bool, scale: Any, found_inf: Any) -> list[Launch]:
        made: list[Launch] = []
        if self.bundles:
            what, column = "peak" if self.amsgrad else "g2", self.decision.EXP_AVG_SQ.value
            made += self._sums(self.ahead, what, column, clip, scale if self.amsgrad else None)
        arguments = dict(
            table=self.table, tensor_of=self.tensor_of, hyper=self.hyper, sums=self.sums,
            ahead=self.ahead, coefs=self.coefs, dial=self.dial,
            scale=self.dial if scale is None else scale,
            found_inf=self.dial if found_inf is None else found_inf,
            chunks=len(self.tensor_of), tensors=len(self.dtypes), SCALED=scale is not None,
            CHECKED=found_inf is not None, CLIP=clip, PEAKS=self.amsgrad,
        )  # fmt: skip
        made.append(Launch(self.decision.decide, 1, arguments | DECIDE, num_warps=DECIDE_WARPS))
        for dtype, maximize, first, size in self.bundles:
            arguments = self._arguments(dtype) | dict(
                coefs=self.coefs, sums=self.sums, last=first + size - 1, AMSGRAD=self.amsgrad,
                MAXIMIZE=maximize,
            )  # fmt: skip
            made.append(self._one(self.kernels.move, size, arguments))
        return made

    def _sums(self, out: Tensor, what: str, column: int, always: bool, scale: Any) -> list[Launch]:
        made = []
        for dtype, _, first, size in self.bundles:
            arguments = self._arguments(dtype) | dict(
                scale=self.dial if scale is None else scale, out=out, first=first, WHAT=what,
                COLUMN=column, ALWAYS=always, SCALED=scale is not None,
            )  # fmt: skip
            made.append(self._one(self.kernels.sums_of_chunks, size, arguments))
        return made

    def _one(self, kernel: Any, programs: int, arguments: dict[str, Any]) -> Launch:
        return Launch(kernel, programs, arguments, num_warps=self.shape["warps"])

    def _arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        tl = self.kernels.tl
        wide = tl.float64 if dtype == torch.float64 else tl.float32
        return dict(
            table=self.table, grads=self.grads, tensor_of=self.tensor_of, start_of=self.start_of,
            hyper=self.hyper, dial=self.dial, WIDE=wide,
            DTYPE=getattr(tl, str(dtype).removeprefix("torch.")),
            CHUNK=self.shape["chunk"], BLOCK=self.shape["block"],
        )  # fmt: skip

    # --- what changes from step to step, written without a wait ---------------------------------

    def _new_table(self) -> None:
        """An empty table of the gradients' addresses, and with it new launches."""
        self.grads = torch.zeros(len(self.dtypes), dtype=torch.int64, device=self.home)
        self.slots, self.held = list(self.grads.unbind()), [0] * len(self.dtypes)
        self.launches: dict[bool, list[Launch]] = {}

    def _set_grads(self, grads: Sequence[Tensor], recording: bool) -> None:
        """Addresses travel as kernel arguments: a copy from the host would wait for the device."""
        pointers = list(map(Tensor.data_ptr, grads))
        if pointers != self.pointers:
            if recording or any(self.grads is t for t in self.frozen):
                self._new_table()
            moved = [i for i, (a, b) in enumerate(zip(pointers, self.held)) if a != b]
            if moved:
                slots = [self.slots[i] for i in moved]
                torch._foreach_add_(slots, [pointers[i] - self.held[i] for i in moved])
            self.held = pointers
            # What a capture records has not run: the next eager step writes a table of its own.
            self.pointers = None if recording else pointers
        if recording:
            self.frozen.append(self.grads)

    def _set_hyper(self, groups: list[dict[str, Any]], recording: bool) -> None:
        for cells, known, group in zip(self.cells, self.known, groups):
            values = [group[name] for name in ("lr", "weight_decay", "eps", "power")]
            for column, value in enumerate([*values[:2], *group["betas"], *values[2:]]):
                if isinstance(value, Tensor) and value.device.type != "cpu":
                    cells[column].copy_(value.detach().reshape(()))
                    known[column] = float("nan")
                    continue
                value = as_float(value)
                if recording or known[column] != value:
                    cells[column].fill_(value)
                    known[column] = float("nan") if recording else value
        limit = groups[0]["max_norm"]
        if limit is not None and (recording or limit != self.limit):
            self.max_norm.fill_(limit)
            self.limit = float("nan") if recording else limit

    def _set_ages(self, groups: list[Lists]) -> None:
        """Copy counters that the host keeps, if others than ours are there."""
        steps = [s for lists in groups for s in lists.steps]
        if len(steps) == len(self.counters) and all(map(is_, steps, self.counters)):
            return
        on_host = [not counts_on_device(lists) for lists in groups for _ in lists.steps]
        if any(on_host):
            self.weighed = []
            self.ages.copy_(torch.tensor([s.item() if h else 0.0 for s, h in zip(steps, on_host)]))
