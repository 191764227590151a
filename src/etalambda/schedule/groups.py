"""Which tensors decay: param groups by module type and shape, with recipes.

The idea: decay is for weights whose size is free to grow, so matrices decay; gains of norms, biases
and other vectors, whose size means something, do not. ``kinds`` says what each tensor is and
``recipes`` which kinds decay; this module builds the groups and prints them.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

from etalambda._common import check_nonnegative, unknown
from etalambda.schedule import recipes
from etalambda.schedule.depth import depths
from etalambda.schedule.exports import export
from etalambda.schedule.kinds import Entry, clean_name, entries, shape_of


class ParamGroups(list[dict[str, Any]]):
    """A list of param groups that every torch optimizer takes, and a table when printed.

    The dicts hold ``params``, ``weight_decay`` and, with ``layer_decay=``, ``lr``; nothing else, so
    checkpoints of optimizers built from them are plain. An optimizer keeps the dicts themselves:
    the table then shows what a schedule has made of them.

    Attributes:
        entries: One ``(name, kind, param, aliases)`` a tensor, in the model's order.

    Example:
        >>> groups = param_groups(nn.Linear(4, 8), weight_decay=0.1)
        >>> [(entry.name, entry.kind) for entry in groups.entries]
        [('weight', 'matrix'), ('bias', 'bias')]
        >>> [group["weight_decay"] for group in groups]
        [0.1, 0.0]
    """

    def __init__(self, groups: Iterable[dict[str, Any]], entries: Iterable[Entry]) -> None:
        super().__init__(groups)
        self.entries = tuple(entries)

    def names(self, *, decayed: bool | None = None) -> list[str]:
        """Names of all tensors, of the decayed ones, or of the exempt ones, in group order."""
        name = {entry.param: entry.name for entry in self.entries}
        wanted = [g for g in self if decayed is None or bool(g["weight_decay"] != 0) is decayed]
        return [name[p] for group in wanted for p in group["params"] if p in name]

    def of_kind(self, *kinds: str) -> list[nn.Parameter]:
        """The tensors of these kinds, in the model's order.

        Raises:
            ValueError: If no tensor has one of the kinds; it lists the kinds there are.
        """
        known = list(dict.fromkeys(entry.kind for entry in self.entries))
        for kind in kinds:
            if kind not in known:
                raise unknown("kind", kind, known)
        return [entry.param for entry in self.entries if entry.kind in kinds]

    def split(self, tensors: Iterable[str] | Iterable[Tensor]) -> "ParamGroups":
        """Give these tensors (or names) groups of their own, with the settings they had.

        So a rule can target them alone, as AdamC targets normalized weights. The tensors' old
        group must not be in an optimizer yet.

        Raises:
            ValueError: If a name is unknown or a tensor is in no group.
        """
        inside = self._resolve(tensors)
        parts = []
        for keep in (False, True):
            for group in self:
                params = [p for p in group["params"] if (p in inside) is keep]
                copy = {key: _copy(value) for key, value in group.items()}
                parts += [copy | {"params": params}] if params else []
        return ParamGroups(parts, self.entries)

    def rebind(self, model: nn.Module) -> "ParamGroups":
        """The same groups with the tensors of the same names in another model.

        For groups built on the meta device or before FSDP1 wrapped the model
        (``use_orig_params=True``).

        Raises:
            ValueError: If ``model`` lacks one of the names.
        """
        there = {clean_name(name, model): param for name, param in model.named_parameters()}
        lost = [entry.name for entry in self.entries if entry.name not in there]
        if lost:
            raise ValueError(
                f"model has no parameter {lost[0]!r} ({len(lost)} names are missing); rebind to a "
                "model of the same architecture"
            )
        new = {entry.param: there[entry.name] for entry in self.entries}
        groups = [group | {"params": [new[p] for p in group["params"]]} for group in self]
        return ParamGroups(groups, [e._replace(param=new[e.param]) for e in self.entries])

    def export(self, target: str) -> Any:
        """The groups in another tool's form: ``"torchtitan"``, ``"hf"`` or ``"deepspeed"``.

        Returns:
            torchtitan: keywords of one ``ParamGroupConfig`` a group, ``pattern`` and
            ``optimizer_kwargs``; each name matches one pattern.
            hf: the list of names that decay, for ``get_decay_parameter_names``.
            deepspeed: plain dicts for ``deepspeed.initialize(model_parameters=...)``.

        Raises:
            ValueError: If the target is unknown, or cannot say what the groups say.
        """
        return export(self, target)

    def _resolve(self, tensors: Iterable[str] | Iterable[Tensor]) -> set[Tensor]:
        named = {e.name: e.param for e in self.entries}
        named |= {alias: e.param for e in self.entries for alias in e.aliases}
        inside = {p for group in self for p in group["params"]}
        found = set()
        for tensor in tensors:
            if isinstance(tensor, str) and tensor not in named:
                raise unknown("parameter", tensor, named)
            param = named[tensor] if isinstance(tensor, str) else tensor
            if param not in inside:
                raise ValueError(f"a tensor of shape {tuple(param.shape)} is in no group")
            found.add(param)
        return found

    def __str__(self) -> str:
        kind = {entry.param: entry.kind for entry in self.entries}
        head = ("group", "weight_decay", "lr", "tensors", "parameters", "kinds")
        rows = [head, *(_row(i, group, kind) for i, group in enumerate(self))]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join([*(c.rjust(w) for c, w in zip(row[:-1], widths)), row[-1]]) for row in rows
        ]
        tied = [f"{', '.join(e.aliases)} = {e.name}" for e in self.entries if e.aliases]
        return "\n".join([*lines, *(["tied: " + "; ".join(tied)] if tied else [])])

    __repr__ = __str__


class MuonSplit(NamedTuple):
    """What ``recipe="muon"`` returns: ``muon, adamw = param_groups(..., "muon")``.

    Example:
        >>> model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(4, 10))
        >>> split = param_groups(model, weight_decay=0.1, recipe="muon")
        >>> [len(group["params"]) for group in split.muon]
        [1]
    """

    muon: ParamGroups
    adamw: ParamGroups

    def __str__(self) -> str:
        return f"muon\n{self.muon}\n\nadamw\n{self.adamw}"


@overload
def param_groups(
    model: nn.Module,
    weight_decay: float | Tensor,
    recipe: Literal["muon"],
    *,
    embeddings: bool = True,
    layer_decay: float | None = None,
    lr: float | None = None,
) -> MuonSplit: ...


@overload
def param_groups(
    model: nn.Module,
    weight_decay: float | Tensor,
    recipe: Literal["gpt", "vit", "conv", "lora"] | None = None,
    *,
    embeddings: bool = True,
    layer_decay: float | None = None,
    lr: float | None = None,
) -> ParamGroups: ...


def param_groups(
    model: nn.Module,
    weight_decay: float | Tensor,
    recipe: str | None = None,
    *,
    embeddings: bool = True,
    layer_decay: float | None = None,
    lr: float | None = None,
) -> ParamGroups | MuonSplit:
    """Param groups by module type and shape: matrices decay; norms, biases and vectors do not.

    Args:
        model: The model. Frozen tensors are left out, tied ones count once. On the meta device or
            sharded as DTensors the shapes decide just the same.
        weight_decay: torch's ``weight_decay`` w, (w/2)‖θ‖², of the decayed groups; the others
            get 0. May be a 0-d tensor; each group then gets its own copy.
        recipe: None for two groups, decayed and exempt, or one of

            - ``"gpt"``: embeddings in a group of their own;
            - ``"muon"``: a pair ``(muon, adamw)`` of groups, for torch's Muon and for AdamW:
              hidden matrices to the first, embeddings, output layer and the rest to the second;
            - ``"vit"``: class tokens and position tables exempt too;
            - ``"conv"``: depthwise filters exempt too;
            - ``"lora"``: the factors A and B in a group each; wants a frozen base.
        embeddings: Whether embeddings decay (GPT-3, Llama: yes; OLMo 2: no). A tied output layer
            counts as an embedding.
        layer_decay: Multiply ``lr`` by this for every block between a tensor and the head
            (BEiT: 0.65 to 0.9); blocks are found as chains of one module class.
        lr: The head's learning rate; needed by ``layer_decay`` and only there.

    Returns:
        ``ParamGroups``, a list that optimizers take; or ``MuonSplit``, a pair of them.

    Raises:
        TypeError: If ``model`` is no module or holds FSDP1's flat parameters.
        ValueError: On an unknown recipe, a negative ``weight_decay``, nothing trainable, a lazy
            tensor, a ``layer_decay`` outside (0, 1] or without ``lr``, or a model without blocks.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
        >>> groups = param_groups(model, weight_decay=0.1)
        >>> groups
        group  weight_decay  lr  tensors  parameters  kinds
            0           0.1   -        2          48  matrix 2
            1           0.0   -        4          26  bias 2, norm 2
        >>> optimizer = torch.optim.AdamW(groups, lr=1e-3)
    """
    check_nonnegative(weight_decay=float(weight_decay))
    _check_recipe(recipe, layer_decay, lr)
    found = entries(model)
    if recipe == "muon":
        found = recipes.relabel_muon(model, found)
        hidden = [e for e in found if e.kind == "hidden"]
        others = [e for e in found if e.kind != "hidden"]
        of = recipes.slot(recipes.MUON, embeddings)
        return MuonSplit(*(_build(part, of, weight_decay) for part in (hidden, others)))
    if recipe == "lora":
        found = recipes.relabel_lora(model, found)
    of = recipes.slot(recipes.RECIPES[recipe], embeddings)
    if layer_decay is None:
        return _build(found, of, weight_decay)
    return _with_layer_decay(model, found, of, weight_decay, layer_decay, lr)


def _check_recipe(recipe: str | None, layer_decay: float | None, lr: float | None) -> None:
    if recipe is not None and recipe not in recipes.NAMES:
        raise unknown("recipe", recipe, recipes.NAMES)
    if (layer_decay is None) != (lr is None):
        raise ValueError(
            f"layer_decay and lr go together, got layer_decay={layer_decay} and lr={lr}; pass the "
            "head's lr with layer_decay, or give lr to the optimizer instead"
        )
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must lie in (0, 1], got {layer_decay}")
    if layer_decay is not None and recipe == "muon":
        raise ValueError("layer_decay does not go with recipe 'muon': Muon and AdamW differ in lr")
    if lr is not None:
        check_nonnegative(lr=lr)


def _build(found: list[Entry], of: Any, weight_decay: float | Tensor) -> ParamGroups:
    slots: dict[tuple, list[nn.Parameter]] = {}
    for entry in found:
        slots.setdefault(of(entry), []).append(entry.param)
    groups = [
        {"params": slots[slot], "weight_decay": 0.0 if slot[0] else _copy(weight_decay)}
        for slot in sorted(slots)
    ]
    return ParamGroups(groups, found)


def _with_layer_decay(model, found, of, weight_decay, layer_decay, lr) -> ParamGroups:
    depth, last = depths(model)
    if last == 1:
        raise ValueError(
            "layer_decay found no chain of blocks (a ModuleList or Sequential of two or more "
            "modules of one class with children); set the groups' lr by hand"
        )
    groups = _build(found, lambda e: (*of(e), depth[e.param]), weight_decay)
    for group in groups:
        group["lr"] = lr * layer_decay ** (last - depth[group["params"][0]])
    return groups


def _copy(value: Any) -> Any:
    # A tensor shared by two groups would be driven twice.
    return value.clone() if isinstance(value, torch.Tensor) else value


def _row(i: int, group: dict[str, Any], kind: dict[nn.Parameter, str]) -> tuple[str, ...]:
    params = group["params"]
    lr = f"{float(group['lr']):.6g}" if "lr" in group else "-"
    kinds = Counter(kind.get(p, "other") for p in params)
    size = f"{sum(shape_of(p).numel() for p in params):,}"
    text = ", ".join(f"{name} {n}" for name, n in kinds.items())
    return str(i), f"{float(group['weight_decay'])!r}", lr, f"{len(params):,}", size, text
