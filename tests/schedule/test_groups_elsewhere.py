"""Param groups of sharded, wrapped and meta models, and in the forms of other tools."""

import re

import pytest
import torch
from torch import nn

import etalambda as el
from tests.schedule.networks import GPT, ViT, decayed


def test_meta_model_gives_the_same_groups_and_rebinds():
    with torch.device("meta"):
        meta = el.param_groups(GPT(), 0.1, "gpt")
    model = GPT()
    real = el.param_groups(model, 0.1, "gpt")
    assert str(meta) == str(real)
    assert meta.rebind(torch.compile(model)).names() == real.names()
    assert [g["params"] for g in meta.rebind(model)] == [g["params"] for g in real]
    with pytest.raises(ValueError, match=r"no parameter 'w\.weight'"):
        meta.rebind(nn.Linear(2, 2))


@pytest.mark.parametrize("wrap", ["h.0.", "h.0._checkpoint_wrapped_module.", "_orig_mod.h.0."])
def test_torchtitan_patterns_match_each_name_once(wrap):
    groups = el.param_groups(GPT(tied=False), 0.1, "gpt")
    exported = groups.export("torchtitan")
    assert [e["optimizer_kwargs"] for e in exported] == [
        {"weight_decay": 0.1},
        {"weight_decay": 0.1},
        {"weight_decay": 0.0},
    ]
    for entry, group in zip(exported, groups):
        for param in group["params"]:
            name = next(e.name for e in groups.entries if e.param is param)
            seen = name.replace("h.0.", wrap)
            hits = [e for e in exported if re.search(e["pattern"], seen)]
            assert hits == [entry], seen
    assert r"\d+" in exported[0]["pattern"]


def test_torchtitan_patterns_keep_block_numbers_that_matter():
    groups = el.param_groups(ViT(), 0.1, "vit", layer_decay=0.5, lr=0.8)
    exported = groups.export("torchtitan")
    hits = [e for e in exported if re.search(e["pattern"], "blocks.1.a.weight")]
    assert [e["optimizer_kwargs"] for e in hits] == [{"weight_decay": 0.1, "lr": 0.4}]


def test_hf_gets_the_names_that_decay_or_an_error():
    groups = el.param_groups(GPT(), 0.1)
    assert groups.export("hf") == groups.names(decayed=True)
    groups[0]["lr"] = 0.1
    with pytest.raises(ValueError, match=r"optimizers=\(optimizer, None\)"):
        groups.export("hf")


def test_deepspeed_gets_plain_dicts_of_its_own():
    groups = el.param_groups(GPT(), 0.1)
    plain = groups.export("deepspeed")
    assert type(plain) is list
    assert plain == list(groups)
    assert plain[0] is not groups[0]


@pytest.fixture
def world_of_one():
    dist = torch.distributed
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("world_of_one")
def test_dtensor_parameters_count_by_their_whole_shape():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = fully_shard(GPT(), mesh=init_device_mesh("cpu", (1,)))
    groups = el.param_groups(model, 0.1, "gpt")
    assert type(groups[0]["params"][0]).__name__ == "DTensor"
    assert str(groups) == str(el.param_groups(GPT(), 0.1, "gpt"))


@pytest.mark.usefixtures("world_of_one")
@pytest.mark.filterwarnings("ignore")  # FSDP1 warns of its own age
def test_fsdp1_is_refused_and_the_remedy_works():
    from torch.distributed.fsdp import FullyShardedDataParallel

    cpu = torch.device("cpu")
    with pytest.raises(TypeError, match=r"FSDP1's flat parameters.*fully_shard.*rebind"):
        el.param_groups(FullyShardedDataParallel(nn.Linear(4, 2), device_id=cpu), 0.1)

    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    groups = el.param_groups(model, 0.1)
    wrapped = FullyShardedDataParallel(model, use_orig_params=True, device_id=cpu)
    with pytest.raises(TypeError, match="flat parameters"):
        el.param_groups(wrapped, 0.1)
    optimizer = torch.optim.SGD(groups.rebind(wrapped), lr=0.1)
    before = [p.detach().clone() for g in optimizer.param_groups for p in g["params"]]
    wrapped(torch.ones(3, 4)).sum().backward()
    optimizer.step()
    after = [p for g in optimizer.param_groups for p in g["params"]]
    assert all(not torch.equal(a, b) for a, b in zip(before, after))


def test_zero3_partitions_count_by_their_whole_shape():
    model = nn.Linear(4, 3)
    model.weight.ds_shape = model.weight.shape
    model.weight.data = torch.empty(0)
    assert decayed(el.param_groups(model, 0.1)) == {"weight"}


def test_names_are_those_of_the_model_inside_its_wrappers():
    bare = el.param_groups(GPT(), 0.1)
    for wrapper in (torch.compile, nn.DataParallel):
        assert el.param_groups(wrapper(GPT()), 0.1).names() == bare.names()
