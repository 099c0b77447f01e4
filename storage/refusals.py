"""What a PostgreSQL server, or the way to it, refuses, and what to do about it.

A refused connection has no code, only the server's words; where they are not English, they are shown as they are. What
is said here is one sentence each; `failures.py` puts the address before it.
"""

from __future__ import annotations

import re

from sqlalchemy.engine import URL

_CREDENTIALS = "Correct the URL (OPTIMIZE_STORAGE_URL), or give the password by PGPASSWORD or ~/.pgpass"

# What the words of a refusal match -> what they mean and what to do.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"password authentication failed|no password supplied|no password", f"wrong user or password. {_CREDENTIALS}"),
    (r'role ".*" does not exist', f"there is no such user. {_CREDENTIALS}"),
    (r'database ".*" does not exist', "the server has no such database. Create it: createdb {database}"),
    (r"no pg_hba.conf entry|pg_hba.conf rejects", "the server lets nobody in from here. Add a line to its pg_hba.conf"),
    (r"permission denied for database", "no right to connect. As its owner: GRANT CONNECT ON DATABASE {database} TO {user}"),
    (r"starting up|shutting down|recovery", "the server is just starting or stopping. Try again in a moment"),
    (r"too many clients|remaining connection slots|too many connections",
     "the server has no connection left. Close some, or raise its max_connections"),
    (r"Connection refused|No such file or directory", "no server answers there. Start it, or correct host and port"),
    (r"resolve host|translate host name|Name or service not known", "there is no such host. Correct the URL"),
    (r"timeout expired|timed out|No route to host|unreachable",
     "the server cannot be reached from here. Check host, port and firewall"),
    (r"invalid (connection|URI query) (option|parameter)", "an option of the URL is unknown. Correct what follows its ?"),
)  # fmt: skip


def meaning(words: str, url: URL) -> str | None:
    """What a refused connection means; None for words that are not known."""
    for pattern, sentence in _WORDS:
        if re.search(pattern, words):
            return sentence.format(database=url.database or "DATABASE", user=url.username or "USER")
    return None


def lacking_rights(words: str, url: URL) -> str:
    """`words` are the server's own, such as: permission denied for table trials."""
    user = url.username or "USER"
    if "schema" in words:
        return f"{words}. As the database's owner: GRANT USAGE, CREATE ON SCHEMA public TO {user}"
    return f"{words}. As its owner: GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}, and the same ON ALL SEQUENCES"
