"""The many-trials engine: exactly what each trial would have been alone."""

import math
import threading
import warnings
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from etalambda.lab.engine import Trial, chunk_size, cross_entropy, train
from etalambda.lab.engine.pool import Stopped, run_jobs
from etalambda.lab.engine.schedules import Schedules
from etalambda.lab.models import MLP, Quadratic, SmallCNN, SmallResNet, Stacked
from etalambda.lab.models.convnets import densenet121, mnist_cnn
from etalambda.lab.models.gpt import GPT
from etalambda.lab.models.grouped import Grouped
from etalambda.lab.models.resnets import Bottleneck, PreResNet, ResNet
from etalambda.lab.models.zoo import freeze_for_scale_invariance
from etalambda.lab.tasks import Digits, Modular, Passes
from etalambda.schedule import MatchedAnnealing, Scheduler, TwoStepAnnealing, cosine, linear

STEPS = 40
DOUBLE = dict(dtype=torch.float64)


@pytest.fixture(scope="module")
def digits():
    task = Digits(batch_size=30)
    task.x = {name: x.double() for name, x in task.x.items()}
    return task


def finals(make, task, trials, **options):
    """The last snapshot of every chunk, in order."""
    options = dict(steps=STEPS, every=STEPS, **DOUBLE) | options
    seen = list(train(make, task.batches, trials, **options))
    return [snapshot for snapshot in seen if snapshot.step == options["steps"]]


def alone(make, task, trials, **options):
    """Every trial by its optimizer's own class."""
    return [finals(make, task, [trial], **options)[0] for trial in trials]


def assert_same(together, alones, task_inputs, tolerance=1e-10):
    outputs = torch.cat([s.predict(task_inputs) for s in together])
    expected = torch.cat([s.predict(task_inputs) for s in alones])
    torch.testing.assert_close(outputs, expected, rtol=tolerance, atol=tolerance)
    for name in ("loss", "K", "norm"):
        ours = torch.cat([getattr(s, name) for s in together])
        theirs = torch.cat([getattr(s, name) for s in alones])
        torch.testing.assert_close(
            ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True
        )  # K of Adam with L2 is NaN


TRIALS = [
    Trial(seed=0, lr=0.05, weight_decay=0.01),
    Trial(seed=1, lr=0.02, weight_decay=0.1, rules={"lr": cosine(STEPS)}),
    Trial(seed=2, lr=0.03, weight_decay=0.05, rules={"weight_decay": linear(STEPS)}),
    Trial(seed=0, lr=0.04, weight_decay=0.02, rules={"weight_decay": MatchedAnnealing()}),
    Trial(
        seed=1,
        lr=0.05,
        weight_decay=0.3,
        rules={"lr": cosine(STEPS), "weight_decay": MatchedAnnealing(memory=3)},
    ),
    Trial(seed=3, lr=0.05, weight_decay=0.01, sphere=2.0),
    Trial(seed=3, lr=0.05, weight_decay=0.01, sphere=1.5, joint=True),
    Trial(
        seed=4,
        lr=0.05,
        weight_decay=0.1,
        rules={"weight_decay": linear(STEPS)},
        two_step="relative",
    ),
]
OPTIMIZERS = {
    "sgd": dict(momentum=0.9),
    "sgdw": dict(momentum=0.9, nesterov=True),
    "sgds": dict(momentum=0.9),
    "adam": {},
    "adamw": dict(betas=(0.9, 0.98)),
    "adams": {},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_many_equal_one_by_one_in_float64(digits, optimizer):
    options = dict(optimizer=optimizer, **OPTIMIZERS[optimizer])
    make = lambda: MLP((64, 16, 10))
    trials = [Trial(**vars(t) | dict(lr=t.lr / 10)) for t in TRIALS]
    together = finals(make, digits, trials, **options)
    assert len(together) == 1
    assert_same(together, alone(make, digits, trials, **options), digits.x["val"])


@pytest.mark.parametrize(
    "make", [lambda: SmallCNN(4), lambda: SmallResNet(2), lambda: MLP((64, 8, 8, 10))]
)
def test_every_network_and_its_buffers_equal_one_by_one(digits, make):
    options = dict(optimizer="sgd", momentum=0.9)
    together = finals(make, digits, TRIALS, **options)
    assert_same(together, alone(make, digits, TRIALS, **options), digits.x["val"], 1e-9)


@pytest.mark.parametrize("optimizer", ["adamw", "adams"])
def test_a_language_model_whose_gains_do_not_decay_equals_one_by_one(optimizer):
    tokens = torch.randint(0, 11, (40, 9), generator=torch.Generator().manual_seed(0))
    task = Passes(tokens[:, :-1], tokens[:, 1:], passes=2, batch_size=4)
    trials = [Trial(seed=s, lr=1e-2, weight_decay=w) for s, w in ((0, 0.3), (1, 1.0))]
    options = dict(optimizer=optimizer, matrices_only=True, steps=task.steps, every=task.steps)
    make = lambda: GPT(11, width=8, depth=1, heads=2, context=8)
    with sdpa_kernel(SDPBackend.MATH):
        together = finals(make, task, trials, **options)
        assert_same(together, alone(make, task, trials, **options), task.x)
        everything = finals(make, task, trials, **options | dict(matrices_only=False))
    assert not torch.allclose(everything[0].norm, together[0].norm, rtol=1e-6)


def test_frozen_tensors_stay_and_scale_invariant_networks_equal_one_by_one(digits):
    """LLA-M2's form: the last layer and BatchNorm's gains frozen."""

    def make():
        net = SmallCNN(4)
        freeze_for_scale_invariance(net)
        return net

    options = dict(optimizer="sgd")
    together = finals(make, digits, TRIALS[:3], **options)
    assert_same(together, alone(make, digits, TRIALS[:3], **options), digits.x["val"], 1e-9)
    nets = Stacked.build(make, [0, 1])
    assert "head.weight" in nets.buffers
    assert "head.weight" not in nets.names


def test_modular_equals_one_by_one():
    task = Modular(7)
    trials = [Trial(seed=s, lr=0.01, weight_decay=0.3, sphere=r) for s, r in ((0, None), (1, 2.0))]
    options = dict(optimizer="adamw", betas=(0.9, 0.98))
    together = finals(lambda: Quadratic(7, 16), task, trials, **options)
    assert_same(together, alone(lambda: Quadratic(7, 16), task, trials, **options), task.pairs)


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (MLP, torch.randn(3, 5, 64)),
        (lambda: Quadratic(7, 16), torch.randint(0, 7, (3, 9, 2))),
    ],
)
def test_fast_paths_equal_vmap_of_the_module(make, x):
    nets = Stacked.build(make, [0, 1, 2], dtype=torch.float64)
    x = x.double() if x.is_floating_point() else x
    leaves = [p.requires_grad_() for p in nets.params]
    values = []
    for fast in (nets._fast, None):
        nets._fast = fast
        out = nets(leaves, x)
        values.append((out, *torch.autograd.grad(out.sin().sum(), leaves)))
    for ours, theirs in zip(*values):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: SmallCNN(3), (64,)),
        (lambda: SmallResNet(2), (64,)),
        (lambda: mnist_cnn(width=2), (1, 28, 28)),
        (lambda: PreResNet(1), (3, 8, 8)),
        (lambda: ResNet(Bottleneck, (1, 1, 1, 1)), (3, 8, 8)),
    ],
)
def test_grouped_networks_equal_vmap_buffers_included(make, shape, training):
    x = torch.randn(3, 4, *shape, dtype=torch.float64)
    values = []
    for grouped in (True, False):
        nets = Stacked.build(make, [0, 1, 2], dtype=torch.float64)
        nets._grouped = nets._grouped if grouped else None
        leaves = [p.requires_grad_() for p in nets.params]
        out = nets(leaves, x, training)
        values.append((out, *torch.autograd.grad(out.sin().sum(), leaves), *nets.buffers.values()))
    for ours, theirs in zip(*values):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_networks_that_join_channels_are_not_grouped():
    assert Stacked([densenet121(growth=2)])._grouped is None
    with pytest.raises(ValueError, match="cannot be grouped; use vmap"):
        Grouped(densenet121(growth=2), 2)


@pytest.mark.parametrize(("chunk", "sizes"), [(1, [1] * 8), (3, [3, 3, 2])])
def test_chunks_change_nothing(digits, chunk, sizes):
    options = dict(optimizer="adamw")
    whole = finals(MLP, digits, TRIALS, **options)
    parts = finals(MLP, digits, TRIALS, chunk=chunk, **options)
    assert [len(part.trials) for part in parts] == sizes
    assert_same(whole, parts, digits.x["val"])


def test_a_diverged_trial_freezes_and_infects_nobody(digits):
    options = dict(optimizer="sgd", momentum=0.9, steps=60, every=20)
    calm = [Trial(seed=0, lr=0.02, weight_decay=0.01), Trial(seed=1, lr=0.02)]
    wild = Trial(seed=2, lr=1e9, rules={"weight_decay": MatchedAnnealing()}, weight_decay=0.1)
    trials = [calm[0], wild, calm[1]]
    make = lambda: MLP((64, 16, 10))
    seen = list(train(make, digits.batches, trials, optimizer="sgd", steps=60, every=20, **DOUBLE))
    last = seen[-1]
    assert last.alive.tolist() == [True, False, True]
    assert not math.isfinite(last.loss[1])
    without = finals(make, digits, calm, **options)[0]
    torch.testing.assert_close(
        finals(make, digits, trials, **options)[0].predict(digits.x["val"])[[0, 2]],
        without.predict(digits.x["val"]),
        rtol=1e-10,
        atol=1e-10,
    )
    frozen = [s.predict(digits.x["val"])[1] for s in seen[2:]]
    torch.testing.assert_close(frozen[0], frozen[1], equal_nan=True)
    assert seen[2].K[1] == seen[3].K[1]
    single = list(
        train(make, digits.batches, [wild], optimizer="sgd", steps=60, every=20, **DOUBLE)
    )[-1]
    assert not single.alive[0]


def test_rules_with_memory_follow_the_scheduler(digits):
    """The engine's λ is what `Scheduler` called after each step writes into the groups."""
    trial = Trial(seed=0, lr=0.05, weight_decay=0.3, rules={"weight_decay": MatchedAnnealing(2)})
    twin = Trial(seed=0, lr=0.05, weight_decay=0.3)
    make = lambda: MLP((64, 8, 10))
    seen = list(
        train(make, digits.batches, [trial, twin], optimizer="sgd", steps=STEPS, every=1, **DOUBLE)
    )
    torch.manual_seed(0)
    net = make().double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, weight_decay=0.3)
    scheduler = Scheduler(optimizer, weight_decay=MatchedAnnealing(2))
    feed = digits.batches([twin])
    for step in range(STEPS):
        assert seen[step].weight_decay[0].item() == pytest.approx(
            optimizer.param_groups[0]["weight_decay"], rel=1e-9
        )
        x, y = feed(step)
        loss = cross_entropy(net(x[0])[None], y).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step(loss=loss.item())


@pytest.mark.parametrize("variant", ["literal", "abs", "relative", "twice"])
def test_two_steps_are_those_of_the_schedule_room(digits, variant):
    trials = [
        Trial(seed, 0.05, 0.3, rules={"weight_decay": cosine(STEPS)}, two_step=variant)
        for seed in (0, 1)
    ]
    make = lambda: MLP((64, 8, 10))
    ours = finals(make, digits, trials, optimizer="sgd", momentum=0.9)[0]
    torch.manual_seed(0)
    net = make().double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # literal warns that it climbs
        annealing = TwoStepAnnealing(optimizer, cosine(STEPS), variant=variant)
        feed = digits.batches(trials[:1])
        for step in range(STEPS):
            x, y = feed(step)

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = cross_entropy(net(x[0])[None], y).sum()
                loss.backward()
                return loss

            annealing.step(closure)
    torch.testing.assert_close(
        ours.predict(digits.x["val"])[0], net(digits.x["val"]), rtol=1e-9, atol=1e-9
    )


def test_seeds_decide_weights_and_order_alone(digits):
    make = lambda: MLP((64, 8, 10))
    a, b = (finals(make, digits, [Trial(5, 0.05), Trial(s, 0.05)], optimizer="sgd") for s in (5, 6))
    assert torch.equal(a[0].norm[0], a[0].norm[1])
    assert a[0].norm[0] != b[0].norm[1]
    before = torch.get_rng_state()
    finals(make, digits, [Trial(5, 0.05), Trial(6, 0.05)], optimizer="sgd", steps=1, every=1)
    assert torch.equal(before, torch.get_rng_state())


def test_snapshots_come_at_every_and_K_is_the_sum(digits):
    rules = {"lr": cosine(10), "weight_decay": linear(10)}
    trials = [Trial(0, 0.1, 0.5, rules=rules), Trial(0, 0.1, 0.0)]
    seen = list(train(MLP, digits.batches, trials, optimizer="sgdw", steps=10, every=4, **DOUBLE))
    assert [s.step for s in seen] == [0, 4, 8, 10]
    rates = [0.05 * cosine(10)(i) * linear(10)(i) for i in range(10)]
    for s in seen:
        assert s.K.tolist() == pytest.approx([sum(rates[: s.step]), 0.0], abs=1e-15)
    assert math.isnan(seen[0].loss[0])


def test_unstacked_networks_are_the_rows():
    nets = Stacked.build(SmallCNN, [0, 1])
    x = torch.randn(2, 6, 64)
    out = nets(nets.params, x)
    row = nets.unstack(1)
    assert torch.equal(row.features[1].running_mean, nets.buffers["features.1.running_mean"][1])
    torch.testing.assert_close(row.train()(x[1]), out[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(lr=0.0), "lr must be a finite number above 0"),
        (dict(weight_decay=float("nan")), "weight_decay must be"),
        (dict(sphere=-1.0), "sphere must be"),
        (dict(two_step="absolute"), "unknown two_step 'absolute'; did you mean"),
        (dict(rules={"momentum": cosine(3)}), "unknown entry 'momentum'"),
    ],
)
def test_bad_trials_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Trial(**dict(seed=0, lr=0.1) | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(trials=[]), "trials is empty"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(every=0), "every must be at least 1"),
        (dict(optimizer="sdg"), "unknown optimizer 'sdg'; did you mean 'sgd'"),
    ],
)
def test_bad_runs_are_named(digits, change, message):
    options = dict(trials=[Trial(0, 0.1)], optimizer="sgd", steps=1, every=1) | change
    trials = options.pop("trials")
    with pytest.raises(ValueError, match=message):
        next(train(MLP, digits.batches, trials, **options))


def test_a_signal_that_the_lab_lacks_is_named():
    class Asks:
        reads = ("temperature",)

        def init(self):
            return 0

        def update(self, state, seen):
            return seen["temperature"], state

    schedules = Schedules([Trial(0, 0.1, 0.1, rules={"weight_decay": Asks()})], steps=3)
    with pytest.raises(ValueError, match="reads 'temperature', which the lab does not measure"):
        schedules.see(0, {"loss": lambda row: 1.0}, [True])


def test_nets_of_two_shapes_do_not_stack():
    with pytest.raises(ValueError, match="differ in the names or shapes"):
        Stacked([nn.Linear(2, 2), nn.Linear(2, 3)])
    with pytest.raises(ValueError, match="nets is empty"):
        Stacked([])


def test_chunks_fit_the_memory(digits, monkeypatch):
    trials = [Trial(0, 0.1)] * 432
    sizes = []
    for free in (1 << 23, 1 << 26, 1 << 33):
        monkeypatch.setattr("etalambda.lab.engine.training.free_memory", lambda device, f=free: f)
        sizes.append(chunk_size(MLP, digits.batches, trials))
    assert all(small < large for small, large in pairwise(sizes[:2]))
    assert sizes[-1] == 432


def test_jobs_report_and_a_failure_stops_the_others():
    ended = threading.Event()

    def waits(tick):
        try:
            while True:
                tick(0.5)
        except Stopped:
            ended.set()
            raise

    def fails(tick):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        list(run_jobs({"a": waits, "b": fails}, workers=2))
    assert ended.is_set()
    shares = []
    assert dict(run_jobs({"a": lambda tick: tick(0.25)}, progress=shares.append)) == {"a": None}
    assert shares == [0.25, 1.0]
    assert list(run_jobs({})) == []


def test_a_seed_makes_one_network_in_whatever_thread():
    """torch's random state is one for all threads: without a lock, jobs mix each other's draws."""
    from concurrent.futures import ThreadPoolExecutor

    from etalambda.lab.models.stacked import seeded

    def make(seed):
        return seeded(
            lambda: torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(40)]), seed
        )

    alone = [make(seed)[0].weight for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(make, range(16)))
    for weight, net in zip(alone, together):
        assert torch.equal(weight, net[0].weight)
        assert not torch.equal(net[0].weight, net[39].weight)
