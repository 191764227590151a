"""Draw docs/img/mechanism.svg: what lr and λ do to a small CNN on digits. python docs/mechanism.py

Both fall on a cosine, λ less far. The panel is taken every 10 steps, the index every 100.
"""

from pathlib import Path

import torch
from torch.nn import functional as F

from etalambda.diagnose import Monitor, Panel, every, hessian_index
from etalambda.lab.engine import Trial
from etalambda.lab.figures.mechanism import mechanism
from etalambda.lab.figures.style import save
from etalambda.lab.models import MODELS
from etalambda.lab.tasks import Digits
from etalambda.schedule import Scheduler, cosine, scale_invariant_parameters

STEPS = 900


def main(path: Path = Path(__file__).parent / "img" / "mechanism.svg") -> None:
    """Half a minute on one core."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task, net = Digits(label_noise=0.2), MODELS["cnn"]()
    whole = task.x["train"], task.y["train"]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-3)
    rules = dict(lr=cosine(STEPS, end=0.05), weight_decay=cosine(STEPS, end=0.2))
    scheduler = Scheduler(optimizer, **rules)
    invariant = scale_invariant_parameters(net, whole[0]).values()
    monitor = Monitor(optimizer, every(10), panel=Panel(kinds={"invariant": invariant}, steps=10))
    rare = Monitor(
        optimizer,
        every(100),
        index=lambda _: hessian_index(net, F.cross_entropy, whole, steps=20).value,
    )
    feed = task.batches([Trial(0, 1.0)])
    for step in range(STEPS):
        x, y = (part[0] for part in feed(step))
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
        scheduler.step()
    rows = sorted([*monitor.rows, *rare.rows], key=lambda row: row["step"])
    print(save(mechanism(rows), path))


if __name__ == "__main__":
    main()
