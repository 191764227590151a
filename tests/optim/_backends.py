"""The ways in which one step of AdamS can be taken."""

import pytest
import torch

BACKENDS = {
    "default": dict(),
    "forloop": dict(foreach=False),
    "foreach": dict(foreach=True),
    "fused": dict(fused=True),
    "capturable": dict(capturable=True),
    "capturable foreach": dict(capturable=True, foreach=True),
    "device": dict(capturable=True, fused=True),
    "tensor lr": dict(lr=torch.tensor(0.02, dtype=torch.float64)),
    "tensor decay": dict(weight_decay=torch.tensor(0.1, dtype=torch.float64)),
}
backends = pytest.mark.parametrize("backend", BACKENDS)
HYPER = dict(lr=0.02, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
