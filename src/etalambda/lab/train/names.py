"""The names that a `TrainConfig` may hold, listed without torch; a test compares them with what
the lab can build."""

from __future__ import annotations

IMAGES = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")
CHARACTERS = ("text", "tinyshakespeare")
TEXTS = (*CHARACTERS, "ptb", "ptb-small")
FOLDER = "folder"
TASKS = (*IMAGES, FOLDER, *TEXTS)

LANGUAGE_MODELS = ("gpt", "lstm")
PICTURE_MODELS = (
    "mlp", "cnn", "resnet18", "resnet34", "resnet50", "preresnet32", "wrn28-10", "wrn16-4",
    "vgg16", "vgg16-bn", "densenet121", "googlenet", "lg-fc", "lg-cnn", "lg-cnn-bn", "mnist-cnn",
)  # fmt: skip
MODELS = (*PICTURE_MODELS, *LANGUAGE_MODELS)
OF_ANY_DEPTH = ("mlp", "lg-fc", "gpt", "lstm")
OF_ANY_WIDTH = (*OF_ANY_DEPTH, "cnn", "mnist-cnn")
INITS = ("kaiming", "lecun", "ntk", "x1000", "x0.001")
PLACEMENTS = ("pre", "post", "peri")

SGDS = ("sgd", "sgdw", "sgds")
ADAMS = ("adam", "adamw", "adams", "amsgrad", "amsgrads", "radam")
ADAIS = ("adai", "adais")
FOREIGN = ("adabound", "padam", "yogi", "lion")  # pytorch_optimizer's
OPTIMIZERS = (*SGDS, *ADAMS, *ADAIS, "muon", *FOREIGN)

SHAPES = ("constant", "linear", "cosine", "cosine-restarts", "polynomial", "step", "trapezoid")
COUPLINGS = ("decoupled", "independent", "matched", "palm", "inverse", "constant_product")
FEEDBACK = ("matched-annealing", "autol2")
WEIGHT_DECAY_SCHEDULES = (*SHAPES, *COUPLINGS, *FEEDBACK)
TWO_STEPS = ("literal", "abs", "relative", "predictor", "none", "twice")

LOSSES = ("cross-entropy", "mse")
AMPS = ("bf16", "fp16")
SPHERES = ("all", "tensor")
