"""Which tensors decay: by module type and shape, never twice, never when frozen."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import etalambda as el
from etalambda.schedule.depth import block_prefixes, depths
from etalambda.schedule.kinds import entries
from tests.schedule.networks import GPT, Adapted, Mixer, ViT, decayed, exempt


def kinds(model):
    return {entry.name: entry.kind for entry in entries(model)}


def test_default_is_two_groups_that_an_optimizer_takes():
    model = GPT()
    groups = el.param_groups(model, 0.1)
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    assert all(set(g) == {"params", "weight_decay"} for g in groups)
    assert decayed(groups) == {n for n, p in model.named_parameters() if p.ndim >= 2}
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    assert optimizer.param_groups[1]["weight_decay"] == 0
    plain = torch.optim.AdamW(model.parameters()).state_dict()["param_groups"][0]
    assert set(optimizer.state_dict()["param_groups"][0]) == set(plain)


@pytest.mark.parametrize("recipe", [None, "gpt", "vit", "conv"])
def test_each_trainable_tensor_once(recipe):
    model = GPT()
    model.h[0].requires_grad_(False)
    held = [p for g in el.param_groups(model, 0.1, recipe) for p in g["params"]]
    want = [p for p in model.parameters() if p.requires_grad]
    assert len(held) == len(set(held)) == len(want)
    assert set(held) == set(want)


def test_tied_output_layer_is_an_embedding_under_its_first_name():
    groups = el.param_groups(GPT(), 0.1, "gpt", embeddings=False)
    assert {"w.weight", "bias_norm.weight"} <= exempt(groups)
    assert "out.weight" not in groups.names()
    assert "tied: out.weight = w.weight" in str(groups)


def test_gpt_gives_embeddings_a_group_of_their_own_either_way():
    with_decay = el.param_groups(GPT(tied=False), 0.1, "gpt")
    assert [g["weight_decay"] for g in with_decay] == [0.1, 0.1, 0.0]
    assert len(with_decay[1]["params"]) == 2
    without = el.param_groups(GPT(tied=False), 0.1, "gpt", embeddings=False)
    assert [g["weight_decay"] for g in without] == [0.1, 0.0, 0.0]
    assert "out.weight" in decayed(without)


def test_types_beat_shapes_and_shapes_beat_names():
    norm3d = nn.LayerNorm((2, 3, 4))
    model = nn.ModuleDict(
        {
            "weight": norm3d,
            "norm": nn.Linear(3, 1),
            "bias": nn.Conv2d(2, 2, 3),
            "lstm": nn.LSTM(3, 4),
            "attn": nn.MultiheadAttention(4, 2, add_bias_kv=True),
            "wn": parametrizations.weight_norm(nn.Linear(3, 4)),
            "sn": parametrizations.spectral_norm(nn.Linear(3, 4)),
        }
    )
    found = kinds(model)
    assert found["weight.weight"] == found["weight.bias"] == "norm"
    assert found["norm.weight"] == "matrix"
    assert found["bias.weight"] == "conv"
    assert found["lstm.weight_hh_l0"] == "matrix"
    assert found["lstm.bias_hh_l0"] == found["attn.bias_k"] == "bias"
    assert found["attn.in_proj_weight"] == "matrix"
    assert found["wn.parametrizations.weight.original0"] == "vector"
    assert found["wn.parametrizations.weight.original1"] == "matrix"
    assert found["sn.parametrizations.weight.original"] == "matrix"


def test_old_weight_norm_magnitude_is_no_matrix():
    with pytest.warns(FutureWarning, match="weight_norm"):
        layer = nn.utils.weight_norm(nn.Linear(3, 4))
    assert kinds(layer) == {"bias": "bias", "weight_g": "bias", "weight_v": "matrix"}


@pytest.mark.parametrize("mixer", [Mixer(), Mixer(name="q"), Mixer(conv=False)])
def test_state_space_tensors_are_exempt(mixer):
    groups = el.param_groups(nn.Sequential(mixer), 0.1, "gpt")
    assert decayed(groups) == {"0.i.weight", "0.o.weight", "0.c.weight"} & set(groups.names())
    assert len(exempt(groups) & {"0.A_log", "0.q", "0.D"}) == 2


def test_what_a_model_declares_wins():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[0].weight._no_weight_decay = True
    model[1].weight._optim = {"weight_decay": 0.0, "lr": 1e-3}
    model.no_weight_decay = lambda: {"2.weight"}
    assert decayed(el.param_groups(nn.ModuleList([model, nn.Linear(3, 3)]), 0.1)) == {"1.weight"}


def test_vit_exempts_tokens_and_positions():
    model = ViT()
    assert exempt(el.param_groups(model, 0.1)) & {"cls", "pos"} == {"cls"}
    assert exempt(el.param_groups(model, 0.1, "vit")) & {"cls", "pos"} == {"cls", "pos"}
    assert "patch.weight" in decayed(el.param_groups(model, 0.1, "vit"))


def test_conv_exempts_depthwise_filters():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8))
    assert decayed(el.param_groups(model, 0.1)) == {"0.weight", "1.weight"}
    assert decayed(el.param_groups(model, 0.1, "conv")) == {"0.weight"}


@pytest.mark.parametrize("tied", [True, False])
def test_muon_takes_hidden_matrices_and_adamw_the_rest(tied):
    model = GPT(tied=tied)
    muon, adamw = el.param_groups(model, 0.1, "muon")
    assert set(muon.names()) == {
        f"h.{i}.{layer}.weight" for i in range(3) for layer in ("a", "up", "down")
    }
    assert ("out.weight" in adamw.names()) is not tied
    torch.optim.Muon(muon, lr=0.02)
    torch.optim.AdamW(adamw, lr=1e-3)
    assert len(muon.names()) + len(adamw.names()) == len(list(model.parameters()))
    assert str(el.param_groups(model, 0.1, "muon")).startswith("muon\ngroup")


def test_muon_leaves_convolutions_and_positions_to_adamw():
    muon, adamw = el.param_groups(ViT(), 0.1, "muon")
    assert {"patch.weight", "pos", "cls", "head.weight"} <= set(adamw.names())
    assert all(p.ndim == 2 for g in muon for p in g["params"])


def test_lora_trains_adapters_only_and_keeps_the_factors_apart():
    model = nn.Sequential(Adapted(), Adapted(), nn.Linear(8, 3))
    groups = el.param_groups(model, 0.1, "lora")
    assert groups.of_kind("lora_a") == [model[0].one.weight, model[1].one.weight]
    assert groups.of_kind("lora_b") == [model[0].two.weight, model[1].two.weight]
    assert groups.of_kind("matrix") == [model[2].weight]
    assert [len(g["params"]) for g in groups] == [1, 2, 2, 1]
    assert "0.base.weight" not in groups.names()
    with pytest.raises(ValueError, match="'lora' expects a frozen base"):
        el.param_groups(GPT(), 0.1, "lora")


def test_layer_decay_multiplies_the_lr_by_distance_from_the_head():
    model = ViT()
    groups = el.param_groups(model, 0.1, "vit", layer_decay=0.5, lr=0.8)
    lr = {p: g["lr"] for g in groups for p in g["params"]}
    assert lr[model.pos] == lr[model.patch.weight] == 0.1
    assert lr[model.blocks[0].a.weight] == lr[model.blocks[0].n1.weight] == 0.2
    assert (lr[model.blocks[1].a.weight], lr[model.head.weight]) == (0.4, 0.8)
    assert all(g["weight_decay"] in (0.1, 0.0) for g in groups)


def test_blocks_are_found_by_structure():
    assert list(block_prefixes(GPT())) == ["h.0.", "h.1.", "h.2."]
    depth, last = depths(GPT(tied=False))
    assert last == 4
    assert sorted(set(depth.values())) == [0, 1, 2, 3, 4]


def test_split_gives_a_target_its_own_group():
    model = GPT()
    split = el.param_groups(model, torch.tensor(0.1)).split(["h.0.a.weight", "out.weight"])
    assert [len(g["params"]) for g in split] == [9, 23, 2]
    assert [float(g["weight_decay"]) for g in split] == pytest.approx([0.1, 0.0, 0.1])
    assert split[0]["weight_decay"] is not split[2]["weight_decay"]
    with pytest.raises(ValueError, match=r"unknown parameter 'h\.0\.b\.weight'"):
        split.split(["h.0.b.weight"])
    with pytest.raises(ValueError, match=r"shape \(2,\) is in no group"):
        split.split([torch.zeros(2)])


def test_tensor_weight_decay_is_not_shared_between_groups():
    groups = el.param_groups(GPT(), torch.tensor(0.1), "gpt")
    assert groups[0]["weight_decay"] is not groups[1]["weight_decay"]
    assert groups[2]["weight_decay"] == 0


def test_table_says_what_an_optimizer_has_made_of_the_groups():
    groups = el.param_groups(GPT(), 0.1)
    torch.optim.AdamW(groups, lr=2e-3)
    groups[0]["weight_decay"] = 0.05
    assert str(groups).splitlines()[1].split()[:3] == ["0", "0.05", "0.002"]
    assert repr(groups) == str(groups)
    assert str(copy.deepcopy(groups)) == str(groups)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: el.param_groups(m.parameters(), 0.1), TypeError, "pass the model itself"),
        (lambda m: el.param_groups(m, -0.1), ValueError, "weight_decay must be"),
        (lambda m: el.param_groups(m, 0.1, "gtp"), ValueError, "did you mean 'gpt'"),
        (lambda m: el.param_groups(m, 0.1, layer_decay=0.5), ValueError, "go together"),
        (lambda m: el.param_groups(m, 0.1, layer_decay=2, lr=1), ValueError, r"lie in \(0, 1\]"),
        (lambda m: el.param_groups(m, 0.1, "muon", layer_decay=1, lr=1), ValueError, "'muon'"),
        (lambda m: el.param_groups(m, 0.1, lr=1.0), ValueError, "layer_decay and lr go together"),
        (lambda m: el.param_groups(m, 0.1).export("jax"), ValueError, "unknown target 'jax'"),
        (lambda m: el.param_groups(m, 0.1).of_kind("conv"), ValueError, "Known: embedding"),
        (lambda m: el.param_groups(nn.ReLU(), 0.1), ValueError, "no trainable parameter"),
        (lambda m: el.param_groups(nn.LazyLinear(2), 0.1), ValueError, "run one batch"),
        (
            lambda m: el.param_groups(nn.Linear(2, 2), 0.1, layer_decay=0.5, lr=1.0),
            ValueError,
            "no chain of blocks",
        ),
    ],
)
def test_errors_name_the_argument_and_the_remedy(call, error, message):
    with pytest.raises(error, match=message):
        call(GPT())
