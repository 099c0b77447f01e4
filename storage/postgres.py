"""Opens a database on a server (PostgreSQL, psycopg 3), after checking it: nothing is made among another program's
tables.

Optuna makes its tables there. Backups and durability are the server's own business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from storage import sql
from storage.errors import StorageError
from storage.reader import QuickStorage
from storage.revision import refuse_untested_optuna
from storage.url import Address

# libpq's own options, where the URL does not set them: a server that vanished is noticed within a minute or so.
_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "optimize",
}
_UNPREPARED = {"prepare_threshold": None}  # prepared statements get lost in poolers such as PgBouncer
_FIRST_TIME = 7_277_113_510  # of an advisory lock: two drivers that open an empty database make its tables once


def open_server(address: Address, *, create: bool) -> QuickStorage:
    """Open the storage at `address.url`. Without `create` nothing is made, and rights to read are enough.

    Raises StorageError for a database that a study cannot use.
    """
    with _connection(address) as connection:
        found = _look(connection)
        _refuse_strangers(address, found)
        if create:
            _refuse_lack_of_rights(address, connection, found)
        if found.revision is not None:
            return _rdb(address, complete=True)
        if not create:
            raise StorageError(f"{address.shown}: no studies in this database yet. Start one first (`optimize run`)")
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": _FIRST_TIME})
        return _rdb(address, complete=_look(connection).revision is not None)


def check_server(address: Address) -> bool:
    """Return whether there are Optuna's tables; makes nothing. Raises StorageError if a study could not work there."""
    with _connection(address) as connection:
        found = _look(connection)
        _refuse_strangers(address, found)
        _refuse_lack_of_rights(address, connection, found)
        return found.revision is not None


@dataclass(frozen=True, slots=True)
class _Found:
    schema: str | None  # where new tables go
    tables: frozenset[str]  # of the names that Optuna and we use
    revision: str | None  # of Optuna's tables, stamped last


def _look(connection: sqlalchemy.Connection) -> _Found:
    names = [*sql.OPTUNAS, sql.LEASES.name, "version_info", "alembic_version"]
    here = sqlalchemy.text(
        "SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL"
    )
    found = frozenset(connection.execute(here, {"names": names}).scalars())
    schema = connection.execute(sqlalchemy.text("SELECT current_schema()")).scalar()
    version = sqlalchemy.text("SELECT version_num FROM alembic_version")
    return _Found(schema, found, connection.execute(version).scalar() if "alembic_version" in found else None)


def _refuse_strangers(address: Address, found: _Found) -> None:
    if found.tables and not {"version_info", "studies"} <= found.tables:
        theirs = ", ".join(sorted(found.tables))
        raise StorageError(f"{address.shown}: another program has tables of these names here: {theirs}. "
                           "Use a database of your own: createdb NAME")  # fmt: skip
    if found.schema is None:
        raise StorageError(
            f"{address.shown}: no schema to work in. CREATE SCHEMA public, or set the user's search_path"
        )


def _refuse_lack_of_rights(address: Address, connection: sqlalchemy.Connection, found: _Found) -> None:
    """Raise StorageError before anything is made or changed: a right that lacks in the middle of a study costs a trial."""
    if connection.execute(sqlalchemy.text("SELECT current_setting('transaction_read_only')")).scalar() == "on":
        raise StorageError(f"{address.shown}: the server takes no changes. Name the primary instead of a standby")
    user = connection.execute(sqlalchemy.text("SELECT current_user")).scalar()
    may_create = (
        "SELECT has_schema_privilege(current_schema(), 'USAGE') AND has_schema_privilege(current_schema(), 'CREATE')"
    )
    complete = {*sql.OPTUNAS, sql.LEASES.name} <= found.tables
    if not complete and not connection.execute(sqlalchemy.text(may_create)).scalar():
        raise StorageError(
            f"{address.shown}: {user} may make no tables in schema {found.schema}. "
            f"As the database's owner: GRANT USAGE, CREATE ON SCHEMA {found.schema} TO {user}"
        )
    each = " AND ".join(f"has_table_privilege(name, '{right}')" for right in ("SELECT", "INSERT", "UPDATE", "DELETE"))
    missing = sqlalchemy.text(f"SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE NOT ({each})")
    locked = (
        connection.execute(missing, {"names": sorted(found.tables - {"version_info", "alembic_version"})})
        .scalars()
        .all()
    )
    if locked:
        raise StorageError(
            f"{address.shown}: {user} may not read and write {', '.join(locked)}. As their owner: "
            f"GRANT ALL ON ALL TABLES IN SCHEMA {found.schema} TO {user}, and the same ON ALL SEQUENCES"
        )


@contextmanager
def _connection(address: Address) -> Iterator[sqlalchemy.Connection]:
    """Open a connection for a look at the database; closing it gives the advisory lock back."""
    assert address.url is not None
    try:
        engine = sqlalchemy.create_engine(
            _with_driver(address.url), poolclass=NullPool, connect_args=_connect_args(address)
        )
    except ImportError:
        raise _driver_missing(address) from None
    with engine.connect() as connection, connection.execution_options(isolation_level="AUTOCOMMIT"):
        yield connection


def _rdb(address: Address, *, complete: bool) -> QuickStorage:
    assert address.url is not None
    if not complete:
        refuse_untested_optuna(address.shown)
    # Optuna would format() the URL, and SQLAlchemy 2.0 leaves braces in the name of a database: they are doubled.
    url = _with_driver(address.url).render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    kwargs = {"pool_pre_ping": True, "connect_args": _connect_args(address)}
    return QuickStorage(url, engine_kwargs=kwargs, skip_compatibility_check=True, skip_table_creation=complete)


def _with_driver(url: URL) -> URL:
    """Name psycopg 3 in the URL: to SQLAlchemy 2.0 a plain postgresql:// is psycopg2."""
    return url.set(drivername="postgresql+psycopg")


def _connect_args(address: Address) -> dict[str, object]:
    assert address.url is not None
    given = address.url.query
    return {name: value for name, value in _OPTIONS.items() if name not in given} | _UNPREPARED


def _driver_missing(address: Address) -> StorageError:
    return StorageError(f"{address.shown}: psycopg is not installed. Run `pip install 'psycopg[binary]>=3.2'`")
