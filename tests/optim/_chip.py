"""Where the single pass of AdamS runs: on a GPU, or on the CPU in Triton's interpreter.

tests/conftest.py asks Triton for its interpreter where there is no GPU. A CUDA graph is emulated
there: in-place operations and launches are recorded, not run, and a replay runs them.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from etalambda.optim import _adams_plans, _adams_single_pass, _triton_launch
from tests.optim._cuda import graphed


class _Recorded(TorchDispatchMode):
    """Keeps operations that write to a tensor, instead of running them."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        written = [a for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]
        if not written:
            return func(*args, **kwargs)
        self.calls.append(lambda: func(*args, **kwargs))
        return args[0] if func._schema.returns else None

    def replay(self):
        for call in self.calls:
            call()


class Chip:
    """A device of tests, and what it has in place of CUDA graphs."""

    def __init__(self, device, monkeypatch):
        self.device, self.real = device, device == "cuda"
        self._monkeypatch = monkeypatch

    def put(self, tensors):
        """Copies of the tensors there, as parameters."""
        return [torch.nn.Parameter(t.detach().to(self.device, copy=True)) for t in tensors]

    def graphed(self, step):
        """``step`` after three steps that warm up; ``replay()`` takes it again."""
        if self.real:
            return graphed(step)
        for _ in range(3):
            step()
        graph, launch = _Recorded(), _triton_launch.Launch.__call__
        with self._monkeypatch.context() as patch:
            for module in (_adams_plans, _adams_single_pass):
                patch.setattr(module, "capturing", lambda device: True)
            patch.setattr(
                _triton_launch.Launch,
                "__call__",
                lambda self: graph.calls.append(lambda: launch(self)),
            )
            with graph:
                step()
        return graph


@pytest.fixture
def chip(monkeypatch):
    """A GPU if there is one, else the CPU and the interpreter; skips without Triton."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        return Chip("cuda", monkeypatch)
    from tests.optim import _interpreter

    if not _interpreter.runs():
        pytest.skip("Triton's interpreter does not run with this numpy")
    monkeypatch.setattr(_adams_plans, "DEVICES", ("cpu",))
    monkeypatch.setattr(_adams_plans, "_broken", [])
    # Few programs, as each of them takes the interpreter milliseconds.
    small = {
        0: dict(chunk=2048, block=1024, warps=4),
        1 << 12: dict(chunk=4096, block=2048, warps=4),
    }
    monkeypatch.setattr(_adams_single_pass, "CUTS", small)
    monkeypatch.setattr(_adams_single_pass, "DECIDE", dict(BLOCK=64, TENSORS=16))
    return Chip("cpu", monkeypatch)
