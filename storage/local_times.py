"""Knows of databases that Optuna 4 made: it wrote the local times of its machine where Optuna 5, and we, write UTC.

What Optuna 5 has added to such a database without us cannot be told from the rest.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy

from storage.sql import TRIAL_ATTRS, TRIALS
from storage.text import one_line

OURS = "origin"  # an attribute of all trials that we made, whoever made the database
_VERSION = "optuna_version"  # of a connection, which is asked once


def keeps_local_times(connection: sqlalchemy.Connection) -> bool:
    """Return whether trials that are not ours have local times in this database."""
    return _is_old(_made_by(connection))


def utc_of(moment: datetime | None) -> datetime | None:
    """Return a local time of this machine as our tables have it."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def local_times_notice(engine: sqlalchemy.Engine, where: str) -> list[str]:
    """Return a line about the times in a database of Optuna 4, if there is one that concerns them."""
    ours = sqlalchemy.select(TRIAL_ATTRS.c.trial_id).where(TRIAL_ATTRS.c.key == OURS)
    dated = sqlalchemy.select(TRIALS.c.trial_id).where(
        TRIALS.c.datetime_start.is_not(None), TRIALS.c.trial_id.not_in(ours)
    )
    with engine.connect() as connection, connection.begin():
        if not keeps_local_times(connection) or connection.execute(dated.limit(1)).first() is None:
            return []
        made_by = _made_by(connection)
    return [
        f"{where}: Optuna {made_by} made it, and kept local times: they are read as those of this machine. If it ran in "
        "another time zone, set TZ. Times that Optuna 5 has added are off"
    ]


def _made_by(connection: sqlalchemy.Connection) -> str:
    if _VERSION not in connection.info:
        found = connection.execute(sqlalchemy.text("SELECT library_version FROM version_info")).first()
        connection.info[_VERSION] = one_line(str(found[0]), 20) if found else ""
    return str(connection.info[_VERSION])


def _is_old(version: str) -> bool:
    first = version.partition(".")[0]
    return first.isdigit() and int(first) < 5
