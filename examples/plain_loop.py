"""A plain PyTorch loop: groups by module type, decay tied to the learning rate by one line.

Run it: python examples/plain_loop.py
"""

import torch
from torch import nn

import etalambda as el

STEPS = 20


def main() -> list[float]:
    """Fit a small network; return the weight decay of each step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 1))
    x = torch.randn(256, 4)
    y = x[:, :1].sin()

    groups = el.param_groups(model, weight_decay=0.1)
    print(groups)
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    lr = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    el.tie(optimizer, "matched")  # λ follows the learning rate

    decays = []
    for step in range(STEPS):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decays.append(optimizer.param_groups[0]["weight_decay"])
        lr.step()
        if step % 5 == 0:
            print(f"step {step:2d}  loss {loss.item():.4f}  weight_decay {decays[-1]:.4f}")
    return decays


if __name__ == "__main__":
    main()
