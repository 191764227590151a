"""What `export` prints, fed to the tools themselves: the K that they spend is the plan's.

Each test runs where its tool is installed: transformers everywhere, the others by
``benchmarks/export_check.sh`` in an environment of their own.
"""

import itertools
import json
import math
import shlex

import pytest
import torch

import etalambda as el

STEPS = 60
CLOSE = dict(rel=0.05)  # two digits of λ
SHAPES = ("constant", "linear", "cosine")


def found(optimizer="adamw", lr_schedule="cosine", schedule="constant", **options):
    return el.suggest(
        optimizer=optimizer,
        lr=0.002,
        steps=STEPS,
        lr_schedule=lr_schedule,
        weight_decay_schedule=schedule,
        momentum=0.9 if optimizer == "sgd" else 0.0,
        reference=dict(lr=0.01, weight_decay=0.05, steps=1000),
        **options,
    )


def flags(text):
    words = shlex.split(text)
    return dict(zip([word.lstrip("-") for word in words[::2]], words[1::2]))


def spent(lrs, decays, gain=1.0):
    return gain * sum(lr * decay for lr, decay in zip(lrs, decays, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_transformers(optimizer, shape, tmp_path):
    transformers = pytest.importorskip("transformers")
    suggestion = found(optimizer, shape)
    parser = transformers.HfArgumentParser(transformers.TrainingArguments)
    words = [*shlex.split(suggestion.export("hf")), "--output_dir", str(tmp_path)]
    (arguments,) = parser.parse_args_into_dataclasses([*words, "--report_to", "none"])
    assert arguments.max_steps == STEPS
    pytest.importorskip("accelerate")
    trainer = transformers.Trainer(model=torch.nn.Linear(2, 2), args=arguments)
    trainer.create_optimizer_and_scheduler(arguments.max_steps)
    group = trainer.optimizer.param_groups[0]
    assert group.get("momentum", 0.0) == suggestion.plan.momentum
    lrs, decays = [], []
    for _ in range(STEPS):
        lrs.append(group["lr"])
        decays.append(group["weight_decay"])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    gain = 1 / (1 - group.get("momentum", 0.0))
    assert spent(lrs, decays, gain) == pytest.approx(suggestion.plan.total, **CLOSE)


def test_transformers_knows_lion(tmp_path):
    transformers = pytest.importorskip("transformers")  # running it takes bitsandbytes
    parser = transformers.HfArgumentParser(transformers.TrainingArguments)
    words = [*shlex.split(found("lion").export("hf")), "--output_dir", str(tmp_path)]
    (arguments,) = parser.parse_args_into_dataclasses(words)
    assert arguments.optim == "lion_32bit"


def test_torchtitan():
    pytest.importorskip("torchtitan")
    optimizer = pytest.importorskip("torchtitan.components.optimizer.optimizer")
    scheduler = pytest.importorskip("torchtitan.components.optimizer.lr_scheduler")
    configs = pytest.importorskip("torchtitan.config.configs")
    names = {**vars(optimizer), **vars(scheduler), **vars(configs)}
    for shape in SHAPES:
        suggestion = found("adamw", shape)
        config = eval(f"dict({suggestion.export('torchtitan')})", names)
        assert config["training"].steps == STEPS
        config["optimizer"].implementation = "foreach"  # fused asks for a GPU
        built = config["optimizer"].build(model_parts=[torch.nn.Linear(2, 2)])
        schedule = config["lr_scheduler"].build(optimizers=built, training_steps=STEPS)
        (group,) = next(iter(built)).param_groups
        lrs, decays = [], []
        for _ in range(STEPS):
            lrs.append(group["lr"])
            decays.append(group["weight_decay"])
            built.step()
            schedule.step()
        assert spent(lrs, decays) == pytest.approx(suggestion.plan.total, **CLOSE)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_megatron():
    """Its argument parser is in no package; the flags' names were read in its source."""
    module = pytest.importorskip("megatron.core.optimizer_param_scheduler")
    for shape in SHAPES:
        suggestion = found("adamw", shape)
        given = flags(suggestion.export("megatron"))
        group, decay = dict(params=[], wd_mult=1.0), float(given["weight-decay"])
        iters = int(given["lr-decay-iters"])
        plan = module.OptimizerParamScheduler(
            _Holder(group), 0.0, float(given["lr"]), float(given["min-lr"]), 0, iters,
            given["lr-decay-style"], decay, decay, int(given["train-iters"]), "constant",
        )  # fmt: skip
        lrs, decays = [], []
        for _ in range(STEPS):
            lrs.append(group["lr"])
            decays.append(group["weight_decay"])
            plan.step(1)
        assert spent(lrs, decays) == pytest.approx(suggestion.plan.total, **CLOSE)
    falling = (0, 9, "linear", 0.1, 0.0, 9, "linear")
    with pytest.raises(AssertionError):  # why a falling λ is refused
        module.OptimizerParamScheduler(_Holder(dict(params=[])), 0.0, 1e-3, 0.0, *falling)


class _Holder:
    def __init__(self, group):
        self.param_groups = [group]


def test_deepspeed(monkeypatch):
    local = dict(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="localhost")
    for name, value in (local | dict(MASTER_PORT="29531", DS_ACCELERATOR="cpu")).items():
        monkeypatch.setenv(name, value)
    deepspeed = pytest.importorskip("deepspeed")
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    for optimizer, shape in [("adamw", "cosine"), *(("sgd", shape) for shape in SHAPES)]:
        suggestion = found(optimizer, shape)
        config = json.loads(suggestion.export("deepspeed")) | {"train_micro_batch_size_per_gpu": 1}
        model = torch.nn.Linear(2, 2)
        engine, built, _, _ = deepspeed.initialize(
            model=model, model_parameters=model.parameters(), config=config
        )
        group, lrs, decays = built.param_groups[0], [], []
        for _ in range(STEPS):
            lrs.append(group["lr"])
            decays.append(group["weight_decay"])
            engine.backward(engine(torch.ones(1, 2)).sum())
            engine.step()
        gain = 1 / (1 - group.get("momentum", 0.0))
        assert spent(lrs, decays, gain) == pytest.approx(suggestion.plan.total, **CLOSE)


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "sgd", "muon"])
def test_optax(optimizer):
    """Zero gradients: what is left of a weight is Π (1 - r), about exp(-K)."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    schedules = ("constant",) if optimizer == "muon" else ("constant", "matched", "linear")
    for shape, schedule in itertools.product(SHAPES, schedules):
        suggestion = found(optimizer, shape, schedule)
        rule = eval(suggestion.export("optax"), dict(optax=optax))
        weights = {"w": jax.numpy.ones((2, 2))}
        state = rule.init(weights)
        for _ in range(STEPS):
            zero = jax.tree.map(jax.numpy.zeros_like, weights)
            updates, state = rule.update(zero, state, weights)
            weights = optax.apply_updates(weights, updates)
        left = -math.log(weights["w"].mean().item())
        slack = 0.25 if optimizer == "sgd" else 0.06  # the buffer's decay is still on its way
        assert left == pytest.approx(suggestion.plan.total, rel=slack)


def test_optax_muon_keeps_its_decay():
    with pytest.raises(el.suggest.CannotExpress, match="the optimizer 'muon'"):
        found("muon", "linear", "matched").export("optax")
