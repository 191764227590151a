"""The papers' networks: published parameter counts, scale invariance, initializations."""

import pytest
import torch
from torch import nn

from etalambda.lab.models.convnets import lewkowycz_cnn
from etalambda.lab.models.nets import SmallCNN, SmallResNet
from etalambda.lab.models.resnets import PreResNet
from etalambda.lab.models.zoo import (
    INITS,
    ZOO,
    LSTMLanguageModel,
    freeze_for_scale_invariance,
    initialize,
    make,
)

COUNTS = {  # as published, or as the reference implementations for CIFAR have them
    "resnet18": 11_173_962, "resnet34": 21_282_122, "resnet50": 23_520_842,
    "preresnet32": 466_714, "wrn28-10": 36_479_194, "wrn16-4": 2_748_890,
    "vgg16": 14_719_818, "vgg16-bn": 14_728_266, "densenet121": 6_956_298,
    "googlenet": 6_166_250,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_published_parameter_counts(name):
    with torch.device("meta"):
        assert sum(p.numel() for p in make(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", sorted(ZOO))
def test_shapes_for_any_number_of_classes(name):
    with torch.device("meta"):
        model = make(name, 7).eval()
        shape = (1, 28, 28) if name in ("mnist-cnn", "lg-fc") else (3, 32, 32)
        assert model(torch.empty(2, *shape)).shape == (2, 7)


SMALL = (3, 8, 8)  # deep nets end at one pixel: enough to see every layer
INVARIANT = {
    **{name: (lambda name=name: make(name), SMALL) for name in (
        "resnet18", "resnet34", "resnet50", "preresnet32", "wrn16-4", "densenet121", "googlenet",
    )},
    "wrn28-2, for wrn28-10": (lambda: PreResNet(4, 2), SMALL),
    "vgg16-bn": (lambda: make("vgg16-bn"), (3, 32, 32)),
    "mnist-cnn": (lambda: make("mnist-cnn"), (1, 28, 28)),
    "lg-cnn-bn of width 4": (lambda: lewkowycz_cnn(width=4), (3, 32, 32)),
    "cnn": (SmallCNN, (64,)),
    "resnet": (SmallResNet, (64,)),
}  # fmt: skip


@pytest.mark.parametrize("name", INVARIANT)
def test_the_scale_invariant_form_is_scale_invariant(name):
    """f(cw) = f(w) and <∇L, w> = 0 over all that trains (LLA-L3.1)."""
    build, shape = INVARIANT[name]
    torch.manual_seed(0)
    model = build().double()
    freeze_for_scale_invariance(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-20
    x = torch.randn(6, *shape).double()
    free = [p for p in model.parameters() if p.requires_grad]
    before = model(x)
    gradients = torch.autograd.grad(before.square().sum(), free)
    inner = sum((g * p).sum() for g, p in zip(gradients, free)).abs()
    sizes = (
        sum(g.square().sum() for g in gradients).sqrt() * sum(p.square().sum() for p in free).sqrt()
    )
    assert inner < 1e-10 * sizes
    with torch.no_grad():
        for p in free:
            p *= 2.0
    torch.testing.assert_close(model(x), before.detach(), rtol=1e-7, atol=1e-9)


def test_freezing_without_a_norm_is_refused():
    with pytest.raises(ValueError, match="no normalization layer"):
        make("lg-fc", scale_invariant=True)


@pytest.mark.parametrize("kind", INITS)
def test_initializations_have_their_scale(kind):
    model = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 10))
    initialize(model, kind)
    scale = {"kaiming": (2 / 400) ** 0.5, "ntk": 1.0, "lecun": 0.05}.get(kind)
    scale = (2 / 400) ** 0.5 * float(kind[1:]) if scale is None else scale
    assert model[0].weight.std().item() == pytest.approx(scale, rel=0.02)
    assert model[0].bias.abs().max() == 0


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        make("resnet-18")
    with pytest.raises(ValueError, match="unknown initialization 'xavier'"):
        initialize(nn.Linear(1, 1), "xavier")


def test_lstm_carries_its_state_without_its_graph():
    torch.manual_seed(0)
    model = LSTMLanguageModel(11, width=16, dropout=0.0)
    tokens = torch.randint(11, (2, 12))
    whole, _ = model(tokens)
    first, state = model(tokens[:, :5])
    second, _ = model(tokens[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert not any(s.requires_grad for s in state)
