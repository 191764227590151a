"""Schedule-free AdamW: the weight decay follows the learning rate that its warm-up uses inside.

Needs: pip install schedulefree. Run it: python examples/schedule_free.py
"""

import schedulefree
import torch
from torch import nn

import etalambda as el

STEPS, WARMUP = 20, 5


def main() -> list[float]:
    """Fit a small network; return the weight decay of each step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 1))
    x = torch.randn(256, 4)
    y = x[:, :1].sin()

    groups = el.param_groups(model, weight_decay=0.1)
    optimizer = schedulefree.AdamWScheduleFree(groups, lr=1e-2, warmup_steps=WARMUP)
    el.tie(optimizer, "matched", peak_lr=1e-2)

    decays = []
    optimizer.train()
    for _ in range(STEPS):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decays.append(optimizer.param_groups[0]["weight_decay"])
    optimizer.eval()  # before evaluating or saving
    print("weight_decay:", *(f"{w:.3f}" for w in decays[:8]), "...")
    return decays


if __name__ == "__main__":
    main()
