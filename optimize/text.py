"""Text: durations, parameters and names in words, a script's text made safe to show, and files read within bounds.

The words are the same in a terminal, a note and a page. It knows nothing of layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import count
from pathlib import Path

PARAMS_SHOWN = 6
NAMES_SHOWN = 20
NEAR = 0.65  # as gpt to gpu; below that a guess misleads
_CONTROL = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")  # control sequences of a terminal: ECMA-48, CSI


def duration(seconds: float) -> str:
    """Return seconds as `4.2 s`, `42 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def amount(count: int, noun: str) -> str:
    """Return `1 trial` or `1,000 trials`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def changes(params: Mapping[str, object], baseline: Mapping[str, object], shown: int = PARAMS_SHOWN) -> str:
    """Return the parameters in which a trial differs from the baseline, such as `DEPTH=3 MATRIX_LR=0.02`."""
    # compared as text, because a stored tuple is text
    differing = [
        f"{name}={short(value)}" for name, value in params.items() if short(value) != short(baseline.get(name))
    ]
    if not differing:
        return "the baseline's parameters"
    more = len(differing) - shown
    return " ".join(differing[:shown]) + (f" and {more} more" if more > 0 else "")


def short(value: object) -> str:
    """Return a parameter's value in few characters."""
    return f"{value:g}" if isinstance(value, float) else str(value).replace(", ", ",")


def meant(name: str, known: Iterable[str], path: bool = False) -> str:
    """Return ` Did you mean cpu?` for an unknown name that resembles a known one, else "".

    `path`: the name may be a file or folder that has to be given as `./name`.
    """
    if path and name and len(name) < 256 and Path(name).exists():
        return f" Did you mean ./{name}?"
    close = get_close_matches(name[:256], known, n=1, cutoff=NEAR)
    return f" Did you mean {close[0]}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Return `a, b, c`, sorted; of more than NAMES_SHOWN the first, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - NAMES_SHOWN
    return ", ".join(ordered[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def study_name(text: str) -> str:
    """Return a valid name for a study, made from that of a folder or file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[-100:].lstrip("._-") or "study"


def name_after(study: str, taken: Iterable[str]) -> str:
    """Return a name for a study that follows another one, which none has yet: night-2 after night, night-3 after night-2."""
    known = set(taken)
    stem, _, number = study.rpartition("-")
    stem, first = (stem, int(number) + 1) if stem and number.isdecimal() and len(number) < 4 else (study, 2)
    names = (f"{study_name(stem)}-{each}" for each in count(first))
    return next(each for each in names if each not in known)


def escaped(text: str, keep: str = "") -> str:
    """Return `text` with every character that could steer a terminal as its escape (`\\x1b`), but for those in `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def value_text(value: float | None) -> str:
    """Return a metric's value with six decimals, or six digits where those would be zeros or hundreds; "" for None."""
    if value is None:
        return ""
    return f"{value:.6f}" if not value or 1e-5 <= abs(value) < 1e12 else f"{value:.6g}"


def gain_text(value: float) -> str:
    """Return a difference of two values, with its sign."""
    return f"{'' if value < 0 else '+'}{value_text(value)}"


def visible(text: str) -> str:
    """Return the text of a script, safe to show: lines stay lines, other control characters become escapes."""
    return escaped(text.replace("\r\n", "\n").replace("\r", "\n"), keep="\n")


def one_line(text: str, limit: int) -> str:
    """Return `text` as one line that is safe to show: blanks and line breaks folded, cut at `limit` characters."""
    safe = escaped(" ".join(text[: 4 * limit].split()))
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def without_colours(text: str) -> str:
    """Return `text` without the sequences that colour it in a terminal, move the cursor or clear a line."""
    return _CONTROL.sub("", text) if "\x1b" in text else text


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a file. Raises OSError if it is no file, ValueError if it is larger than `max_bytes`."""
    if path.exists() and not path.is_file():  # a pipe would block for ever
        raise OSError("it is not a file")
    with path.open("rb") as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise ValueError(f"larger than {max_bytes / 1e6:g} MB")
    return raw
