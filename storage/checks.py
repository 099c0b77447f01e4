"""Looks whether a database can be used, or made, before a study needs it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from storage.database import open_database
from storage.driver_errors import FOREIGN, explain
from storage.files import check_place
from storage.postgres import check_server
from storage.revision import refuse_untested_optuna
from storage.sqlite import refuse_leftovers
from storage.url import parse_address


def check_database(where: Path | str, *, read_only: bool = False) -> Sequence[str]:
    """Return the notices of the database, if it is there; changes nothing.

    Raises StorageError for what would keep a study from using it, or making it; `read_only`: from being looked at.
    """
    address = parse_address(where)
    try:
        used = check_server(address) if address.path is None else address.path.exists()
    except FOREIGN as error:
        raise explain(address, error) from None
    if used:
        with closing(open_database(where, create=False, read_only=read_only)) as database:
            return (*database.notices, *([database.read_only] if database.frozen else []))
    refuse_untested_optuna(address.shown)
    if address.path is not None:
        check_place(address.path)
        refuse_leftovers(address.path)
    return ()
