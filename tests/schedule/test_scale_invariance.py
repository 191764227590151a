"""Scale-invariant weights: precision and recall 1 on networks where the answer is known."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from etalambda.schedule import param_groups, scale_invariant_parameters
from tests.schedule.normalized import (
    GPT,
    LSTM,
    HandNorm,
    PostNorm,
    Standardised,
    group_normed,
    instance_normed,
    resnet18,
    spectral_normed,
    vgg16,
    weight_normed,
)

IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(0, 9, (4, 8), generator=torch.Generator().manual_seed(1))


def convolutions(model):
    return {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


def query_and_key(model):
    return {n for n, _ in model.named_parameters() if n.endswith((".q.weight", ".k.weight"))}


@pytest.mark.parametrize(
    ("model", "batch", "truth"),
    [
        (resnet18(), IMAGES, convolutions),
        (resnet18(zero_init=True), IMAGES, convolutions),
        (vgg16(), IMAGES, lambda m: set()),
        (vgg16(norm=True), IMAGES, convolutions),
        (GPT(), TOKENS, query_and_key),
        (GPT(), (TOKENS, TOKENS), query_and_key),
        (GPT(norm=nn.RMSNorm), {"idx": TOKENS}, query_and_key),
        (GPT(norm=HandNorm), TOKENS, query_and_key),
        (GPT(embed_norm=True), TOKENS, lambda m: query_and_key(m) | {"wte.weight"}),
        (PostNorm(), torch.randn(2, 5, 16), lambda m: {f"attention.{x}.weight" for x in "qkvo"}),
        (LSTM(), TOKENS, lambda m: set()),
    ],
    ids=str.split(
        "resnet zero-init vgg vgg-bn gpt gpt-loss gpt-rms gpt-hand gpt-embed post-norm lstm"
    ),
)
def test_precision_and_recall_are_one(model, batch, truth):
    assert set(scale_invariant_parameters(model, batch)) == truth(model)


@pytest.mark.parametrize(
    ("model", "batch", "names"),
    [
        (weight_normed(), torch.randn(5, 4), ["0.parametrizations.weight.original1"]),
        (spectral_normed(), torch.randn(5, 4), ["0.parametrizations.weight.original"]),
        (instance_normed(), torch.randn(5, 3, 8, 8), ["0.weight"]),
        (group_normed(bias=False), torch.randn(5, 3, 8, 8), ["0.weight"]),
        (group_normed(bias=True), torch.randn(5, 3, 8, 8), []),
        (nn.Sequential(Standardised(3, 4, 3), nn.ReLU()), torch.randn(5, 3, 8, 8), ["0.weight"]),
    ],
    ids=str.split("weight-norm spectral-norm instance-norm group-norm biased standardised"),
)
def test_other_ways_to_normalise(model, batch, names):
    assert list(scale_invariant_parameters(model, batch)) == names


def test_bf16_gives_the_same_answer():
    model = resnet18().bfloat16()
    assert set(scale_invariant_parameters(model, IMAGES.bfloat16())) == convolutions(model)


def test_everything_is_left_as_it_was():
    model = resnet18()
    model[4].eval()
    model(IMAGES).sum().backward()
    modes = [m.training for m in model.modules()]
    before, grads = copy.deepcopy(model.state_dict()), [p.grad.clone() for p in model.parameters()]
    images, state = IMAGES.clone(), torch.get_rng_state()
    found = scale_invariant_parameters(model, images)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(grads, model.parameters()))
    assert torch.equal(images, IMAGES)
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.requires_grad and p is dict(model.named_parameters())[n] for n, p in found.items())


def test_a_failing_forward_restores_the_modes():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    with pytest.raises(RuntimeError):
        scale_invariant_parameters(model, torch.randn(4, 5))
    assert not model.training


def test_a_norm_kept_in_eval_mode_normalises_nothing():
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[1].eval()
            return self

    model = Frozen(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert scale_invariant_parameters(model, torch.randn(6, 3)) == {}


def test_bias_in_front_of_a_layer_norm_breaks_the_symmetry_even_at_zero():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    nn.init.zeros_(model[0].bias)
    assert scale_invariant_parameters(model, torch.randn(6, 3)) == {}
    model[0].bias = None
    assert list(scale_invariant_parameters(model, torch.randn(6, 3))) == ["0.weight"]


def test_the_epsilon_of_a_norm_hides_no_small_weight():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.LayerNorm(4, eps=1e-5), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    assert list(scale_invariant_parameters(model, torch.randn(6, 3))) == ["0.weight"]


def test_number_overrules_structure():
    """A forward pass that reads a value out of the graph: no degree follows it, a number does."""

    class Leak(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Linear(3, 4, bias=False)

        def forward(self, x):
            y = self.w(x)
            return F.normalize(y, dim=-1) * (1 + y.detach().norm().item())

    assert scale_invariant_parameters(Leak(), torch.randn(6, 3)) == {}


def test_in_place_writes_through_views_are_seen():
    class Write(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)

        def forward(self, x):
            y = F.normalize(self.a(x), dim=-1)
            z = y[:, :2]
            y[:, 2:] = self.b(x)[:, 2:]
            return y, z

    assert list(scale_invariant_parameters(Write(), torch.randn(6, 3))) == ["a.weight"]


def test_found_weights_get_their_own_group():
    model = resnet18()
    groups = param_groups(model, 0.1).split(scale_invariant_parameters(model, IMAGES))
    assert [len(g["params"]) for g in groups] == [1, 41, 20]


@pytest.mark.parametrize(
    ("model", "batch", "error", "message"),
    [
        (nn.Linear(3, 2), (torch.randn(2, 3), torch.randn(2)), TypeError, r"batch\[0\]"),
        (nn.Linear(3, 2).requires_grad_(False), torch.randn(2, 3), ValueError, "no trainable"),
        (nn.Linear(3, 2, device="meta"), torch.randn(2, 3), ValueError, "meta device"),
        (lambda x: x, torch.randn(2, 3), TypeError, r"torch\.nn\.Module"),
    ],
)
def test_errors_teach(model, batch, error, message):
    with pytest.raises(error, match=message):
        scale_invariant_parameters(model, batch)
