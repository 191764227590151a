"""Optimizers of one small tensor a group, told by the groups' weight decays."""

import torch


def make(*decays, lr=0.1, cls=torch.optim.AdamW, dtype=torch.float32, **flags):
    """An optimizer with one group a weight decay."""
    ones = torch.ones(2, dtype=dtype)
    groups = [{"params": [torch.nn.Parameter(ones.clone())], "weight_decay": w} for w in decays]
    return cls(groups, lr=lr, **flags)


def decays(optimizer):
    """The weight decay of every group now, as a number."""
    return [float(group["weight_decay"]) for group in optimizer.param_groups]
