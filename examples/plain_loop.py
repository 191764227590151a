"""A plain PyTorch loop: groups by module type, decay tied to the learning rate, a monitor.

Run it: python examples/plain_loop.py
"""

import torch
from torch import nn

import etalambda as el
from etalambda.diagnose import Panel, every

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
    monitor = el.Monitor(optimizer, every(5), panel=Panel(steps=5))  # counts steps by itself

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
    for row in monitor.rows:
        angle, predicted = row.get("panel/angle/total"), row["panel/predicted_angle/0"]
        turned = "" if angle is None else f"  turned {angle:.3f} rad (predicted {predicted:.3f})"
        norm = row["panel/norm/total"]
        print(f"step {row['step']:2d}  K {row['K/0']:.4f}  norm {norm:.3f}{turned}")
    return decays


if __name__ == "__main__":
    main()
