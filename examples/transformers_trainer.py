"""Hugging Face Trainer: groups by module type, cosine weight decay and a monitor by callbacks.

Needs: pip install 'etalambda[hf]'. Run it: python examples/transformers_trainer.py
"""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

import etalambda as el
from etalambda.diagnose import Panel, every
from etalambda.integrations.transformers import MonitorCallback, WeightDecayCallback
from etalambda.schedule import cosine

STEPS = 12


class GroupedTrainer(Trainer):
    """The Trainer decays by name ("bias", "norm"); this one by module type and shape."""

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        return el.param_groups(model, self.args.weight_decay).export("hf")


def main() -> list[float]:
    """Train a tiny GPT-2 from a config; return the weight decay of each group at the end."""
    set_seed(0)
    config = GPT2Config(
        vocab_size=32,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    tokens = torch.randint(0, 32, (64, 16))
    schedule = WeightDecayCallback(weight_decay=cosine(STEPS))
    watch = MonitorCallback(every(4), panel=Panel(steps=4))  # K survives a resume
    with tempfile.TemporaryDirectory() as folder:
        trainer = GroupedTrainer(
            model=GPT2LMHeadModel(config),
            args=TrainingArguments(
                output_dir=folder,
                max_steps=STEPS,
                weight_decay=0.1,
                learning_rate=1e-3,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                use_cpu=True,
            ),
            train_dataset=[{"input_ids": row, "labels": row} for row in tokens],
            callbacks=[schedule, watch],
        )
        trainer.train()
    print(schedule.scheduler)
    print({name: watch.monitor.last[name] for name in ("step", "K/0", "panel/angle/total")})
    return schedule.scheduler.last("weight_decay")


if __name__ == "__main__":
    main()
