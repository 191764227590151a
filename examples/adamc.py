"""AdamC: only weights that feed a norm get the corrected decay, the others keep AdamW's.

Defazio 2025. The weights are found by structure and confirmed by number.
Run it: python examples/adamc.py
"""

import torch
from torch import nn

import etalambda as el
from etalambda.schedule import scale_invariant_parameters

STEPS = 20


def main() -> list[list[float]]:
    """Fit a small batch-norm network; return the weight decay of each group, step by step."""
    torch.manual_seed(0)
    layers = [nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1)]
    model = nn.Sequential(*layers)
    x = torch.randn(256, 4)
    y = x[:, :1].sin()

    invariant = scale_invariant_parameters(model, x)
    print("scale-invariant:", ", ".join(invariant))
    groups = el.param_groups(model, weight_decay=0.1).split(invariant)
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    lr = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=STEPS)
    el.tie(optimizer, "matched", only=invariant.values())

    decays = []
    for _ in range(STEPS):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decays.append([group["weight_decay"] for group in optimizer.param_groups])
        lr.step()
    print(groups)
    return decays


if __name__ == "__main__":
    main()
