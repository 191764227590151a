"""The command line: ``etalambda COMMAND``.

A command is a name, the place of its function and a line of help. Only the chosen one is imported,
so ``etalambda --help`` costs no torch. tyro makes the flags from the function's signature: what a
flag means is written once, in the docstring that Python users read too.

A mistake of the user's is one line on stderr and exit code 2; ``ETALAMBDA_DEBUG=1`` shows the
traceback. Ctrl-C is exit code 130, after the command has said what is kept.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from etalambda._common import unknown

PITCH = """\
etalambda tells you what your weight decay does, picks a sensible one, and keeps it in step with
your learning rate."""

EPILOG = """\
Each command explains its flags: etalambda map --help
Runs are kept in ./runs; a command that is stopped goes on where it was when run again."""


class Command(NamedTuple):
    """Where a command's function is (``module:function``), its line of help and its shelf.

    ``words``: it takes the words themselves, because its flags depend on the first of them.
    """

    target: str
    summary: str
    shelf: str
    words: bool = False


_HERE = "etalambda.lab.commands"
COMMANDS: dict[str, Command] = {
    "demo": Command(f"{_HERE}.demo:demo", "clock + map + compare + report, 3 minutes", "see it"),
    "clock": Command(f"{_HERE}.experiments:clock", "many decay plans, one budget K", "see it"),
    "map": Command(f"{_HERE}.experiments:map", "the lr x weight_decay map of a task", "see it"),
    "compare": Command(
        f"{_HERE}.experiments:compare", "ways of scheduling, each tuned, paired seeds", "see it"
    ),
    "suggest": Command(f"{_HERE}.suggest:suggest", "which weight decay for a plan", "use it"),
    "doctor": Command(
        f"{_HERE}.doctor:doctor", "what a run's log says about its weight decay", "use it"
    ),
    "train": Command(f"{_HERE}.train:train", "one network, any recipe, resumed exactly", "try it"),
    "sweep": Command(
        f"{_HERE}.sweep:sweep", "many configs of an experiment, on many machines", "try it", True
    ),
    "worker": Command(f"{_HERE}.sweep:worker", "take work from a sweep, on any machine", "try it"),
    "report": Command(f"{_HERE}.report:report", "one offline page from any runs", "read it"),
    "ls": Command(f"{_HERE}.ls:ls", "the runs of a folder, the cells of a sweep", "read it"),
    "show": Command(f"{_HERE}.ls:show", "one run in full", "read it"),
    "diff": Command(f"{_HERE}.ls:diff", "what differs between runs or sweeps, in pairs", "read it"),
    "theory": Command(
        f"{_HERE}.theory:theory", "the closed forms as a page with sliders", "check it"
    ),
    "reproduce": Command(
        f"{_HERE}.reproduce:reproduce", "a figure of a paper, with a verdict", "check it"
    ),
    "data": Command(f"{_HERE}.data:data", "the data sets of a folder; fetch one", "set it up"),
}


def help_text() -> str:
    """The top-level help, by shelf.

    >>> print(help_text().splitlines()[0])
    usage: etalambda COMMAND [options]
    """
    lines = ["usage: etalambda COMMAND [options]", "", PITCH]
    for shelf in dict.fromkeys(command.shelf for command in COMMANDS.values()):
        lines += ["", f"{shelf}:"]
        lines += [f"  {n:9} {c.summary}" for n, c in COMMANDS.items() if c.shelf == shelf]
    return "\n".join([*lines, "", "Start with: etalambda demo", EPILOG])


def load(name: str) -> Callable[..., Any]:
    """The function of a command.

    Raises:
        ValueError: For an unknown name; it lists the known ones and the nearest.
    """
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    module, function = COMMANDS[name].target.split(":")
    return getattr(import_module(module), function)


def run(words: Sequence[str]) -> None:
    """Parse ``words`` and run the command they name."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
    elif words[0] in ("-V", "--version"):
        from etalambda import __version__

        print(f"etalambda {__version__}")
    else:
        function = load(words[0])
        if COMMANDS[words[0]].words:
            return function(words[1:])
        import tyro

        tyro.cli(function, prog=f"etalambda {words[0]}", args=list(words[1:]))
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake, 130 for Ctrl-C."""
    try:
        run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print("etalambda: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `etalambda ls | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("ETALAMBDA_DEBUG"):
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"etalambda: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
