"""``etalambda data``: what lies in a folder, and the one download there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

Name = Annotated[str, arg(metavar="[NAME]")]


def data(
    action: Positional[Literal["list", "fetch"]] = "list",
    name: Positional[Name] = "",
    data_dir: Path = Path("data"),
    mirror: str = "",
) -> None:
    """The data sets of a folder, and how to get one: etalambda data fetch cifar10.

    Nothing else here ever downloads. A download that breaks off goes on where it was; what comes
    is checked against its published sum. Files you have already are found in any published
    layout: IDX, CIFAR binary or its archive, Keras npz, Parquet of images, ptb.*.txt.

    Args:
        action: list what is there, or fetch one set.
        name: The set to fetch: mnist, fashion-mnist, cifar10, cifar100, ptb, tinyshakespeare.
        data_dir: The folder.
        mirror: Fetch the files from below this address instead; the published sums still hold.
    """
    if action == "fetch":
        _fetch(name, data_dir, mirror)
    elif name:
        raise ValueError(f"list takes no name, got {name!r}; write: etalambda data fetch {name}")
    else:
        _list(data_dir)


def _fetch(name: str, data_dir: Path, mirror: str) -> None:
    from etalambda.lab.console import progress_bar
    from etalambda.lab.data.fetch import SOURCES, fetch

    if not name:
        raise ValueError(f"name the set to fetch: {', '.join(SOURCES)}")
    try:
        with progress_bar(f"fetch {name}") as progress:
            paths = fetch(name, data_dir, mirror=mirror, progress=progress)
    except KeyboardInterrupt:
        print("\nstopped; what came is kept, the same command goes on")
        raise
    for path in paths:
        print(f"{path}  {path.stat().st_size:,} bytes, sum as published")


def _list(data_dir: Path) -> None:
    from etalambda.lab.console import print_table
    from etalambda.lab.data.layouts import SETS
    from etalambda.lab.report.tables import Table

    rows = [["digits", "comes with scikit-learn", "8x8 digits, 10 classes"]]
    rows += [[name, _state(name, data_dir), known.summary] for name, known in SETS.items()]
    note = "To get one: etalambda data fetch NAME. folder and text are data of your own."
    print_table(Table(f"Data in {data_dir}", ("set", "in the folder", "what it is"), rows, note))


def _state(name: str, data_dir: Path) -> str:
    from etalambda.lab.data import DataError, IncompleteError, find

    try:
        layout = find(name, data_dir)
    except IncompleteError as error:
        return f"incomplete: {error}"
    except DataError:
        return "–"
    count = f"{len(layout.files)} files" if len(layout.files) > 1 else layout.files[0].name
    return f"{layout.form}: {count}"
