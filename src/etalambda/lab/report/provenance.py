"""Where the numbers come from: the commands, the environment, and how to look at one's own run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etalambda.lab.commands.words import words_of
from etalambda.lab.records import RunData
from etalambda.lab.report.html import Section, code, details, paragraph
from etalambda.lab.report.runs import sweep_command
from etalambda.lab.report.tables import Table, number
from etalambda.lab.results import Results

MOST = 12  # commands of single runs that are listed
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


def section(runs: Mapping[Path, RunData], sets: Mapping[str, Results] | None = None) -> Section:
    """Commands, environment and configs of every run on the page; of a set, once for all."""
    sets = sets or {}
    shown = [words_of(run.kind, run.config, out=str(folder)) for folder, run in runs.items()]
    shown += [command for results in sets.values() for command in _commands(results)]
    configs = "".join(
        details(f"{run.kind}: every setting", _settings(run).to_html()) for run in runs.values()
    )
    body = [
        paragraph("These commands train what is shown, from the same seeds:"),
        code("\n".join(shown)),
        _environment(runs, sets).to_html(),
        configs + _shared(sets),
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


def _commands(results: Results) -> list[str]:
    """A sweep's one command, else those of its runs, the first few."""
    sweep = results.lines[0].sweep
    if sweep and (command := sweep_command(sweep)):
        return [command]
    shown = []
    for line in results.lines[:MOST]:
        try:
            shown.append(words_of(line.kind, line.config, out=str(line.folder)))
        except KeyError:
            shown.append(f"# {line.folder}: {line.kind}, an experiment that is not ours")
    left = len(results.lines) - MOST
    return [*shown, f"# and {left} more: etalambda ls"] if left > 0 else shown


def _environment(runs: Mapping[Path, RunData], sets: Mapping[str, Results]) -> Table:
    rows = []
    for folder, run in runs.items():
        seconds = sum(session.get("seconds", 0.0) for session in run.env.get("sessions", []))
        state = "finished" if run.finished else "UNFINISHED"
        rows.append([folder.name, state, f"{number(seconds)} s", *_where([run.env])])
    for title, results in sets.items():
        done = sum(line.finished for line in results.lines)
        seconds = sum(line.seconds for line in results.lines)
        envs = [line.env for line in results.lines]
        state = f"{done} of {len(envs)} finished"
        rows.append([title, state, f"{number(seconds)} s", *_where(envs)])
    columns = ("run", "state", "took", "commit", "torch", "Python", "CPUs", "GPU", "platform")
    return Table("Environment", columns, rows)


def _where(envs: list[Any]) -> list[str]:
    """Commit, versions and machine; several where runs differ."""

    def told(get: Any) -> str:
        found = dict.fromkeys(str(get(env) or "–") for env in envs)
        return ", ".join(list(found)[:3])

    keys = ("python", "cpus", "accelerator", "platform")
    torch = told(lambda env: env.get("packages", {}).get("torch"))
    rest = [told(lambda env, key=key: env.get(key)) for key in keys]
    return [told(lambda env: env.get("commit")), torch, *rest]


def _shared(sets: Mapping[str, Results]) -> str:
    made = []
    for title, results in sets.items():
        rows = [[key, _value(value)] for key, value in results.common.items()]
        table = Table("", ("setting", "value"), rows).to_html()
        made.append(details(f"{title}: the settings that all share", table))
    return "".join(made)


def _settings(run: RunData) -> Table:
    rows = [[key, _value(value)] for key, value in run.config.items()]
    return Table("", ("setting", "value"), rows)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_value(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
