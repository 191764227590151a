"""The queue: units of work in a database that any number of workers share (Optuna's RDB storage).

SQLite in the sweep's folder by default, PostgreSQL for many machines. A worker says by a heartbeat
that it lives; a unit whose heartbeat stops is given to another. Windows that this leaves open are
closed here: a worker that dies before its first heartbeat, one that dies while it gives another
one's unit back, two callers that enqueue at once, and SQLite's lack of SELECT ... FOR UPDATE.

Optuna's GridSampler is not used: by its own docstring two workers may take one cell, and it counts
a failed cell as visited.
"""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import asdict, dataclass
from typing import Any

from etalambda._common import need
from etalambda.lab.records import ConfigMismatch
from etalambda.lab.sweep.counts import Counts
from etalambda.lab.sweep.plan import Plan, Unit
from etalambda.lab.sweep.space import mark_of
from etalambda.lab.sweep.storage import enqueue_again, quiet


@dataclass
class Queue:
    """A sweep's study: what is to do, what is done.

    Attributes:
        study: Optuna's.
        plan: What the sweep was told.
    """

    study: Any
    plan: Plan
    _seen: dict[int, float]  # trial id -> when it was first seen running without a heartbeat

    @classmethod
    def create(cls, storage: Any, name: str, plan: Plan) -> Queue:
        """Begin a sweep, or go on with the one of this name.

        Raises:
            ConfigMismatch: If that one is of another experiment, config or sampler: what differs.
        """
        optuna = need("optuna", "lab")
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        there = study.user_attrs.get("plan")
        if there is not None:
            _compare(name, Plan.from_json(there, trusted=plan.kind), plan)
        study.set_user_attr("plan", plan.to_json())
        return cls(study, plan, {})

    @classmethod
    def load(cls, storage: Any, name: str, *, trusted: str = "") -> Queue:
        """The sweep of this name; with an empty name the only one there is.

        Raises:
            ValueError: If there is none of this name, or several and none was named.
        """
        optuna = need("optuna", "lab")
        names = optuna.get_all_study_names(storage)
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            listed = ", ".join(sorted(names)[:10]) or "none"
            raise ValueError(f"study {name!r} is not in the storage; there: {listed}")
        study = optuna.load_study(storage=storage, study_name=name)
        plan = Plan.from_json(study.user_attrs["plan"], trusted=trusted)
        if plan.sampler == "tpe":
            with quiet():
                study.sampler = optuna.samplers.TPESampler(
                    constant_liar=True, multivariate=True, n_startup_trials=10
                )
        return cls(study, plan, {})

    def trials(self) -> list[Any]:
        """All trials that hold a unit; do not change them."""
        return [t for t in self.study.get_trials(deepcopy=False) if "unit" in t.user_attrs]

    def enqueue(self, finished: Set[str] = frozenset()) -> int:
        """Put what is neither done nor waiting nor running into the queue; how many units that is.

        Args:
            finished: Marks of the cells whose records are finished, whatever the queue says.
        """
        again = self.counts()
        for trial in (*again.failed, *again.lost):
            enqueue_again(self.study, trial, anew=True)
        there = {t.user_attrs["unit"]: t.user_attrs["cells"] for t in self.trials()}
        known = {mark_of(name) for cells in there.values() for name, _ in cells}
        fresh = [unit for unit in self.plan.units(finished | known) if unit.name not in there]
        for unit in fresh:
            self._add(unit)
        return len(fresh) + len(again.failed) + len(again.lost)

    def _add(self, unit: Unit) -> None:
        cells = [[name, dict(values)] for name, values in unit.cells]
        self.study.enqueue_trial({}, user_attrs={"unit": unit.name, "cells": cells})

    def is_double(self, trial: Any) -> bool:
        """Whether another trial of this one's unit is done, or was claimed before it."""
        unit, mine = trial.user_attrs["unit"], (trial.datetime_start, trial.number)
        others = [t for t in self.trials() if t.user_attrs["unit"] == unit]
        return any(
            t.state.name == "COMPLETE"
            or (t.state.name == "RUNNING" and (t.datetime_start, t.number) < mine)
            for t in others
        )

    def counts(self) -> Counts:
        """How many units are where."""
        return Counts.of(self.trials())

    def repair(self) -> Counts:
        """Give back what dead workers held and what was lost on the way; the counts after it."""
        optuna = need("optuna", "lab")
        with quiet():
            optuna.storages.fail_stale_trials(self.study)
        self._reap_the_silent()
        counts = self.counts()
        for trial in counts.lost:
            enqueue_again(self.study, trial)
        return self.counts() if counts.lost else counts

    def _reap_the_silent(self) -> None:
        """Trials claimed by a worker that died before its first heartbeat: nobody else would."""
        storage, grace = self.study._storage, 2 * self._interval()
        running = {t._trial_id: t for t in self.trials() if t.state.name == "RUNNING"}
        beating = _beating(storage, list(running))
        silent = {i for i in running if i not in beating}
        now = time.monotonic()
        self._seen = {i: self._seen.get(i, now) for i in silent}
        for i, since in self._seen.items():
            if now - since > grace:
                self._fail(storage, running[i])

    def _fail(self, storage: Any, trial: Any) -> None:
        optuna = need("optuna", "lab")
        try:
            won = storage.set_trial_state_values(
                trial._trial_id, state=optuna.trial.TrialState.FAIL
            )
        except optuna.exceptions.UpdateFinishedTrialError:
            return
        if won:
            enqueue_again(self.study, trial)

    def _interval(self) -> int:
        found = self.study._storage
        return getattr(found, "_backend", found).heartbeat_interval or 60


def _beating(storage: Any, ids: list[int]) -> set[int]:
    """Which of the trials have sent a heartbeat."""
    if not ids:
        return set()
    sql = need("sqlalchemy", "lab")
    engine = getattr(storage, "_backend", storage).engine
    with engine.connect() as connection:
        rows = connection.execute(sql.text("select trial_id from trial_heartbeats"))
        return {row[0] for row in rows} & set(ids)


def _compare(name: str, there: Plan, asked: Plan) -> None:
    flat = [{"experiment": p.kind, "sampler": p.sampler, **asdict(p.base)} for p in (there, asked)]
    swept = {axis.field for plan in (there, asked) for axis in plan.axes}
    keys = [k for k in flat[0] | flat[1] if flat[0].get(k) != flat[1].get(k) and k not in swept]
    if keys:
        lines = ", ".join(f"{k} ({flat[0].get(k)!r} there, {flat[1].get(k)!r} now)" for k in keys)
        raise ConfigMismatch(
            f"the sweep {name!r} has another config: {lines}; choose another --out"
        )
