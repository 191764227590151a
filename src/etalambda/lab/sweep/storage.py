"""The database that a sweep's queue is kept in: Optuna's RDB storage, on SQLite or PostgreSQL.

A worker says by a heartbeat that it lives; what a dead one held is put back here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etalambda._common import need

DATABASE = "sweep.db"


def sqlite_url(folder: Path) -> str:
    """The default storage of a sweep's folder."""
    return f"sqlite:///{(folder / DATABASE).resolve()}"


def hidden(url: str) -> str:
    """The address without its password, for people.

    >>> hidden("postgresql+psycopg://me:secret@host/db")
    'postgresql+psycopg://me:***@host/db'
    """
    return need("sqlalchemy.engine", "lab").make_url(url).render_as_string(hide_password=True)


def open_storage(url: str, heartbeat: int = 60) -> Any:
    """Optuna's storage at this address.

    Args:
        url: As SQLAlchemy has it: ``sqlite:///sweep.db``, ``postgresql+psycopg://user@host/db``.
        heartbeat: Seconds between two signs of life; twice that without one is a death.

    Raises:
        ModuleNotFoundError: Without the database's driver; the message names the extra.
        ValueError: If the database cannot be reached.
    """
    optuna = need("optuna", "lab")
    exc = need("sqlalchemy.exc", "lab")
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    # SQLite locks the whole file: wait for it. Elsewhere notice a server that restarted.
    lite = url.startswith("sqlite")
    kwargs = {"connect_args": {"timeout": 120}} if lite else {"pool_pre_ping": True}
    try:
        with quiet():
            storage = optuna.storages.RDBStorage(
                url,
                engine_kwargs=kwargs,
                heartbeat_interval=heartbeat,
                heartbeat_stale_trial_callback=_give_back,
            )
        if lite:
            _claim_alone(storage.engine)
        return storage
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{hidden(url)} needs the driver {error.name}; for PostgreSQL: "
            "pip install 'etalambda[postgres]'",
            name=error.name,
        ) from error
    except ImportError as error:  # optuna's own wrapping of a driver that is not there
        raise ModuleNotFoundError(
            f"{hidden(url)} needs a driver: pip install 'etalambda[postgres]' ({error})"
        ) from error
    except (exc.ArgumentError, exc.OperationalError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise ValueError(f"storage {_safe(url)} cannot be used: {reason}") from error


@contextmanager
def storage_of(url: str, heartbeat: int = 60) -> Iterator[Any]:
    """`open_storage` for the time of a block; its connections are closed at the end."""
    storage = open_storage(url, heartbeat)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _safe(url: str) -> str:
    try:
        return hidden(url)
    except Exception:  # no address at all: anything in it might be a password
        return repr(f"{url.partition(':')[0]}:...")


def _claim_alone(engine: Any) -> None:
    """Make SQLite lock before it reads: else two workers see one unit waiting, and both take it.

    Other databases do that by SELECT ... FOR UPDATE, which SQLite does not know.
    """
    event = need("sqlalchemy.event", "lab")
    event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    event.listen(engine, "begin", lambda opened: opened.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # connections that were opened before


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna calls its heartbeat callbacks experimental on every call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", need("optuna.exceptions", "lab").ExperimentalWarning)
        yield


def _give_back(study: Any, trial: Any) -> None:
    """What a dead worker held waits again, with what the sampler had chosen for it."""
    if "unit" in trial.user_attrs:
        enqueue_again(study, trial)


def enqueue_again(study: Any, trial: Any, *, anew: bool = False) -> None:
    """A new waiting trial in place of one that did not end; ``anew`` forgets the deaths so far."""
    optuna = need("optuna", "lab")
    attrs = {k: v for k, v in trial.user_attrs.items() if k in ("unit", "cells")}
    died = "stopped" not in trial.user_attrs
    attrs["deaths"] = 0 if anew else trial.user_attrs.get("deaths", 0) + died
    study.add_trial(
        optuna.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=attrs,
        )
    )
