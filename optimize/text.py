"""How durations, parameters and a script's text are put into words, the same in a terminal, a note and a page.

Values in, text out; it lays nothing out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

PARAMS_SHOWN = 6
NAMES_SHOWN = 20


def duration(seconds: float) -> str:
    """`4.2 s`, `42 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def changes(params: Mapping[str, object], baseline: Mapping[str, object], shown: int = PARAMS_SHOWN) -> str:
    """The parameters in which a trial differs from the baseline, `DEPTH=3 MATRIX_LR=0.02`."""
    # compared as text, because a stored tuple is text
    differing = [
        f"{name}={short(value)}" for name, value in params.items() if short(value) != short(baseline.get(name))
    ]
    if not differing:
        return "the baseline's parameters"
    more = len(differing) - shown
    return " ".join(differing[:shown]) + (f" and {more} more" if more > 0 else "")


def short(value: object) -> str:
    """A parameter's value in as few characters as tell it from the others."""
    return f"{value:g}" if isinstance(value, float) else str(value).replace(", ", ",")


def meant(name: str, known: Iterable[str], path: bool = False) -> str:
    """What somebody may have meant by a name that is unknown, ` Did you mean cpu?`; "" if nothing is near.

    `path`: it may stand for a file or folder, for which a bare name is not enough.
    """
    if path and name and len(name) < 256 and Path(name).exists():
        return f" Did you mean ./{name}?"
    close = get_close_matches(name[:256], known, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """`a, b, c`, in order; of very many the first."""
    ordered = sorted(names)
    more = len(ordered) - NAMES_SHOWN
    return ", ".join(ordered[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def study_name(text: str) -> str:
    """A name for a study, from those of folders and files, which may hold anything."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[-100:].lstrip("._-") or "study"


def escaped(text: str, keep: str = "") -> str:
    """Return `text` with every character that could steer a terminal as its escape (`\\x1b`), but for those in `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def visible(text: str) -> str:
    """Return the text of a script, safe to show: lines stay lines, other control characters become escapes."""
    return escaped(text.replace("\r\n", "\n").replace("\r", "\n"), keep="\n")


def one_line(text: str, limit: int) -> str:
    """Return `text` as one line that is safe to show: blanks and line breaks folded, cut at `limit` characters."""
    safe = escaped(" ".join(text[: 4 * limit].split()))
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
