"""HTML that is safe by construction: every text is escaped unless it was made here.

Study names, parameters, reasons, logs and settings come from scripts and databases; on the page they are plain text.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from optimize.text import visible

LONGEST_HEAD = 12  # characters of a column's title that is repeated in each row on a narrow screen


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(content: object) -> Markup:
    """Return anything as text of a page; control characters, and those that turn the direction of writing, become escapes."""
    return content if isinstance(content, Markup) else Markup(html.escape(visible(str(content)), quote=True))


def tag(name: str, *content: object, **attributes: str) -> Markup:
    """Return an element; `class_` is its attribute class."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{join(content)}</{name}>")


def join(content: Iterable[object], between: str = "") -> Markup:
    """Return the contents side by side, with `between` between them."""
    return Markup(text(between).join(map(text, content)))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> Markup:
    """Return a table whose columns `numbers` are aligned to the right, without columns that are empty in every row.

    On a narrow screen a row becomes a paragraph, in which each cell repeats the title of its column if that is short.
    """
    filled = [[text(cell) for cell in row] for row in rows]
    kept = [i for i in range(len(head)) if any(row[i] for row in filled)]
    kinds = {i: {"class_": "n"} if i in numbers else {} for i in kept}
    short = {i: {"data_head": head[i]} if len(head[i]) <= LONGEST_HEAD else {} for i in kept}
    top = tag("tr", *(tag("th", head[i], **kinds[i]) for i in kept))
    body = [tag("tr", *(tag("td", row[i], **short[i], **kinds[i]) for i in kept)) for row in filled]
    return tag("table", tag("thead", top), tag("tbody", *body))


def diff(patch: str, most_lines: int) -> Markup:
    """Return a patch with its added and removed lines coloured, cut after `most_lines`."""
    lines = [line.rstrip("\t").expandtabs(4) for line in patch.split("\n")]
    kinds = {"+": "add", "-": "del", "@": "at"}
    shown = [
        tag("span", line, class_=kinds[line[0]]) if line[:1] in kinds and line[:3] not in ("+++", "---") else text(line)
        for line in lines[:most_lines]
    ]
    more = [f"... and {len(lines) - most_lines} more lines"] if len(lines) > most_lines else []
    return tag("pre", Markup("\n".join([*shown, *map(text, more)])), class_="diff")
