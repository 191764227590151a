"""Hugging Face Trainer, the real one, on a tiny model built from a config."""

import json

import pytest
import torch

import etalambda as el
from etalambda.diagnose import Panel, every, weight_norms
from etalambda.integrations import LRSchedulerAdapter
from etalambda.integrations.transformers import MonitorCallback, WeightDecayCallback
from etalambda.schedule import CoupledToLR, MatchedAnnealing, Scheduler, cosine

transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*"),
]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers.logging.set_verbosity_error()


def tiny():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


class Watch(transformers.TrainerCallback):
    """The weight decay of each optimizer step, and the loss of each micro-batch."""

    def __init__(self):
        self.seen, self.losses = [], []

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        optimizer.optimizer.register_step_pre_hook(
            lambda o, *_: self.seen.append([g["weight_decay"] for g in o.param_groups])
        )
        model.register_forward_hook(lambda m, a, out: self.losses.append(float(out.loss.detach())))


def trainer(tmp_path, *callbacks, optimizers=(None, None), model=None, **options):
    watch = Watch()
    settings = dict(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        num_train_epochs=1,
        learning_rate=1e-2,
        weight_decay=0.5,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        max_steps=6,
        data_seed=1,
    )
    tokens = torch.randint(0, 11, (64, 8), generator=torch.Generator().manual_seed(1))
    made = transformers.Trainer(
        model=model or tiny(),
        args=transformers.TrainingArguments(**(settings | options)),
        train_dataset=[{"input_ids": t, "labels": t} for t in tokens],
        callbacks=[*callbacks, watch],
        optimizers=optimizers,
    )
    return made, watch


def train(*args, resume=None, **options):
    made, watch = trainer(*args, **options)
    made.train(resume_from_checkpoint=resume)
    return watch, made


def test_callback_drives_the_trainers_own_optimizer(tmp_path):
    watch, _ = train(tmp_path, WeightDecayCallback(weight_decay=cosine(6)))
    assert [w for w, _ in watch.seen] == pytest.approx([0.5 * cosine(6)(t) for t in range(6)])
    assert all(bias == 0 for _, bias in watch.seen)


def test_a_coupling_follows_the_trainers_own_learning_rate(tmp_path):
    callback = WeightDecayCallback(weight_decay=CoupledToLR())
    watch, _ = train(tmp_path, callback, lr_scheduler_type="linear")
    assert [w for w, _ in watch.seen] == pytest.approx([0.5 * (1 - t / 6) for t in range(6)])


def test_both_schedules_through_optimizers(tmp_path):
    model = tiny()
    optimizer = torch.optim.AdamW(el.param_groups(model, 0.5, "gpt"), lr=1e-2)
    lr = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    both = LRSchedulerAdapter(Scheduler(optimizer, weight_decay=cosine(6)), lr)
    watch, made = train(tmp_path, optimizers=(optimizer, both), model=model)
    assert [w[0] for w in watch.seen] == pytest.approx([0.5 * cosine(6)(t) for t in range(6)])
    assert made._get_learning_rate() == pytest.approx(1e-5)


def test_names_for_the_trainers_own_groups(tmp_path):
    class Ours(transformers.Trainer):
        def get_decay_parameter_names(self, model):
            return el.param_groups(model, self.args.weight_decay).export("hf")

    arguments = transformers.TrainingArguments(str(tmp_path), weight_decay=0.5, use_cpu=True)
    made = Ours(model=tiny(), args=arguments)
    optimizer = made.create_optimizer()
    groups = el.param_groups(made.model, 0.5)
    assert [len(g["params"]) for g in optimizer.param_groups] == [len(g["params"]) for g in groups]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_feedback_reads_the_models_loss_once_an_optimizer_step(tmp_path, accumulate):
    callback = WeightDecayCallback(weight_decay=MatchedAnnealing())
    watch, _ = train(tmp_path, callback, gradient_accumulation_steps=accumulate)
    assert callback.scheduler.ticks == len(watch.seen) == 6
    parts = [watch.losses[i : i + accumulate] for i in range(0, 6 * accumulate, accumulate)]
    losses = [sum(part) for part in parts]  # the model divides by the whole step's tokens
    assert 2 < losses[0] < 3
    want = [0.5] + [0.5 * loss / losses[0] for loss in losses[:5]]
    assert [w for w, _ in watch.seen] == pytest.approx(want, rel=1e-5)


def test_resume_equals_the_straight_run(tmp_path):
    def callback():
        return WeightDecayCallback(weight_decay=MatchedAnnealing(memory=1))

    straight, _ = train(tmp_path / "a", callback())
    options = dict(save_strategy="steps", save_steps=3)
    train(tmp_path / "b", callback(), **options)
    state = json.loads((tmp_path / "b/checkpoint-3/trainer_state.json").read_text())
    assert state["stateful_callbacks"]["etalambda"]["attributes"]["tick"] == 3
    second, _ = train(tmp_path / "b", callback(), resume=str(tmp_path / "b/checkpoint-3"))
    assert second.seen == straight.seen[3:]


def test_adapter_resumes_through_the_trainers_checkpoint(tmp_path):
    def parts():
        model = tiny()
        optimizer = torch.optim.AdamW(el.param_groups(model, 0.5), lr=1e-2)
        lr = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        both = LRSchedulerAdapter(Scheduler(optimizer, weight_decay=cosine(6)), lr)
        return dict(model=model, optimizers=(optimizer, both))

    straight, _ = train(tmp_path / "a", **parts())
    train(tmp_path / "b", save_strategy="steps", save_steps=3, **parts())
    second, _ = train(tmp_path / "b", resume=str(tmp_path / "b/checkpoint-3"), **parts())
    assert second.seen == straight.seen[3:]


def test_a_checkpoint_from_before_the_callback_loads(tmp_path):
    train(tmp_path, save_strategy="steps", save_steps=3)
    callback = WeightDecayCallback(weight_decay=cosine(6))
    watch, _ = train(tmp_path, callback, resume=str(tmp_path / "checkpoint-3"))
    assert watch.seen[0][0] == 0.5
    assert callback.scheduler.ticks == 3


def test_observe_replaces_the_models_loss(tmp_path):
    callback = WeightDecayCallback(weight_decay=MatchedAnnealing())

    class Ours(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = model(**inputs).loss
            callback.observe(torch.tensor(8.0 / (self.state.global_step + 1)))
            return loss

    made, watch = trainer(tmp_path, callback)
    made.__class__ = Ours
    made.train()
    want = [0.5, 0.5, 0.25, 0.5 / 3, 0.125, 0.1]
    assert [w for w, _ in watch.seen] == pytest.approx(want)


def test_a_model_without_a_loss_says_what_to_call(tmp_path):
    callback = WeightDecayCallback(weight_decay=MatchedAnnealing())
    callback._late.begin(torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))]))
    with pytest.raises(ValueError, match=r"callback\.observe\(loss\)"):
        callback.on_step_end(None, transformers.TrainerState(), None)


def test_monitor_k_survives_a_resume_and_rows_reach_logs_and_sinks(tmp_path):
    def watch(*sinks):
        return MonitorCallback(every(2), sinks=sinks, norm=weight_norms, panel=Panel(steps=2))

    logged = []

    class Logs(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            logged.append(logs)

    rows, straight = [], watch(lambda row: rows.append(row))
    train(tmp_path / "a", straight, Logs(), logging_steps=2)
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert logged[0]["etalambda/norm/0"] == rows[0]["norm/0"]
    train(tmp_path / "b", watch(), save_strategy="steps", save_steps=3)
    second = watch()
    train(tmp_path / "b", second, resume=str(tmp_path / "b/checkpoint-3"))
    assert second.monitor.spent == pytest.approx(straight.monitor.spent, rel=1e-12)
    assert straight.monitor.spent[0] > 0
    assert [r["norm/0"] for r in second.monitor.rows] == [r["norm/0"] for r in rows]


def test_errors_come_before_training():
    with pytest.raises(ValueError, match="no rule given"):
        WeightDecayCallback()
    with pytest.raises(TypeError, match="is a number"):
        WeightDecayCallback(weight_decay=0.1)
