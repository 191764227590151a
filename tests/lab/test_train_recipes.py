"""The papers' recipes as configs: the numbers that the papers print."""

import pytest

from etalambda.lab.train import names, recipes


@pytest.mark.parametrize("optimizer", [*names.SGDS, *names.ADAMS, *names.ADAIS, "padam"])
def test_every_optimizer_of_xie2022_has_its_lr_and_decay(optimizer):
    config = recipes.xie2022_cifar(optimizer)
    assert (config.batch_size, config.epochs, config.gamma) == (128, 200, 0.1)
    assert config.lr == {"padam": 0.01}.get(optimizer, 0.1 if optimizer in names.SGDS else 1e-3)
    decay = {"adamw": 0.5, "sgdw": 5e-3}.get(optimizer, 5e-4)
    assert config.weight_decay == pytest.approx(decay)


def test_epochs_of_the_steps():
    at = {task: recipes.xie2022_cifar(task=task) for task in recipes.MILESTONES}
    found = {t: [share * c.epochs for share in c.milestones] for t, c in at.items()}
    assert found == {"cifar10": [80, 160], "cifar100": [100, 150]}
    with pytest.raises(ValueError, match="unknown task 'mnist'"):
        recipes.xie2022_cifar(task="mnist")


def test_the_others():
    large, text = recipes.xie2022_large_batch(), recipes.xie2022_penn_treebank()
    assert large.batch_size / large.accumulate == 512
    assert (text.batch_size, text.context, text.clip, text.dropout) == (20, 35, 1.0, 0.5)
    wrn = recipes.lewkowycz2020_wrn(5e-4)
    assert (wrn.batch_size, wrn.epochs, wrn.init) == (1024, 200, "lecun")
    fc = recipes.lewkowycz2020_fc(0.025, 0.5)
    assert fc.train_size == fc.batch_size == 512
