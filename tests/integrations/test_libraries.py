"""What needs no glue: Muon with AdamW, Accelerate, schedule-free, timm's groups."""

import importlib
import subprocess
import sys

import accelerate
import pytest
import schedulefree
import torch
from torch import nn

import etalambda as el
from etalambda.schedule import Scheduler, cosine, linear


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(7, 8)
        self.hidden = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 7)

    def forward(self, idx):
        return self.head(self.hidden(self.embed(idx)))


IDX = torch.arange(7)


def backward(model):
    nn.functional.cross_entropy(model(IDX), IDX).backward()


def step(model, *optimizers):
    backward(model)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def test_importing_the_room_imports_no_framework():
    code = "import sys, etalambda.integrations; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "transformers", "accelerate"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("lightning", "lightning.pytorch", "lightning"), ("transformers", "transformers", "hf")],
)
def test_a_missing_framework_names_its_extra(monkeypatch, module, package, extra):
    monkeypatch.delitem(sys.modules, f"etalambda.integrations.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'etalambda\[{extra}\]'"):
        importlib.import_module(f"etalambda.integrations.{module}")


def test_muon_and_adamw_under_one_scheduler_and_one_tie():
    model = Net()
    muon, adamw = el.param_groups(model, 0.1, "muon")
    pair = [torch.optim.Muon(muon, lr=0.02), torch.optim.AdamW(adamw, lr=1e-3)]
    scheduler = Scheduler(pair, weight_decay=linear(4))
    for _ in range(2):
        step(model, *pair)
        scheduler.step()
    values = [g["weight_decay"] for o in pair for g in o.param_groups]
    assert values == pytest.approx([0.05, 0.05, 0.05, 0.0])

    muon, adamw = el.param_groups(model, 0.1, "muon")
    pair = [torch.optim.Muon(muon, lr=0.02), torch.optim.AdamW(adamw, lr=1e-3)]
    el.tie(pair, "matched")
    for optimizer in pair:
        for group in optimizer.param_groups:
            group["lr"] /= 2  # each optimizer has its own peak
    step(model, *pair)
    values = [g["weight_decay"] for o in pair for g in o.param_groups]
    assert values == pytest.approx([0.05, 0.05, 0.05, 0.0])


def test_tie_one_kind_only():
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 2))
    invariant = el.schedule.scale_invariant_parameters(model, torch.randn(8, 4))
    groups = el.param_groups(model, 0.1).split(invariant)
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    el.tie(optimizer, "matched", only=invariant.values())
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    optimizer.step()
    assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([0.1, 0.0, 0.05])


@pytest.fixture
def accelerator():
    accelerate.state.AcceleratorState._reset_state(True)
    yield accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    accelerate.state.AcceleratorState._reset_state(True)


def test_accelerate_accumulation_ticks_with_the_optimizer(accelerator, tmp_path):
    model = Net()
    optimizer = torch.optim.AdamW(el.param_groups(model, 0.1), lr=1e-3)
    model, optimizer = accelerator.prepare(model, optimizer)
    scheduler = Scheduler(optimizer, clock="optimizer", weight_decay=linear(4))
    accelerator.register_for_checkpointing(scheduler)
    for _ in range(4):
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(IDX), IDX))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    assert scheduler.ticks == 2
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.05)
    accelerator.save_state(str(tmp_path))
    scheduler.step()
    optimizer.param_groups[0]["weight_decay"] = 7.0
    accelerator.load_state(str(tmp_path))
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.05)


def test_accelerate_prepares_the_adapter(accelerator):
    from etalambda.integrations import LRSchedulerAdapter

    model = Net()
    optimizer = torch.optim.AdamW(el.param_groups(model, 0.1), lr=1e-3)
    lr = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    both = LRSchedulerAdapter(Scheduler(optimizer, weight_decay=linear(4)), lr)
    model, optimizer, both = accelerator.prepare(model, optimizer, both)
    for _ in range(4):
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(IDX), IDX))
            optimizer.step()
            both.step()
            optimizer.zero_grad()
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.05)
    assert both.get_last_lr()[0] == pytest.approx(1e-5)


@pytest.mark.parametrize("cls", [schedulefree.AdamWScheduleFree, schedulefree.SGDScheduleFree])
def test_schedule_free_takes_groups_scheduler_and_tie(cls):
    model = Net()
    optimizer = cls(el.param_groups(model, 0.1), lr=0.01, warmup_steps=4)
    el.tie(optimizer, "matched", peak_lr=0.01)
    optimizer.train()
    seen = []
    optimizer.register_step_post_hook(
        lambda o, *_: seen.append([g["weight_decay"] for g in o.param_groups])
    )
    for _ in range(5):
        step(model, optimizer)
    # λ follows the lr of its internal warm-up: 1/4, 2/4, 3/4, then the peak
    assert [w for w, _ in seen] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert all(bias == 0 for _, bias in seen)
    plain = cls(el.param_groups(Net(), 0.1), lr=0.01)
    plain.train()
    scheduler = Scheduler(plain, weight_decay=cosine(4))
    plain.step()
    scheduler.step()
    assert plain.param_groups[0]["weight_decay"] == pytest.approx(0.1 * cosine(4)(1))


def timm_groups(model, weight_decay):
    """The layout of timm's ``param_groups_layer_decay``, seen in timm 1.0.31.

    timm pulls torchvision, so this stands in for it: exempt tensors first, every lr the same, and
    an ``lr_scale`` that timm's own schedulers multiply in later.
    """
    thin = [p for p in model.parameters() if p.ndim <= 1]
    thick = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": thin, "weight_decay": 0.0, "lr_scale": 0.5},
        {"params": thick, "weight_decay": weight_decay, "lr_scale": 0.5},
    ]


def timm_schedule(optimizer, factor):
    """What timm's ``Scheduler`` does to a group at a step."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = factor * group["initial_lr"] * group["lr_scale"]


def timm_peaks(optimizer):
    return [g["initial_lr"] * g.get("lr_scale", 1.0) for g in optimizer.param_groups]


def test_timm_groups_keep_their_zero():
    model = Net()
    optimizer = torch.optim.AdamW(timm_groups(model, 0.1), lr=1e-3)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    step(model, optimizer)
    scheduler.step()
    assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([0.0, 0.075])


def test_timm_layer_scale_does_not_leak_into_the_weight_decay():
    """``initial_lr`` is the peak before ``lr_scale``: the recipe declares the peak after it."""
    model = Net()
    optimizer = torch.optim.AdamW(timm_groups(model, 0.1), lr=1e-3)
    timm_schedule(optimizer, 1.0)
    el.tie(optimizer, "matched", peak_lr=timm_peaks(optimizer))
    seen = []
    for factor in (1.0, 0.25):
        timm_schedule(optimizer, factor)
        step(model, optimizer)
        seen.append([g["weight_decay"] for g in optimizer.param_groups])
    assert seen == [pytest.approx([0.0, 0.1]), pytest.approx([0.0, 0.025])]
