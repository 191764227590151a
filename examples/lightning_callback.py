"""Lightning: weight decay that follows the training loss, and a monitor, each by one callback.

Needs: pip install 'etalambda[lightning]'. Run it: python examples/lightning_callback.py
"""

import logging
import tempfile
import warnings

import lightning.pytorch as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import etalambda as el
from etalambda.diagnose import Panel, every
from etalambda.integrations.lightning import MonitorCallback, WeightDecayCallback
from etalambda.schedule import MatchedAnnealing


class Regression(lightning.LightningModule):
    """A small network; nothing in it knows of weight-decay schedules."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 1))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(el.param_groups(self, weight_decay=0.1), lr=1e-2)


def main() -> list[float]:
    """Train two epochs; return the weight decay of each group at the end."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    lightning.seed_everything(0, verbose=False)
    x = torch.randn(256, 4)
    data = DataLoader(TensorDataset(x, x[:, :1].sin()), batch_size=32)

    schedule = WeightDecayCallback(weight_decay=MatchedAnnealing(memory=3))
    watch = MonitorCallback(every(4), panel=Panel(steps=4))  # logs; K survives a resume
    trainer = lightning.Trainer(
        max_epochs=2,
        callbacks=[schedule, watch],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tempfile.gettempdir(),
    )
    trainer.fit(Regression(), data)
    print(schedule.scheduler)
    print({name: watch.monitor.last[name] for name in ("step", "K/0", "panel/angle/total")})
    return schedule.scheduler.last("weight_decay")


if __name__ == "__main__":
    main()
