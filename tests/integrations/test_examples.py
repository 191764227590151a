"""Every example runs as it is given, and does to the weight decay what it says."""

import runpy
from pathlib import Path

import pytest

from etalambda.schedule import cosine

EXAMPLES = Path(__file__).parents[2] / "examples"
# timm pulls torchvision and is no development dependency: its example runs where timm is.
ELSEWHERE = {"timm_layer_decay"}


def run(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()


def test_plain_loop_follows_the_cosine_of_the_lr(capsys):
    assert run("plain_loop") == pytest.approx([0.1 * cosine(20)(t) for t in range(20)])
    assert "step 20  K 0.0" in capsys.readouterr().out


def test_muon_and_adamw_share_one_schedule():
    for step, decays in enumerate(run("muon_adamw")):
        factor = 0.1 * cosine(20)(step)
        assert decays == pytest.approx([factor, factor, factor, 0.0])


def test_adamc_corrects_the_invariant_weight_alone():
    decays = run("adamc")
    assert {row[0] for row in decays} == {0.1}
    assert {row[1] for row in decays} == {0.0}
    assert decays[0][2] == 0.1
    assert decays[-1][2] == pytest.approx(0.1 * (1 - 0.95 * 19 / 20))


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:.*litlogger.*")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")
def test_lightning_follows_the_falling_loss(capsys):
    weights, biases = run("lightning_callback")
    assert "{'step': 16, 'K/0': " in capsys.readouterr().out
    assert 0 < weights < 0.1
    assert biases == 0


@pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")
def test_trainer_ends_where_the_cosine_ends(monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run("transformers_trainer") == pytest.approx([0.0, 0.0], abs=1e-12)
    assert "{'step': 12, 'K/0': " in capsys.readouterr().out


def test_accelerate_counts_optimizer_steps():
    assert run("accelerate_loop") == pytest.approx([0.0, 0.0], abs=1e-12)


def test_schedule_free_follows_its_inner_warmup():
    decays = run("schedule_free")
    assert decays[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])


def test_every_example_is_run_here():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    text = Path(__file__).read_text()
    assert all(f'run("{name}")' in text for name in names - ELSEWHERE)
    for name in ELSEWHERE:
        compile((EXAMPLES / f"{name}.py").read_text(), name, "exec")
