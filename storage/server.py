"""Opens a database on a server (PostgreSQL), by a URL whose password stays hidden.

Optuna makes its tables there. Backups and durability are the server's own business.
"""

from __future__ import annotations

from storage.address import Address
from storage.errors import StorageError
from storage.trials import QuickStorage

_CONNECT_S = 10


def open_server(address: Address) -> QuickStorage:
    assert address.url is not None
    # Optuna would format() the URL: braces in a password are doubled.
    url = address.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    kwargs = {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_S}}
    try:
        return QuickStorage(url, engine_kwargs=kwargs, skip_compatibility_check=True)
    except ImportError:
        raise StorageError(f"{address.shown}: its driver is missing. pip install 'psycopg[binary]'") from None
