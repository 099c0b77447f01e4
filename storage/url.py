"""Parses where a database is: a path, or a URL whose password is never shown.

It connects to nothing. `shown` is what messages print; `scrub` removes the secrets from any text of a driver.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import sqlalchemy
from sqlalchemy.engine import URL

from storage.errors import StorageError

_SECRET_OPTIONS = ("pass", "secret", "token", "key")  # of a URL's query: password=, sslpassword=, ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is."""

    shown: str
    path: Path | None = None  # of a SQLite file
    url: URL | None = field(default=None, repr=False)  # of anything else

    def scrub(self, text: str) -> str:
        """Return `text` with every secret of the URL replaced."""
        for secret in sorted(_secrets(self.url), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def parse_address(where: Path | str) -> Address:
    """Return the address of a path (a SQLite file) or of a text with `://` (a URL). Raises StorageError."""
    if isinstance(where, Path) or "://" not in where:
        path = Path(where).expanduser()
        return Address(shown=str(path), path=path)
    url = _parse_url(where)
    return _of_sqlite(url) if url.get_backend_name() == "sqlite" else _of_server(url)


def shown_address(where: str) -> str:
    """Return an address as messages show it, without a password."""
    return parse_address(where).shown


def is_there(where: Path | str) -> bool:
    """Return whether a SQLite file exists already; a server is taken to be there."""
    path = parse_address(where).path
    return path is None or path.exists()


def _parse_url(text: str) -> URL:
    # No message here repeats the text: what does not parse may well hold a password.
    try:
        return sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise StorageError(
            "the storage URL does not parse. Write sqlite:///file.db or postgresql://user:password@host:5432/name, "
            "with @ : / ? # and % in the password percent-encoded"
        ) from None


def _of_sqlite(url: URL) -> Address:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise StorageError("sqlite: a study needs a file that outlives it. Write sqlite:///path/to/file.db")
    path = Path(url.database).expanduser()
    return Address(shown=str(path), path=path)


def _of_server(url: URL) -> Address:
    if url.get_backend_name() != "postgresql":
        hint = ", not postgres://" if url.drivername == "postgres" else ""
        raise StorageError(
            f"the storage URL: only SQLite and PostgreSQL can be used. Write sqlite:/// or postgresql://{hint}"
        )
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise StorageError(f"the storage URL: {url.drivername} cannot be used, psycopg 3 can. Write postgresql://")
    if "@" in (url.host or "") or "@" in (url.database or ""):
        raise StorageError("the storage URL: an @ in the password cuts it in two. Write it as %40")
    hidden = {name: "***" if _is_secret(name) else value for name, value in url.query.items()}
    shown = url.set(query=hidden).render_as_string(hide_password=True)
    return Address(shown=shown.replace(quote("***", safe=""), "***"), url=url)


def _is_secret(option: str) -> bool:
    return any(word in option.lower() for word in _SECRET_OPTIONS)


def _secrets(url: URL | None) -> set[str]:
    if url is None:
        return set()
    values = [url.password] if url.password else []
    for name, value in url.query.items():
        if _is_secret(name):
            values += [value] if isinstance(value, str) else list(value)
    plain = {str(value) for value in values if value}
    return plain | {quote(value, safe="") for value in plain} | {quote_plus(value) for value in plain}
