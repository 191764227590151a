"""The network of a config: which, how large, how it starts, and what of it is frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from etalambda.lab.models.convnets import fully_connected, mnist_cnn
from etalambda.lab.models.gpt import GPT
from etalambda.lab.models.nets import MLP, SmallCNN
from etalambda.lab.models.stacked import seeded
from etalambda.lab.models.zoo import (
    ZOO,
    LSTMLanguageModel,
    freeze_for_scale_invariance,
    initialize,
)
from etalambda.lab.train.config import TrainConfig
from etalambda.lab.train.tasks import Task

COLOUR = (3, 32, 32)


def build_model(config: TrainConfig, task: Task) -> nn.Module:
    """The network, drawn on the CPU from the config's seed.

    Raises:
        ValueError: If the network is made for other inputs than the task has.
    """

    def make() -> nn.Module:
        model = _architecture(config, task)
        if config.init:
            initialize(model, config.init, gain=config.init_gain)
        return model

    model = seeded(make, config.seed)
    if config.scale_invariant:
        freeze_for_scale_invariance(model)
    if config.test_with_batch_statistics:
        use_batch_statistics(model)
    if config.ntk_parametrization:
        ntk_parametrization(model)
    return model


def _architecture(config: TrainConfig, task: Task) -> nn.Module:
    name, shape, classes = config.model, task.shape, task.classes
    pixels = 1
    for size in shape:
        pixels *= size
    own: dict[str, Callable[[], nn.Module]] = {
        "mlp": lambda: _mlp(pixels, config.width or 64, config.depth or 2, classes),
        "cnn": lambda: SmallCNN(config.width or 8, classes, tuple(shape)),  # type: ignore[arg-type]
        "lg-fc": lambda: fully_connected(pixels, config.width or 2048, config.depth or 3, classes),
        "mnist-cnn": lambda: _for_shape(
            name, (1, 28, 28), shape, lambda: mnist_cnn(classes, width=config.width or 32)
        ),
        "gpt": lambda: _gpt(config, classes),
        "lstm": lambda: Carried(
            LSTMLanguageModel(classes, config.width or 512, config.depth or 2, config.dropout)
        ),
    }
    if name in own:
        return own[name]()
    return _for_shape(name, COLOUR, shape, lambda: ZOO[name](classes))


def _for_shape(
    name: str, expected: tuple[int, ...], shape: tuple[int, ...], make: Callable[[], nn.Module]
) -> nn.Module:
    if tuple(shape) != expected:
        raise ValueError(
            f"model {name!r} is made for pictures of shape {expected}, the task has "
            f"{tuple(shape)}; take mlp, cnn or lg-fc, which fit any"
        )
    return make()


def _mlp(inputs: int, width: int, depth: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), MLP((inputs, *[width] * depth, classes)))


def _gpt(config: TrainConfig, vocabulary: int) -> nn.Module:
    width = config.width or 64
    return GPT(
        vocabulary,
        width,
        config.depth or 2,
        heads=max(1, width // 16) if width < 512 else width // 64,
        context=config.context,
        placement=config.norm_placement,
        qk_norm=config.qk_norm,
    )


class Carried(nn.Module):
    """A recurrent network whose state is carried from call to call, until it is `reset`.

    Attributes:
        carry: The state after the last call, cut off from its graph; None at the start of a text.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.carry: tuple[Tensor, Tensor] | None = None

    def reset(self) -> None:
        """Forget the text so far."""
        self.carry = None

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) -> logits (B, L, vocabulary)."""
        logits, self.carry = self.body(tokens, self.carry)
        return logits


def use_batch_statistics(model: nn.Module) -> None:
    """Let BatchNorm normalize by the batch at test too: no running statistics are kept."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None


class _OverFanIn(nn.Module):
    def __init__(self, fan_in: int) -> None:
        super().__init__()
        self.scale = fan_in**-0.5

    def forward(self, weight: Tensor) -> Tensor:
        return self.scale * weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / self.scale


def ntk_parametrization(model: nn.Module) -> None:
    """w = v/√fan-in with v trained, in every linear layer and convolution: the function is kept.

    The gradient of v is that of w over √fan-in, so a learning rate acts on all widths alike; and
    decay acts on v as it does on w.

    Example:
        >>> layer = nn.Sequential(nn.Linear(100, 5))
        >>> x = layer[0].weight.detach()[:1]
        >>> y = layer(x)
        >>> ntk_parametrization(layer)
        >>> bool((layer(x) - y).abs().max() < 1e-6), len(list(layer.parameters()))
        (True, 2)
    """
    for module in list(model.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            parametrize.register_parametrization(module, "weight", _OverFanIn(fan_in))


def state_of(model: Any) -> dict[str, Any]:
    """What is carried beside weights and buffers."""
    return {name: m.carry for name, m in model.named_modules() if isinstance(m, Carried)}


def load_state_of(model: Any, state: dict[str, Any]) -> None:
    """Go on with a carried state."""
    for name, module in model.named_modules():
        if isinstance(module, Carried):
            module.carry = state[name]


def reset_state_of(model: Any) -> None:
    """Start of a text: nothing is carried."""
    for module in model.modules():
        if isinstance(module, Carried):
            module.reset()
