"""Whether Triton's interpreter runs here: imported only where Triton is there."""

import torch
import triton
import triton.language as tl


@triton.jit
def _count(out, n):
    total = 0
    for _ in range(0, n):
        total += 1
    tl.store(out, total)


def runs() -> bool:
    """Triton 3.6 and older do not with numpy 2.4 and newer, nor where it was imported before."""
    out = torch.zeros(1, dtype=torch.int32)
    try:
        _count[(1,)](out, 3)
    except Exception:
        return False
    return out.item() == 3
