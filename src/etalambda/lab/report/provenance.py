"""Where the numbers come from: the commands, the environment, and how to look at one's own run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etalambda.lab.commands.words import words_of
from etalambda.lab.records import RunData
from etalambda.lab.report.html import Section, code, details, paragraph
from etalambda.lab.report.tables import Table, number

AUDIT = """\
import etalambda as el

print(el.audit(model, optimizer, steps=10_000))  # before training: what will my decay do?
el.tie(optimizer, "matched")  # optional: keep it in step with the learning rate"""

SELECTION = (
    "Every choice (best cell, each method's λ) is made on validation data; every number reported "
    "as test error comes from images that chose nothing. The best cell of a map is the lowest of "
    "many noisy means, so its validation error is too good; its test error is not, but was "
    "measured on the same networks. The comparison uses fresh seeds, the same for every method."
)


def section(runs: Mapping[Path, RunData]) -> Section:
    """Commands, environment and configs of every run on the page."""
    shown = [words_of(run.kind, run.config, out=str(folder)) for folder, run in runs.items()]
    configs = "".join(
        details(f"{run.kind}: every setting", _settings(run).to_html()) for run in runs.values()
    )
    body = [
        paragraph("These commands train what is shown, from the same seeds:"),
        code("\n".join(shown)),
        _environment(runs).to_html(),
        configs,
        paragraph(SELECTION, "note"),
    ]
    return Section("provenance", "How this was made", "".join(body))


def own_script() -> Section:
    """The lines to paste."""
    text = "Two lines in a training script say what its weight decay does:"
    more = (
        "Most real runs decay almost nothing: with K = 0.05 the weights shrink by 5 % in the "
        "whole run."
    )
    return Section("audit", "Your own script", paragraph(text) + code(AUDIT) + paragraph(more))


def _environment(runs: Mapping[Path, RunData]) -> Table:
    rows = []
    for folder, run in runs.items():
        env, packages = run.env, run.env.get("packages", {})
        state = "finished" if run.finished else "UNFINISHED"
        seconds = sum(session.get("seconds", 0.0) for session in env.get("sessions", []))
        row = [
            folder.name,
            state,
            f"{number(seconds)} s",
            env.get("commit") or "–",
            str(packages.get("torch", "–")),
            str(env.get("python", "–")),
            str(env.get("cpus", "–")),
            str(env.get("platform", "–")),
        ]
        rows.append(row)
    columns = ("run", "state", "took", "commit", "torch", "Python", "CPUs", "platform")
    return Table("Environment", columns, rows)


def _settings(run: RunData) -> Table:
    rows = [[key, _value(value)] for key, value in run.config.items()]
    return Table("", ("setting", "value"), rows)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_value(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
