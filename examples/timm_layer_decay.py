"""timm: fine-tune a ViT with layer-wise lr decay, exempt tokens, and matched weight decay.

Needs: pip install timm. Run it: python examples/timm_layer_decay.py
"""

import timm
import torch
from torch import nn

import etalambda as el

STEPS = 4


def main() -> list[list[float]]:
    """Take a few steps on noise; return the weight decay of each group, step by step."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=10, depth=3)
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)

    groups = el.param_groups(model, weight_decay=0.05, recipe="vit", layer_decay=0.75, lr=1e-3)
    print(groups)
    optimizer = torch.optim.AdamW(groups)
    lr = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    el.tie(optimizer, "matched")  # each group has its own peak

    decays = []
    for _ in range(STEPS):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decays.append([group["weight_decay"] for group in optimizer.param_groups])
        lr.step()
    return decays


if __name__ == "__main__":
    main()
