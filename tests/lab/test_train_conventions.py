"""What the papers mean by loss, batch, initialization and test, as `etalambda train` does it."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from etalambda.lab.data import DataError
from etalambda.lab.train import TrainConfig, fit
from etalambda.lab.train.distributed import world
from etalambda.lab.train.losses import build_loss, evaluate
from etalambda.lab.train.models import (
    Carried,
    build_model,
    ntk_parametrization,
    use_batch_statistics,
)
from etalambda.lab.train.schedules import lr_rule, shape
from etalambda.lab.train.tasks import build_task
from etalambda.lab.train.training import Training

QUICK = dict(steps=4, monitor_every=1, evaluate_size=50, batch_size=40)


def training(**options):
    with world(TrainConfig()) as ranks:
        return Training(TrainConfig(**QUICK | options), ranks)


# Losses


def test_losses_are_those_of_the_papers():
    outputs, targets = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    plain = build_loss(TrainConfig(), 3)(outputs, targets)
    assert torch.equal(plain, F.cross_entropy(outputs, targets))
    halved = build_loss(TrainConfig(halved_by_classes=True), 3)(outputs, targets)
    torch.testing.assert_close(halved, plain / 6)
    mse = build_loss(TrainConfig(loss="mse"), 3)(outputs, targets)
    expected = ((outputs - F.one_hot(targets, 3)) ** 2).sum() / (2 * 5)
    torch.testing.assert_close(mse, expected)
    smooth = build_loss(TrainConfig(label_smoothing=0.1), 3)(outputs, targets)
    torch.testing.assert_close(smooth, F.cross_entropy(outputs, targets, label_smoothing=0.1))
    shares = F.one_hot(targets, 3).float()
    torch.testing.assert_close(build_loss(TrainConfig(), 3)(outputs, shares), plain)


def test_perplexity_is_that_of_the_mean_loss_over_all_tokens():
    class Uniform(nn.Module):
        def forward(self, x):
            return torch.zeros(*x.shape, 7)

    batches = [
        (torch.zeros(2, 5), torch.ones(2, 5).long()),
        (torch.zeros(1, 3), torch.zeros(1, 3).long()),
    ]
    error, loss = evaluate(Uniform(), batches)
    assert math.exp(loss) == pytest.approx(7)
    assert error == pytest.approx(10 / 13)


# Models


def test_batch_statistics_at_test():
    net = nn.Sequential(nn.BatchNorm1d(3))
    use_batch_statistics(net)
    x = 5 + 2 * torch.randn(50, 3)
    for mode in (True, False):
        out = net.train(mode)(x)
        torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("gain", [1.0, 2**0.5])
def test_lecun_has_variance_gain_squared_over_fan_in(gain):
    run = training(model="lg-fc", width=400, depth=1, init="lecun", init_gain=gain)
    weight = run.model[1].weight
    assert weight.std().item() == pytest.approx(gain / 64**0.5, rel=0.02)
    assert all(m.bias is None for m in run.model if isinstance(m, nn.Linear))


def test_the_ntk_parametrization_keeps_the_function_and_scales_the_gradient():
    torch.manual_seed(0)
    plain, ours = (nn.Sequential(nn.Linear(100, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    ntk_parametrization(ours)
    x = torch.randn(8, 100)
    torch.testing.assert_close(ours(x), plain(x))
    for net in (plain, ours):
        net(x).square().sum().backward()
    gradient = ours[0].parametrizations.weight.original.grad
    torch.testing.assert_close(gradient, plain[0].weight.grad / 10)


def test_a_bias_free_net_is_homogeneous():
    """f(cθ) = c^(depth + 1) f(θ): LG-D2."""
    model = training(model="lg-fc", width=16, depth=3).model
    x = torch.randn(5, 64)
    before = model(x)
    with torch.no_grad():
        for p in model.parameters():
            p *= 1.5
    torch.testing.assert_close(model(x), 1.5**4 * before)


# Batches


def test_accumulation_is_one_batch_without_batch_norm():
    whole, parts = (fit(TrainConfig(**QUICK, accumulate=n, clip=0.5)) for n in (1, 4))
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(parts.weights[name], tensor, rtol=1e-4, atol=1e-6)
    assert parts.metrics["loss"] == pytest.approx(whole.metrics["loss"], rel=1e-5)


def test_with_batch_norm_every_part_is_normalized_by_itself():
    run = training(model="cnn", accumulate=2, optimizer="sgd", momentum=0.0, weight_decay=0.0)
    twin = training(model="cnn").model
    batch = next(run.batches())
    twin.train()
    losses = [F.cross_entropy(twin(x), y) for x, y in zip(*(part.chunk(2) for part in batch))]
    (sum(losses) / 2).backward()
    before = [p.detach().clone() for p in run.model.parameters()]
    run.advance(batch)
    for old, p, q in zip(before, run.model.parameters(), twin.parameters()):
        torch.testing.assert_close(p, old - 0.1 * q.grad, rtol=1e-4, atol=1e-6)
    assert run.model.features[1].num_batches_tracked == 2


def test_the_state_of_an_lstm_is_carried_through_an_epoch_and_dropped_at_its_end():
    text = dict(task="text", model="lstm", width=8, depth=1, dropout=0.0, context=12, batch_size=3)
    run = training(**text | dict(steps=10**6, lr=1e-9))
    assert isinstance(run.model, Carried)
    x = [batch[0] for batch, _ in zip(run.task.epoch(0, 0, 0), range(3))]
    run.model.eval()
    with torch.no_grad():
        pieces = torch.cat([run.model(piece) for piece in x], 1)
        run.model.reset()
        torch.testing.assert_close(run.model(torch.cat(x, 1)), pieces)
    carried = run.model.carry
    run.evaluate()
    assert run.model.carry is carried  # an evaluation has a state of its own
    run.step = run.epoch_steps
    next(run.batches())
    assert run.model.carry is None


def test_streams_are_the_text_in_order():
    run = training(task="text", model="lstm", width=8, context=12, batch_size=3)
    first, second = (batch for batch, _ in zip(run.task.epoch(0, 0, 0), range(2)))
    assert torch.equal(first[0][:, 1:], first[1][:, :-1])
    assert torch.equal(first[1][:, -1], second[0][:, 0])


# Averages, tasks, schedules


def test_swa_is_the_mean_and_ema_the_exponential_one():
    options = dict(QUICK, momentum=0.0, steps=4)
    seen = []
    for average in (dict(swa=0.5), dict(ema=0.5)):
        run = training(**options | average)
        weights = []
        for batch in run.batches():
            run.advance(batch)
            weights.append([p.detach().clone() for p in run.model.parameters()])
        seen.append((list(run.average.module.parameters()), weights))
    (swa, weights), (ema, also) = seen
    for mean, third, fourth in zip(swa, weights[2], weights[3]):
        torch.testing.assert_close(mean, (third + fourth) / 2)
    for mean, *steps in zip(ema, *also):  # begins at the first weights that it is given
        expected = steps[0]
        for step in steps[1:]:
            expected = 0.5 * expected + 0.5 * step
        torch.testing.assert_close(mean, expected)


def test_schedules_have_their_shape():
    config = TrainConfig(lr_schedule="step", warmup=4, milestones=(0.5,), gamma=0.2)
    rule = lr_rule(config, 100)
    assert [rule(i) for i in (0, 3, 4, 49, 50)] == pytest.approx([0.2, 0.8, 1, 1, 0.2])
    restarts = shape("cosine-restarts", 210)  # xie2022's F17: 14, 28, 56, 112 epochs
    assert [restarts(i) for i in (0, 14, 42, 98)] == [1, 1, 1, 1]
    assert restarts(13) < 0.02
    assert restarts(209) < 0.02


def test_cifar_files_train_a_papers_network(tmp_path):
    rng = np.random.RandomState(0)
    sizes = dict(train=24, test=8)
    x = {f"x_{s}": rng.randint(0, 255, (n, 32, 32, 3)).astype(np.uint8) for s, n in sizes.items()}
    np.savez(
        tmp_path / "cifar10.npz", **x, **{f"y_{s}": np.arange(n) % 10 for s, n in sizes.items()}
    )
    options = dict(task="cifar10", data_dir=str(tmp_path), model="preresnet32", batch_size=8)
    result = fit(TrainConfig(optimizer="adams", lr=1e-3, epochs=1, monitor_every=1, **options))
    assert result.summary["steps"] == [3]
    assert math.isfinite(result.summary["test_loss"][0])
    held = build_task(TrainConfig(**options, validation=4, train_size=10, label_noise=0.2))
    assert held.splits == {"train": 10, "val": 4, "test": 8}
    assert held.wrong.sum() == 2
    assert held.recipe.pad == 4
    assert held.recipe.flip
    with pytest.raises(ValueError, match="train_size is 21, but the task has only 20"):
        build_task(TrainConfig(**options, validation=4, train_size=21))


def test_a_task_without_its_files_says_how_to_get_them():
    with pytest.raises(DataError, match="etalambda data fetch mnist"):
        build_task(TrainConfig(task="mnist"))


def test_a_folder_of_pictures_is_a_task(tmp_path):
    from PIL import Image

    rng = np.random.RandomState(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in ("ants", "bees", "cats"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                picture = Image.fromarray(rng.randint(0, 255, (9, 9, 3)).astype(np.uint8))
                picture.save(tmp_path / split / name / f"{i}.png")
    config = TrainConfig(task="folder", data_dir=str(tmp_path), model="cnn", steps=2, batch_size=6)
    assert build_task(config).classes == 3
    assert build_model(config, build_task(config))(torch.zeros(2, 3, 9, 9)).shape == (2, 3)
    assert fit(config).summary["steps"] == [2]
