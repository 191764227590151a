"""The experiments of the diagnose room run small, resume, and judge by what was decided."""

import numpy as np
import pytest
import torch

from etalambda.lab.experiments import (
    along_a_run,
    depth_mixture,
    progress_measures,
    rank_architectures,
)
from etalambda.lab.records import read
from etalambda.lab.statistics import Interval, spearman

SMALL = {
    along_a_run: dict(steps=120, seeds=1, looks=2, batches=1),
    depth_mixture: dict(samples=20, overlaps=9, width=3),
    progress_measures: dict(runs=4, epochs=1, final_epochs=1),
    rank_architectures: dict(epochs=1, samples=3, seeds=1, choosing=1),
}


@pytest.mark.parametrize("module", SMALL, ids=lambda module: module.__name__.split(".")[-1])
def test_runs_small_and_resumes(module, tmp_path, monkeypatch, capsys):
    if module is rank_architectures:
        monkeypatch.setattr(
            module, "ARCHITECTURES", ((1, 4, "tanh"), (2, 4, "relu"), (1, 5, "gelu"))
        )
        monkeypatch.setattr(module, "LRS", (0.1,))
    if module is along_a_run:
        monkeypatch.setattr(module, "DECAYS", (0.0, 1e-3))
        monkeypatch.setattr(module, "RATES", (0.2,))
    config, out = module.Config(**SMALL[module]), tmp_path / "run"
    module.main(config, out, tmp_path / "all.json")
    assert read(out).finished
    assert (tmp_path / "all.json").stat().st_size > 300
    assert capsys.readouterr().out.count("\n") > 4


def test_time_left_is_exact_on_the_norm_law():
    """G' = (1-r)² G + η²σ²/G: two norms give σ², and with it the time that theory gives."""
    from etalambda.theory.norm_dynamics import time_to_equilibrium

    lr, rate, noise, square = 0.1, 1e-3, 4.0, 3.0
    seen = []
    for step in range(41):
        if step in (20, 40):
            norm = torch.tensor([square]).double().sqrt()
            seen.append(dict(step=step, norm=norm))
        square = (1 - rate) ** 2 * square + lr**2 * noise / square
    (found,) = progress_measures.time_left(*seen, torch.tensor(lr), torch.tensor([rate]).double())
    gamma = (seen[1]["norm"] ** 2 / lr) ** 2
    assert found.item() == pytest.approx(time_to_equilibrium(gamma, rate, noise).item(), rel=0.02)


def test_the_network_is_scale_invariant():
    torch.manual_seed(0)
    net = progress_measures.InvariantCNN().double()
    x = torch.randn(30, 64).double()
    before = net(x)
    with torch.no_grad():
        for p in net.parameters():
            p *= 3
    torch.testing.assert_close(net(x), before, rtol=1e-3, atol=1e-3)


def test_rankings_pass_by_the_criterion_alone():
    intervals = dict(
        weights=Interval(0.4, 0.1, 0.6, 30),
        f0=Interval(-0.5, -0.7, -0.2, 30),
        f1=Interval(0.3, 0.1, 0.5, 30),
        f2=Interval(0.6, -0.1, 0.9, 30),
    )
    assert rank_architectures.passed(intervals) == ["f0"]


def test_spearman_of_ties_and_of_noise():
    random = np.random.default_rng(0)
    x = random.normal(size=40)
    assert spearman(x, np.exp(x)).value == 1
    noise = spearman(x, random.normal(size=40))
    assert noise.low < 0 < noise.high
    from scipy.stats import spearmanr

    y = random.integers(0, 4, 40)
    assert spearman(x, y).value == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]).value)
