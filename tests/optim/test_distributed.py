"""Two processes equal one: DDP, FSDP2 with uneven and empty shards, HSDP, plain local shards, DCP.

After 20 steps float64 agrees to 1e-12, float32 to 1e-7 on the same batches and, where each rank has
its half, as torch's AdamW does (4e-7 here; the gradients differ, not the steps).
"""

import pytest
import torch
import torch.multiprocessing as mp

from tests.optim import _dist

pytestmark = [
    pytest.mark.dist,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes, started once, have noted how each scenario ended."""
    found = tmp_path_factory.mktemp("two-processes")
    mp.spawn(_dist.process, (str(found),), nprocs=2)
    return found


@pytest.mark.parametrize("scenario", [s.__name__ for s in _dist.SCENARIOS])
def test_two_processes_equal_one(scenario, folder):
    for rank in (0, 1):
        ended = (folder / f"{scenario}-{rank}").read_text()
        assert ended == "equal", ended


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_dcp_restores_exactly_on_another_world_size(folder):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    model = _dist.net(torch.float64)
    optimizer = _dist.MAKE["AdamS"](model.parameters())
    weights, state = get_state_dict(model, optimizer)
    dcp.load(dict(model=weights, optimizer=state), checkpoint_id=folder / "dcp", no_dist=True)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=state)
    _dist.train(model, optimizer, 5, start=5)
    _dist.compare(model, torch.load(folder / "expected.pt", weights_only=True), 1e-12)
