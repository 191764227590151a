"""The audit: what will the weight decay of this run do? Twelve lines, before the first step.

It reads the param groups, rehearses the schedule on a copy and applies the rules of `findings`.
Nothing of the run is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from etalambda._common import as_optimizers, check_positive
from etalambda.diagnose.decay import decay_form, group_plans
from etalambda.diagnose.rehearsal import unwrapped
from etalambda.suggest import findings as rules
from etalambda.suggest.audit_table import Audit, Row
from etalambda.suggest.findings import Finding


def audit(
    model: nn.Module,
    optimizers: Optimizer | Iterable[Optimizer],
    steps: int,
    scheduler: Any | Sequence[float] | Callable[[int], float] | None = None,
    *,
    steps_per_epoch: float | None = None,
    scheduler_every: int = 1,
) -> Audit:
    """What the weight decay of a run will do: K, τ and shrinkage of every group, and what is wrong.

    Args:
        model: The network; its modules tell weights from norm gains and biases.
        optimizers: One torch optimizer, or several that step together (Muon + AdamW).
        steps: Optimizer steps that the run will take.
        scheduler: What will move lr or λ meanwhile, see `etalambda.decay_budget`. It is rehearsed
            on a copy; yours stays where it is.
        steps_per_epoch: To give τ in epochs too.
        scheduler_every: Optimizer steps between two steps of the scheduler.

    Returns:
        An `Audit`: printed, at most twelve lines. Its findings are INERT (K < 0.2), EXCESS
        (K > 150, or more than 10 % in one step), GROUPS (norm gains or biases decay) and
        L2-IN-ADAM. No decay at all is information, not a warning.

    Raises:
        ValueError: If ``steps`` is not a positive integer or a schedule is shorter than the run.
        TypeError: If ``model`` is no module or the scheduler cannot be rehearsed.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(100, 10, bias=False)
        >>> optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
        >>> print(audit(model, optimizer, steps=2000))
        AdamW: 2,000 steps, 1.0 k parameters
        group   tensors parameters weight decay        K          τ (steps)   shrink
        0             1      1.0 k         0.01     0.02            100,000   1.98 %
        INERT       group 0: K = 0.02 < 0.2: decay shrinks these weights by 1.98 % in the whole run
                    > print(el.suggest(optimizer="adamw", lr=0.001, steps=2000))  [K ruler: ...
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if steps_per_epoch is not None:
        check_positive(steps_per_epoch=steps_per_epoch)
    found = as_optimizers(optimizers)
    lrs, rates = group_plans(found, steps, scheduler, scheduler_every=scheduler_every)
    pairs = [(o, group) for o in found for group in o.param_groups]
    members = {id(p): name for name, p in model.named_parameters()}
    rows = tuple(
        _row(index, *pair, rates[:, index], set(members)) for index, pair in enumerate(pairs)
    )
    exempt = _exempt_by_custom(model)
    found_here = [
        finding
        for row, (_, group) in zip(rows, pairs)
        for finding in _judge(row, group, exempt, steps)
    ]
    used = {id(p) for _, group in pairs for p in group["params"]}
    left = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in used]
    notes = _merged(found_here) + _whole(rows) + _left_out(left)
    notes += _too_short_a_schedule(lrs, scheduler, steps, scheduler_every)
    return Audit(steps, steps_per_epoch, rows, tuple(notes))


def _too_short_a_schedule(lrs: Tensor, scheduler: Any, steps: int, every: int) -> list[Finding]:
    """A schedule that is over long before the run probably steps once an epoch."""
    over = float((lrs <= 1e-4 * lrs.amax(0)).double().mean())
    period = getattr(scheduler, "T_max", None)  # a cosine turns round and comes back
    short = isinstance(period, int) and 3 * period * every < steps
    if over < 0.3 and not short:
        return []
    why = (
        f"the schedule ends after {period * every} of {steps} steps"
        if short
        else f"the lr is below 1e-4 of its peak for {over:.0%} of the run"
    )
    fix = "el.audit(..., scheduler_every=steps_per_epoch)  # if it steps once an epoch"
    return [Finding("SCHEDULE", "lr", over, 0.3, why, fix, "steps or epochs?", "info")]


def _left_out(names: list[str]) -> list[Finding]:
    if not names:
        return []
    why = f"{len(names)} trainable tensors of the model are in no optimizer, first {names[0]}"
    fix = "[p.requires_grad_(False) for p in them]  # if that is what you want"
    return [Finding("LEFT-OUT", "model", len(names), 0, why, fix, "model.parameters()", "info")]


def _row(
    index: int, optimizer: Optimizer, group: dict[str, Any], rates: Tensor, members: set[int]
) -> Row:
    trained = [p for p in group["params"] if p.requires_grad]
    return Row(
        index=index,
        optimizer=type(unwrapped(optimizer)).__name__,
        form=decay_form(optimizer, group),
        tensors=len(trained),
        parameters=sum(p.numel() for p in trained),
        frozen=len(group["params"]) - len(trained),
        strangers=sum(id(p) not in members for p in trained),
        lr=float(group["lr"]),
        weight_decay=float(group.get("weight_decay", 0.0)),
        budget=math.fsum(rates.tolist()),
        rate=float(rates.max()),
    )


def _exempt_by_custom(model: nn.Module) -> dict[int, str]:
    """Norm gains and biases, which decay is not meant for: id -> name."""
    named = {}
    for prefix, module in model.named_modules():
        norm = "norm" in type(module).__name__.lower()
        for name, p in module.named_parameters(prefix, recurse=False):
            if (norm and p.ndim <= 1) or name.rsplit(".", 1)[-1].endswith("bias"):
                named[id(p)] = name
    return named


def _judge(row: Row, group: dict[str, Any], exempt: dict[int, str], steps: int) -> list[Finding]:
    """The rules on one group. A group without trained parameters has nothing to say."""
    if not row.parameters or not (row.weight_decay or row.budget):
        return []
    where, name = f"group {row.index}", row.optimizer
    beta = f", momentum={group['momentum']}" if row.form == "momentum" else ""
    ask = f'print(el.suggest(optimizer="{name.lower()}", lr={row.lr:.6g}, steps={steps}{beta}))'
    wrong = [exempt[id(p)] for p in group["params"] if p.requires_grad and id(p) in exempt]
    if row.form == "adaptive":
        hit = [rules.l2_in_adam(where, row.weight_decay, name, _rebuilt(row, group))]
    else:
        hit = [
            rules.inert(where, row.budget, ask),
            rules.excess(where, row.budget, row.rate, ask),
            rules.groups(where, wrong, _rebuilt(row, group)),
        ]
        if row.form == "stable":  # elsewhere INERT says it
            entry = 'group["weight_decay"]'
            known = (row.form, row.weight_decay, row.lr, row.budget, entry, row.rate)
            hit += [rules.scale(where, *known)]
    return [finding for finding in hit if finding]


def _rebuilt(row: Row, group: dict[str, Any]) -> str:
    """The line that makes the same optimizer with its decay on weight matrices only."""
    decoupled = row.form == "adaptive" and row.optimizer in ("RAdam", "NAdam")
    name = "AdamW" if row.form == "adaptive" and not decoupled else row.optimizer
    options = {"lr": f"{row.lr:.6g}"}
    options |= {k: str(group[k]) for k in ("momentum", "betas") if group.get(k, 0) not in _USUAL}
    options |= {"decoupled_weight_decay": "True"} if decoupled else {}
    listed = ", ".join(f"{key}={value}" for key, value in options.items())
    decay = f"{row.weight_decay:.3g}"
    return f"optimizer = {name}(el.param_groups(model, weight_decay={decay}), {listed})"


_USUAL = (0, (0.9, 0.999))


def _merged(found: list[Finding]) -> list[Finding]:
    """One finding a code: the worst group speaks, the others are counted."""
    by_code: dict[str, list[Finding]] = {}
    for finding in found:
        by_code.setdefault(finding.code, []).append(finding)
    merged = []
    for same in by_code.values():
        first = same[0]
        also = f" and {len(same) - 1} more" if len(same) > 1 else ""
        merged.append(replace(first, where=first.where + also))
    return merged


def _whole(rows: Sequence[Row]) -> list[Finding]:
    """What is worth knowing about the run as a whole."""
    nan, trained = math.nan, [row for row in rows if row.parameters]
    if not any(row.weight_decay or row.budget for row in trained):
        why = "weight_decay is 0 everywhere: nothing decays, which is a choice"
        fix = "el.param_groups(model, weight_decay=0.1)  # should you want some"
        return [Finding("NONE", "all groups", 0.0, 0.0, why, fix, "for your information", "info")]
    if any(row.form == "stable" and math.isnan(row.budget) for row in trained):
        why = "K depends on v̄, the mean squared gradient, which exists after the first step"
        fix = "optimizer.step(); print(el.audit(model, optimizer, steps=steps))"
        return [Finding("UNKNOWN", "stable decay", nan, nan, why, fix, "Xie et al. (11)", "info")]
    return []
