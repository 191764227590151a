"""Accelerate: a loop with gradient accumulation; the schedule counts optimizer steps.

Needs: pip install 'etalambda[hf]'. Run it: python examples/accelerate_loop.py
"""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import etalambda as el
from etalambda.schedule import cosine


def main() -> list[float]:
    """Train one epoch; return the weight decay of each group at the end."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 1))
    x = torch.randn(256, 4)
    data = DataLoader(TensorDataset(x, x[:, :1].sin()), batch_size=16)

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    optimizer = torch.optim.AdamW(el.param_groups(model, weight_decay=0.1), lr=1e-2)
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
    # After prepare. The clock counts optimizer steps, not calls of step().
    scheduler = el.Scheduler(optimizer, clock="optimizer", weight_decay=cosine(4))
    accelerator.register_for_checkpointing(scheduler)

    for inputs, targets in data:
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.mse_loss(model(inputs), targets))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    print(scheduler)
    return scheduler.last("weight_decay")


if __name__ == "__main__":
    main()
