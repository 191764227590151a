"""Exports: what each tool can say, and an error with a way out where it cannot."""

import json

import pytest

import etalambda as el
from etalambda.suggest.export import TOOLS, CannotExpress, export


def found(optimizer="adamw", lr_schedule="cosine", schedule="constant", **options):
    return el.suggest(
        optimizer=optimizer,
        lr=1e-3,
        steps=1000,
        lr_schedule=lr_schedule,
        weight_decay_schedule=schedule,
        **options,
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_says_a_constant_adamw(tool):
    suggestion = found()
    text = export(suggestion, tool)
    assert f"{suggestion.weight_decay:.2g}" in text
    assert "0.001" in text
    assert tool == "optax" or "1000" in text


def test_optax_can_schedule_weight_decay():
    assert export(found(schedule="matched"), "optax").count("optax.cosine_decay_schedule(") == 2
    assert "weight_decay=optax.linear_schedule(" in export(found(schedule="linear"), "optax")


def test_deepspeed_is_json_and_sgd_keeps_its_momentum():
    config = json.loads(export(found("lion"), "deepspeed"))
    assert config["optimizer"]["type"] == "Lion"
    assert config["scheduler"] == {"type": "CosineAnnealingLR", "params": {"T_max": 1000}}
    assert "scheduler" not in json.loads(export(found(lr_schedule="constant"), "deepspeed"))
    sgd = found("sgd", momentum=0.9)
    assert "--optim sgd --optim_args momentum=0.9" in export(sgd, "hf")
    assert "--sgd-momentum 0.9" in export(sgd, "megatron")


@pytest.mark.parametrize(
    ("tool", "suggestion", "message"),
    [
        ("hf", found(schedule="matched"), "hf keeps λ constant.*'matched'; use etalambda.tie"),
        ("megatron", found(schedule="matched"), "only lets λ grow.*'matched'; use etalambda.tie"),
        ("optax", found("adai"), "cannot express the optimizer 'adai'; chain add_decayed_weights"),
        ("torchtitan", found("muon"), "cannot express the optimizer 'muon'"),
        ("deepspeed", found("muon"), "pass your own to initialize"),
        ("megatron", found(lr_schedule=[1.0] * 1000), "cannot express the lr schedule 'as given'"),
        ("optax", found(schedule="constant_product"), "any step -> value function"),
    ],
)
def test_what_a_tool_cannot_say_is_an_error_with_a_way_out(tool, suggestion, message):
    with pytest.raises(CannotExpress, match=message):
        export(suggestion, tool)


def test_unknown_tool():
    with pytest.raises(ValueError, match="unknown tool 'megatorn'; did you mean 'megatron'"):
        export(found(), "megatorn")
