"""Lightning, the real one: the callback and the adapter against a hand-written loop."""

import warnings

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import etalambda as el
from etalambda.diagnose import Panel, every, weight_norms
from etalambda.integrations import LRSchedulerAdapter
from etalambda.integrations.lightning import MonitorCallback, WeightDecayCallback
from etalambda.schedule import AutoL2, MatchedAnnealing, Scheduler, cosine

lightning = pytest.importorskip("lightning.pytorch")
pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*litlogger.*"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning"),
]
X = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
Y = X[:, :1].sin()


class Regression(lightning.LightningModule):
    def __init__(self, adapter=False):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
        self.adapter, self.seen, self.losses = adapter, [], []

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch[0]) - batch[1]).square().mean()
        self.log("train_error", 0.5)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(el.param_groups(self, 0.5), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
        if self.adapter:
            schedule = LRSchedulerAdapter(Scheduler(optimizer, weight_decay=cosine(6)), schedule)
        optimizer.register_step_pre_hook(
            lambda o, *_: self.seen.append([g["weight_decay"] for g in o.param_groups])
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def fit(tmp_path, *callbacks, module=None, epochs=1, ckpt_path=None, **options):
    module = module or Regression()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        default_root_dir=tmp_path,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, "logger": False, **options},
    )
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=4), ckpt_path=ckpt_path)
    return module, trainer


@pytest.mark.parametrize("adapter", [False, True])
def test_callback_and_adapter_give_the_same_schedule(tmp_path, adapter):
    callbacks = [] if adapter else [WeightDecayCallback(weight_decay=cosine(6))]
    module, _ = fit(tmp_path, *callbacks, module=Regression(adapter))
    want = [0.5 * cosine(6)(t) for t in range(6)]
    assert [w for w, _ in module.seen] == pytest.approx(want, abs=1e-12)
    assert all(b == 0 for _, b in module.seen)


def test_feedback_reads_the_training_loss(tmp_path):
    callback = WeightDecayCallback(weight_decay=MatchedAnnealing())
    module, _ = fit(tmp_path, callback)
    want = [0.5] + [0.5 * loss / module.losses[0] for loss in module.losses[:5]]
    assert [w for w, _ in module.seen] == pytest.approx(want, rel=1e-6)


def test_accumulated_batches_are_one_tick_with_their_mean_loss(tmp_path):
    callback = WeightDecayCallback(weight_decay=MatchedAnnealing())
    module, _ = fit(tmp_path, callback, accumulate_grad_batches=2)
    means = [sum(module.losses[i : i + 2]) / 2 for i in range(0, 6, 2)]
    assert callback.scheduler.ticks == len(module.seen) == 3
    want = [0.5, 0.5, 0.5 * means[1] / means[0]]
    assert [w for w, _ in module.seen] == pytest.approx(want, rel=1e-6)


def test_signals_come_from_logged_metrics(tmp_path):
    rule = AutoL2(every=1)
    callback = WeightDecayCallback(signals={"error": "train_error"}, weight_decay=rule)
    fit(tmp_path, callback)
    assert callback.scheduler.ticks == 6


@pytest.mark.parametrize("adapter", [False, True])
def test_resume_equals_the_straight_run(tmp_path, adapter):
    rule = cosine(12) if adapter else MatchedAnnealing(memory=1)

    def callbacks():
        return [] if adapter else [WeightDecayCallback(weight_decay=rule)]

    straight, _ = fit(tmp_path, *callbacks(), module=Regression(adapter), epochs=2)
    first, trainer = fit(tmp_path, *callbacks(), module=Regression(adapter), epochs=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    torch.load(tmp_path / "half.ckpt", weights_only=True)
    second, _ = fit(
        tmp_path,
        *callbacks(),
        module=Regression(adapter),
        epochs=2,
        ckpt_path=tmp_path / "half.ckpt",
    )
    assert first.seen + second.seen == straight.seen


def test_a_checkpoint_from_before_the_callback_loads(tmp_path):
    _, trainer = fit(tmp_path)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    callback = WeightDecayCallback(weight_decay=cosine(6))
    module, _ = fit(tmp_path, callback, epochs=2, ckpt_path=tmp_path / "plain.ckpt")
    assert module.seen[0][0] == 0.5
    assert callback.scheduler.ticks == 6


def test_removing_the_callback_mid_run_works(tmp_path):
    _, trainer = fit(tmp_path, WeightDecayCallback(weight_decay=cosine(6)))
    trainer.save_checkpoint(tmp_path / "with.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, _ = fit(tmp_path, epochs=2, ckpt_path=tmp_path / "with.ckpt")
    assert len({w for w, _ in module.seen}) == 1


class Manual(Regression):
    """Two optimizers want manual optimization; the loss is then told by hand."""

    def __init__(self, callback):
        super().__init__()
        self.automatic_optimization, self.callback = False, callback

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch[0]) - batch[1]).square().mean()
        self.losses.append(loss.item())
        self.callback.observe(loss)
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        muon, adamw = el.param_groups(self, 0.5, "muon")
        pair = [torch.optim.Muon(muon, lr=0.02), torch.optim.AdamW(adamw, lr=0.1)]
        pair[0].register_step_pre_hook(
            lambda *_: self.seen.append([g["weight_decay"] for o in pair for g in o.param_groups])
        )
        return pair


def test_manual_optimization_with_two_optimizers(tmp_path):
    callback = WeightDecayCallback(weight_decay=MatchedAnnealing())
    module, _ = fit(tmp_path, callback, module=Manual(callback))
    ratio = [1.0] + [loss / module.losses[0] for loss in module.losses[:5]]
    assert [row[0] for row in module.seen] == pytest.approx([0.5 * r for r in ratio], rel=1e-6)
    assert all(row == [row[0], row[0], 0.0] for row in module.seen)


def test_monitor_logs_its_rows_and_k_survives_a_resume(tmp_path):
    class Kept(lightning.loggers.logger.Logger):
        name, version = "kept", 0

        def __init__(self):
            super().__init__()
            self.rows = []

        def log_metrics(self, metrics, step=None):
            if "norm/0" in metrics:
                self.rows.append((step, metrics))

        def log_hyperparams(self, *args, **kwargs):
            pass

    def watch():
        return MonitorCallback(every(2), norm=weight_norms, panel=Panel(steps=2))

    logger, straight = Kept(), watch()
    fit(tmp_path, straight, epochs=2, logger=logger)
    assert [step for step, _ in logger.rows] == [2, 4, 6, 8, 10, 12]
    first = watch()
    _, trainer = fit(tmp_path, first, epochs=1)
    trainer.save_checkpoint(tmp_path / "watched.ckpt")
    torch.load(tmp_path / "watched.ckpt", weights_only=True)
    second = watch()
    fit(tmp_path, second, epochs=2, ckpt_path=tmp_path / "watched.ckpt")
    assert second.monitor.spent == pytest.approx(straight.monitor.spent, rel=1e-12)
    assert straight.monitor.spent[0] > 0
    ours, theirs = ([(r["step"], r["norm/0"]) for r in c.monitor.rows] for c in (second, straight))
    assert ours == theirs
    with pytest.raises(TypeError, match="function of one row, got int"):
        MonitorCallback(sinks=(3,))


def test_errors_come_before_training():
    with pytest.raises(ValueError, match="no rule given"):
        WeightDecayCallback()
    with pytest.raises(TypeError, match="is a number"):
        WeightDecayCallback(weight_decay=0.1)
