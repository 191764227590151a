"""torch's Muon for hidden matrices, AdamW for the rest: one call splits, one scheduler drives both.

Run it: python examples/muon_adamw.py
"""

import torch
from torch import nn

import etalambda as el
from etalambda.schedule import cosine

STEPS = 20


class Block(nn.Module):
    """A residual block with one hidden matrix in and one out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def main() -> list[list[float]]:
    """Learn to copy a token; return the weight decay of each group, step by step."""
    torch.manual_seed(0)
    blocks = [Block(16) for _ in range(2)]
    model = nn.Sequential(nn.Embedding(11, 16), nn.Sequential(*blocks), nn.Linear(16, 11))
    tokens = torch.arange(11)

    split = el.param_groups(model, weight_decay=0.1, recipe="muon")
    print(split)
    muon = torch.optim.Muon(split.muon, lr=0.02)
    adamw = torch.optim.AdamW(split.adamw, lr=3e-3)
    scheduler = el.Scheduler([muon, adamw], weight_decay=cosine(STEPS))

    decays = []
    for step in range(STEPS):
        loss = nn.functional.cross_entropy(model(tokens), tokens)
        model.zero_grad()
        loss.backward()
        decays.append(scheduler.last("weight_decay"))
        muon.step()
        adamw.step()
        scheduler.step()
        if step % 5 == 0:
            print(f"step {step:2d}  loss {loss.item():.4f}  weight_decay {decays[-1]}")
    return decays


if __name__ == "__main__":
    main()
