"""One of two gloo processes that run scenarios and note how each ended; a file is their meeting."""

import datetime
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import torch.distributed as dist


def run_scenarios(scenarios: Iterable[Callable[[int, str], None]], rank: int, folder: str) -> None:
    """Meet, run every scenario, write "equal" or its traceback to ``NAME-RANK``, leave."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    try:
        for scenario in scenarios:
            try:
                scenario(rank, folder)
                ended = "equal"
            except Exception:
                ended = traceback.format_exc()
            Path(folder, f"{scenario.__name__}-{rank}").write_text(ended)
    finally:
        dist.destroy_process_group()
