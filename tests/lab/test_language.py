"""The small GPT, text as a task, and the gradient-norm experiment in miniature."""

import math

import pytest
import torch
from torch.nn import functional as F

from etalambda.lab import records
from etalambda.lab.experiments import gradient_norm
from etalambda.lab.experiments.gradient_norm import PLANS, GradientNormConfig
from etalambda.lab.models.gpt import GPT, PLACEMENTS
from etalambda.lab.tasks.text import Characters


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("qk_norm", [False, True])
def test_no_position_sees_the_future(placement, qk_norm):
    model = GPT(11, 16, 2, 4, 12, placement=placement, qk_norm=qk_norm).double()
    tokens = torch.randint(11, (2, 12))
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 11
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_starts_at_the_loss_of_guessing():
    model = GPT(50, 32, 2)
    tokens = torch.randint(50, (8, 64))
    loss = F.cross_entropy(model(tokens).flatten(0, 1), torch.randint(50, (8 * 64,)))
    assert loss.item() == pytest.approx(math.log(50), abs=0.05)


def test_qk_norm_makes_queries_and_keys_scale_invariant():
    model = GPT(11, 16, 1, 2, 8, qk_norm=True).double()
    tokens = torch.randint(11, (3, 8))
    before = model(tokens)
    with torch.no_grad():
        model.blocks[0].attention.qkv.weight[:32] *= 3  # q and k, not v
    torch.testing.assert_close(model(tokens), before, rtol=1e-5, atol=1e-6)


def test_errors_name_argument_and_value():
    with pytest.raises(ValueError, match="unknown placement 'before'"):
        GPT(5, placement="before")
    with pytest.raises(ValueError, match="multiple of heads, got 10 and 4"):
        GPT(5, width=10)
    with pytest.raises(ValueError, match="9 tokens, the context is 8"):
        GPT(5, context=8)(torch.zeros(1, 9, dtype=torch.long))


def test_windows_come_from_the_text_and_splits_do_not_overlap(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(chr(97 + i % 26) for i in range(1000)), encoding="utf-8")
    task = Characters(path, context=10)
    x, y = next(task.batches(seed=3, batch_size=50))
    assert torch.equal((x + 1) % 26, y)
    again, _ = next(task.batches(seed=3, batch_size=50))
    assert torch.equal(x, again)
    held, targets = task.held_out(windows=5)
    assert held.shape == targets.shape == (5, 10)
    assert (len(task.train), len(task.validation)) == (900, 100)


def test_texts_that_do_not_do_are_named(tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00" * 500)
    with pytest.raises(ValueError, match="9 characters, too few for windows of 64"):
        Characters(tmp_path / "short.txt")
    with pytest.raises(ValueError, match="not UTF-8"):
        Characters(tmp_path / "binary.txt")
    with pytest.raises(FileNotFoundError):
        Characters(tmp_path / "nowhere.txt")


def test_every_plan_spends_its_budget_and_a_second_call_trains_nothing(tmp_path):
    config = GradientNormConfig(steps=40, seeds=1, width=16, depth=1, context=8, budget=2.0)
    for _ in range(2):
        with records.open_run(tmp_path / "run", vars(config), kind="gradient_norm") as record:
            gradient_norm.run(config, record, lambda done, total, text: None)
    metrics = records.read(tmp_path / "run").tables["metrics"]
    summary = records.read(tmp_path / "run").tables["summary"]
    assert sorted(summary["plan"]) == sorted(PLANS)
    for plan in PLANS:
        spent = metrics["K"][(metrics["plan"] == plan)].max()
        assert spent == pytest.approx(0.0 if plan == "none" else 2.0, rel=1e-9)
    first = {plan: metrics["loss"][metrics["plan"] == plan][0] for plan in PLANS}
    assert first["none"] == pytest.approx(first["constant"], rel=0.05)  # one initialization
