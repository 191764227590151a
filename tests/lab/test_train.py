"""One network, any recipe: the parts of a run, what it records, what it refuses."""

import math
import signal
from dataclasses import asdict

import pytest
import torch

from etalambda.lab import cli
from etalambda.lab.records import open_run, read
from etalambda.lab.train import TrainConfig, fit, names, run

QUICK = dict(steps=6, monitor_every=2, evaluate_every=100, evaluate_size=100, batch_size=32)


def quick(**options):
    return fit(TrainConfig(**QUICK | options))


def test_names_are_those_that_the_lab_can_build():
    from etalambda.lab.models.zoo import INITS, ZOO
    from etalambda.lab.train.optimizers import FOREIGN, TORCH_AND_OURS
    from etalambda.schedule import COUPLINGS

    assert set(names.MODELS) == {*ZOO, "mlp", "cnn", *names.LANGUAGE_MODELS}
    assert set(names.OPTIMIZERS) == {*TORCH_AND_OURS, *FOREIGN, "muon"}
    assert names.INITS == INITS
    assert set(names.COUPLINGS) == set(COUPLINGS)


@pytest.mark.parametrize("optimizer", names.OPTIMIZERS)
def test_every_optimizer_learns(optimizer):
    lr = 0.05 if optimizer in (*names.SGDS, *names.ADAIS, "muon", "padam") else 1e-3
    result = quick(optimizer=optimizer, lr=lr, steps=40, weight_decay=1e-3)
    losses = result.metrics["loss"]
    assert losses[-1] < losses[0]
    assert result.summary["test_error"][0] < 0.8
    assert not result.summary["diverged"][0]


@pytest.mark.parametrize("schedule", names.WEIGHT_DECAY_SCHEDULES)
def test_every_schedule_of_weight_decay_drives_it(schedule):
    result = quick(
        weight_decay_schedule=schedule, lr_schedule="cosine", steps=12, monitor_every=1, lr=0.02
    )
    decays = result.metrics["weight_decay"]
    if schedule in ("constant", "decoupled", "independent", "autol2"):  # nothing turned worse yet
        assert len(set(decays)) == 1
    else:
        assert len(set(decays)) > 1
    assert all(math.isfinite(k) for k in result.metrics["K"])


def test_rows_say_what_a_step_did():
    result = quick(steps=4, monitor_every=1, lr=0.1, weight_decay=0.01, optimizer="sgd", momentum=0)
    table = result.metrics
    assert table["step"] == [1, 2, 3, 4]
    assert table["K"] == pytest.approx([0.001 * n for n in range(1, 5)])
    assert table["effective_lr"][0] == pytest.approx(0.1 / table["norm"][0] ** 2)
    for angle, gradient, norm in zip(table["angle"], table["gradient_norm"], table["norm"]):
        assert 0 < angle <= 1.1 * 0.1 * gradient / norm
    assert math.isnan(table["test_error"][0])
    assert table["test_error"][-1] == result.summary["test_error"][0]


def test_a_diverged_run_stops_and_says_so():
    result = quick(lr=1e9, steps=50)
    assert result.summary["diverged"] == [True]
    assert result.summary["steps"][0] < 50


def test_run_records_its_rows_and_its_weights(tmp_path):
    config = TrainConfig(**QUICK)
    with open_run(tmp_path / "run", asdict(config), kind="train") as record:
        run(config, record, lambda done, total, text: None, every_steps=2)
    found = read(tmp_path / "run")
    assert found.finished
    assert found.tables["metrics"]["step"].tolist() == [1, 2, 4, 6]
    assert found.tables["summary"]["steps"].tolist() == [6]
    weights = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    assert all(torch.isfinite(w).all() for w in weights.values())
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(model="resnet-18"), "did you mean 'resnet18'"),
        (dict(model="gpt"), "does not fit task 'digits'"),
        (dict(optimizer="adamws"), "did you mean 'adamw'"),
        (dict(momentum=1.0), r"momentum must lie in \[0, 1\)"),
        (dict(milestones=(40.0,)), "milestones are shares of the run"),
        (dict(ema=0.9, swa=0.5), "choose one"),
        (dict(model="resnet18", width=8), "--width is for mlp"),
        (dict(task="text", model="gpt", scale_invariant=True), "no form that is invariant"),
        (dict(accumulate=64), "accumulate=64 is above batch_size=32"),
    ],
)
def test_configs_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        TrainConfig(**QUICK | options)


def test_a_model_for_other_pictures_is_refused():
    with pytest.raises(ValueError, match=r"made for pictures of shape \(3, 32, 32\)"):
        quick(model="resnet18")


# The command


def command(*words):
    return cli.main(["train", *QUICK_WORDS, *words])


QUICK_WORDS = ("--steps", "6", "--monitor-every", "2", "--evaluate-size", "50")


@pytest.fixture
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_the_command_trains_shows_and_remembers(capsys):
    assert command("--optimizer", "adams", "--lr", "1e-3") == 0
    shown = capsys.readouterr().out
    assert "train-digits-mlp-adams" in shown
    assert "finished" in shown
    assert command("--optimizer", "adams", "--lr", "1e-3") == 0
    assert "is finished already" in capsys.readouterr().err
    assert command("--optimizer", "adams", "--lr", "2e-3") == 2
    assert "lr (0.001 there, 0.002 now)" in capsys.readouterr().err
    assert cli.main(["ls"]) == 0
    assert "etalambda train --optimizer adams" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("_here")
def test_ctrl_c_keeps_the_step_and_says_how_to_go_on(capsys, monkeypatch):
    from etalambda.lab.train.training import Training

    advance = Training.advance

    def pressed(self, batch):
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)  # in the midst of the third step
        advance(self, batch)

    monkeypatch.setattr(Training, "advance", pressed)
    assert command("--out", "run") == 130
    said = " ".join(capsys.readouterr().err.split())
    assert "stopped; 3 steps are kept in run. Go on with: etalambda train --steps 6" in said
    monkeypatch.setattr(Training, "advance", advance)
    assert command("--out", "run") == 0
    straight = fit(TrainConfig(steps=6, monitor_every=2, evaluate_size=50))
    found = read("run").tables["metrics"]
    for name in ("step", "loss", "K", "test_error"):
        assert found[name].tolist() == pytest.approx(straight.metrics[name], nan_ok=True)


@pytest.mark.usefixtures("_here")
def test_mistakes_are_one_line(capsys):
    assert command("--model", "resnet18") == 2
    assert "made for pictures of shape (3, 32, 32)" in capsys.readouterr().err
    assert command("--task", "cifar10") == 2
    assert "etalambda data fetch cifar10" in capsys.readouterr().err
