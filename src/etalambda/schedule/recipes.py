"""Recipes: which kinds of tensor decay, and which share a group.

A recipe turns an entry into the number of its group, or None for "never decays". Kinds are those of
``kinds``. Each says whose habit it is; all exempt norms, biases, vectors, state-space tensors and
what the model itself declares (Loshchilov & Hutter decay all; exempting is He et al. 2018, *Bag of
Tricks*, section 3.1, and GPT-2's and timm's habit since).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from torch import nn

from etalambda.schedule.depth import output_layers
from etalambda.schedule.kinds import Entry, shape_of

EXEMPT = frozenset({"norm", "bias", "vector", "state_space", "declared"})


class Recipe(NamedTuple):
    """The kinds that never decay, and the kinds with a group of their own."""

    exempt: frozenset[str] = EXEMPT
    apart: tuple[str, ...] = ()


RECIPES = {
    None: Recipe(),
    # GPT-3 and Llama decay embeddings, OLMo 2 does not: their own group leaves both open.
    "gpt": Recipe(apart=("embedding",)),
    # DeiT and timm: no decay on class tokens and position tables.
    "vit": Recipe(exempt=EXEMPT | {"bare", "embedding"}),
    # Howard et al. 2017 (MobileNet), section 4: little or no decay on depthwise filters.
    "conv": Recipe(exempt=EXEMPT | {"depthwise"}),
    # Hayou et al. 2024 (LoRA+): the two factors want learning rates of their own.
    "lora": Recipe(apart=("lora_a", "lora_b")),
}
MUON = Recipe(apart=("hidden", "embedding", "head"))
NAMES = [*(name for name in RECIPES if name), "muon"]


def slot(recipe: Recipe, embeddings: bool) -> Callable[[Entry], tuple[bool, str]]:
    """The group of an entry as ``(exempt, label)``: decayed groups sort first."""
    exempt = recipe.exempt if embeddings else recipe.exempt | {"embedding"}

    def of(entry: Entry) -> tuple[bool, str]:
        label = entry.kind if entry.kind in recipe.apart else ""
        return entry.kind in exempt, label

    return of


def relabel_lora(model: nn.Module, entries: list[Entry]) -> list[Entry]:
    """Name the factors of ΔW = B A ``lora_a`` and ``lora_b``, found as neighbours of low rank.

    A is (r, in, ...) and the next trainable tensor B is (out, r, ...), with r below both.

    Raises:
        ValueError: If no parameter is frozen: then the adapters are not what trains.
    """
    if all(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "recipe 'lora' expects a frozen base model and trainable adapters, but every parameter "
            "trains; freeze the base (requires_grad_(False)) or use recipe=None"
        )
    kinds = [entry.kind for entry in entries]
    for i, (a, b) in enumerate(pairwise(entries)):
        if kinds[i] not in EXEMPT and _is_low_rank(a, b):
            kinds[i : i + 2] = ["lora_a", "lora_b"]
    return [entry._replace(kind=kind) for entry, kind in zip(entries, kinds)]


def _is_low_rank(a: Entry, b: Entry) -> bool:
    down, up = shape_of(a.param), shape_of(b.param)
    if len(down) < 2 or len(up) < 2:
        return False
    return down[0] == up[1] < min(down[1], up[0])


def relabel_muon(model: nn.Module, entries: list[Entry]) -> list[Entry]:
    """Name what Muon steps ``hidden``: matrices of two dimensions that are no output layer.

    Position tables (``bare``), stacked experts and convolutions stay with AdamW: torch's Muon takes
    two dimensions only.
    """
    heads = output_layers(model)

    def kind(entry: Entry) -> str:
        if entry.param in heads and entry.kind == "matrix":
            return "head"
        return "hidden" if _is_plain_matrix(entry) else entry.kind

    return [entry._replace(kind=kind(entry)) for entry in entries]


def _is_plain_matrix(entry: Entry) -> bool:
    return entry.kind == "matrix" and len(shape_of(entry.param)) == 2
