"""What a training run is told: one flat frozen dataclass, put together from a part an idea.

A field is a flag (``lr`` is ``--lr``), its docstring the flag's help, its value a line of the run's
``config.toml``. An empty string or a 0 in a field that says so means "as the task, the model or the
optimizer has it". Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.lab.train import names


@dataclass(frozen=True)
class DataFields:
    """The task and how its examples are served."""

    task: str = "digits"
    """digits (embedded), mnist, fashion-mnist, cifar10, cifar100, folder (classes
    as folders of pictures), text (characters of any file), tinyshakespeare, ptb
    or ptb-small (words)."""
    data_dir: str = ""
    """The folder with the task's files in any published layout, or the text file
    itself; for text, empty is one that comes with Python (a smoke test)."""
    train_size: int = 0
    """Use only so many training examples, drawn once with a fixed seed; 0 is all."""
    validation: int = 0
    """Hold so many training pictures out for validation; digits and texts have their own split."""
    label_noise: float = 0.0
    """Share of the training labels that are wrong, drawn once; validation and test stay clean."""
    batch_size: int = 128
    """Examples of one optimizer step."""
    augment: str = ""
    """none, or crop-flip (pad 4, random crop, flip); empty: crop-flip on CIFAR, none elsewhere."""
    cutout: int = 0
    """Side of the square that is cut out of each training picture; 0 for none."""
    mixup: float = 0.0
    """α of mixup's Beta(α, α); 0 for none."""
    context: int = 64
    """Tokens of a window of text; for lstm the length of truncated backpropagation (BPTT)."""


@dataclass(frozen=True)
class ModelFields:
    """The network and its start."""

    model: str = "mlp"
    """mlp, cnn (digits), the papers' networks (resnet18, preresnet32, wrn28-10,
    vgg16-bn, ...), gpt or lstm."""
    width: int = 0
    """Hidden width, of models that have one; 0 is the model's own."""
    depth: int = 0
    """Hidden layers or blocks, of models that have them; 0 is the model's own."""
    scale_invariant: bool = False
    """Freeze the last layer, the norms' gains and all biases: what trains then feeds a norm."""
    init: str = ""
    """kaiming, lecun, ntk, x1000 or x0.001; empty is the model's own."""
    init_gain: float = 1.0
    """σ_w: multiplies the standard deviation of lecun, 1/sqrt(fan-in)."""
    ntk_parametrization: bool = False
    """Keep weights of variance σ_w² and divide by sqrt(fan-in) in the forward pass."""
    norm_placement: str = "pre"
    """Of the GPT's norms: pre, post or peri (both)."""
    qk_norm: bool = False
    """Normalize the GPT's queries and keys."""
    dropout: float = 0.5
    """Of the LSTM."""
    test_with_batch_statistics: bool = False
    """BatchNorm uses the batch's statistics at test too, as lewkowycz2020 does."""


@dataclass(frozen=True)
class OptimizerFields:
    """Who takes the steps, how large, how much decays, and when that changes."""

    optimizer: str = "sgd"
    """sgd, sgdw, sgds, adam, adamw, adams, amsgrad, amsgrads, adai, adais, radam,
    muon (with AdamW for what Muon leaves); adabound, padam, yogi, lion (need
    pytorch_optimizer)."""
    lr: float = 0.1
    """Peak learning rate."""
    weight_decay: float = 5e-4
    """torch's weight_decay w: (w/2)‖θ‖². 0 switches decay and its schedule off."""
    momentum: float = 0.9
    """Of the SGD family and Muon."""
    beta1: float = 0.0
    """Of the others; 0 is the optimizer's own."""
    beta2: float = 0.0
    """Of the others; 0 is the optimizer's own."""
    eps: float = 0.0
    """Of the others; 0 is the optimizer's own."""
    adamw_lr: float = 3e-4
    """Of AdamW beside Muon."""
    decay: str = "matrices"
    """What decays: matrices, or all (as li2020, lewkowycz2020 and xie2022 do)."""
    lr_schedule: str = "constant"
    """constant, linear, cosine, cosine-restarts, polynomial, step or trapezoid."""
    weight_decay_schedule: str = "constant"
    """One of those; or tied to the lr: matched, palm, inverse, constant_product,
    independent; or fed back by the loss: matched-annealing, autol2."""
    warmup: float = 0.0
    """Linear warm-up of the lr: steps, or a share of the run if below 1."""
    milestones: tuple[float, ...] = (0.4, 0.8)
    """Shares of the run at which step multiplies by gamma."""
    gamma: float = 0.1
    """What step multiplies by."""
    weight_decay_milestones: tuple[float, ...] = ()
    """milestones of the weight decay; empty: those of the lr."""
    weight_decay_gamma: float = 0.0
    """gamma of the weight decay; 0: that of the lr."""
    two_step: str = ""
    """A second (M) step, Algorithm 3 of richemond2019: literal, abs, relative, predictor, twice."""
    sphere: str = ""
    """Keep the decayed weights at their first norm: all (together) or tensor (each)."""


@dataclass(frozen=True)
class LoopFields:
    """How long, in what precision, what is averaged and measured."""

    epochs: float = 10.0
    """Passes over the training data."""
    steps: int = 0
    """Optimizer steps; 0 follows epochs."""
    seed: int = 0
    """Of the weights, the data order and dropout."""
    loss: str = "cross-entropy"
    """cross-entropy, or mse on one-hot targets."""
    halved_by_classes: bool = False
    """Multiply the loss by 1/(2 classes), as lewkowycz2020's appendix does."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    accumulate: int = 1
    """Parts of a batch that are computed one after another: BatchNorm then sees a
    part at a time, and its running statistics take as many updates a step."""
    clip: float = 0.0
    """Clip the gradient's norm; 0 for never."""
    amp: str = ""
    """bf16 or fp16 (with loss scaling); empty is float32."""
    channels_last: bool = False
    """Memory layout of pictures; faster on GPUs."""
    compile: bool = False
    """torch.compile; takes minutes to warm up, pays on long GPU runs."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, evaluated beside them; 0 for none."""
    swa: float = 0.0
    """Share of the run after which weights are averaged with equal parts (SWA); 0 for never."""
    device: str = "cpu"
    """torch device, as in cpu or cuda; under torchrun each rank takes its own."""
    sharding: str = "ddp"
    """Under torchrun: ddp (replicas), or fsdp (FSDP2, shards)."""
    monitor_every: int = 50
    """Steps between two rows of metrics."""
    evaluate_every: float = 1.0
    """Epochs between two evaluations; the last step is always evaluated."""
    evaluate_size: int = 0
    """At most so many examples (tokens) of each split; 0: all, 10000 for training."""


@dataclass(frozen=True)
class TrainConfig(LoopFields, OptimizerFields, ModelFields, DataFields):
    """One network on one task: any optimizer, schedule and sphere, resumed exactly.

    Raises:
        ValueError: For a name that is not known or a number out of its range.

    Example:
        >>> TrainConfig(task="cifar10", model="resnet18", optimizer="adams", lr=1e-3).epochs
        10.0
    """

    def __post_init__(self) -> None:
        self._check_names()
        self._check_numbers()
        self._check_together()

    def _check_names(self) -> None:
        shapes = names.SHAPES
        listed: list[tuple[str, str, Iterable[str]]] = [
            ("task", self.task, names.TASKS),
            ("model", self.model, names.MODELS),
            ("init", self.init, ("", *names.INITS)),
            ("norm_placement", self.norm_placement, names.PLACEMENTS),
            ("augment", self.augment, ("", "none", "crop-flip")),
            ("optimizer", self.optimizer, names.OPTIMIZERS),
            ("decay", self.decay, ("matrices", "all")),
            ("lr_schedule", self.lr_schedule, shapes),
            ("weight_decay_schedule", self.weight_decay_schedule, names.WEIGHT_DECAY_SCHEDULES),
            ("two_step", self.two_step, ("", *names.TWO_STEPS)),
            ("sphere", self.sphere, ("", *names.SPHERES)),
            ("loss", self.loss, names.LOSSES),
            ("amp", self.amp, ("", *names.AMPS)),
            ("sharding", self.sharding, ("ddp", "fsdp")),
        ]
        for kind, value, known in listed:
            if value not in known:
                raise unknown(kind, value, [name or "''" for name in known])

    def _check_numbers(self) -> None:
        check_positive(
            batch_size=self.batch_size, context=self.context, lr=self.lr, epochs=self.epochs,
            accumulate=self.accumulate, monitor_every=self.monitor_every, gamma=self.gamma,
            evaluate_every=self.evaluate_every, init_gain=self.init_gain, adamw_lr=self.adamw_lr,
        )  # fmt: skip
        check_nonnegative(
            train_size=self.train_size, validation=self.validation, cutout=self.cutout,
            mixup=self.mixup, width=self.width, depth=self.depth, weight_decay=self.weight_decay,
            eps=self.eps, warmup=self.warmup, steps=self.steps, clip=self.clip,
            weight_decay_gamma=self.weight_decay_gamma, seed=self.seed,
            evaluate_size=self.evaluate_size,
        )  # fmt: skip
        below_one = ("label_noise", "dropout", "momentum", "beta1", "beta2", "label_smoothing")
        for name in (*below_one, "ema", "swa"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        for name in ("milestones", "weight_decay_milestones"):
            if not all(0 <= share <= 1 for share in getattr(self, name)):
                raise ValueError(
                    f"{name} are shares of the run in [0, 1], got {getattr(self, name)}"
                )

    def _check_together(self) -> None:
        language = self.task in names.TEXTS
        if language != (self.model in names.LANGUAGE_MODELS):
            fits = names.LANGUAGE_MODELS if language else names.PICTURE_MODELS
            raise ValueError(
                f"model {self.model!r} does not fit task {self.task!r}; take {', '.join(fits)}"
            )
        for name, models in (("width", names.OF_ANY_WIDTH), ("depth", names.OF_ANY_DEPTH)):
            if getattr(self, name) and self.model not in models:
                raise ValueError(
                    f"model {self.model!r} has one {name}; --{name} is for {', '.join(models)}"
                )
        if self.scale_invariant and language:
            raise ValueError(
                f"scale_invariant: model {self.model!r} has no form that is invariant as a whole; "
                "etalambda.schedule.scale_invariant_parameters says which of its tensors are"
            )
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate={self.accumulate} is above batch_size={self.batch_size}")
        if self.model == "lstm" and self.accumulate > 1:
            raise ValueError("accumulate cuts the rows whose state the lstm carries; leave it at 1")
        if self.ema and self.swa:
            raise ValueError("ema and swa both average the weights; choose one")
        if self.sharding == "fsdp" and (self.ema or self.swa):
            raise ValueError("ema and swa copy whole weights; use sharding ddp with them")
        if self.two_step and self.optimizer == "muon":
            raise ValueError("two_step takes one optimizer; muon is two")
        if self.two_step and self.amp == "fp16":
            raise ValueError("two_step computes gradients inside the step; use amp bf16")
