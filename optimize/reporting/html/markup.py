"""HTML that is safe by construction: every text is escaped unless it was made here, whoever wrote it.

Study names, parameters, reasons, logs and settings come from scripts and databases: they are data on the page.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from optimize.text import visible

LONGEST_HEAD = 12  # of a column, to be said again in each row


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(content: object) -> Markup:
    """Anything as text on a page; control characters, and those that turn the direction of writing, are shown as escapes."""
    return content if isinstance(content, Markup) else Markup(html.escape(visible(str(content)), quote=True))


def tag(name: str, *content: object, **attributes: str) -> Markup:
    """An element; `class_` is the attribute class."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{join(content)}</{name}>")


def join(content: Iterable[object], between: str = "") -> Markup:
    return Markup(text(between).join(map(text, content)))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> Markup:
    """The columns `numbers` are aligned to the right; those that are empty in every row are left out.

    On a narrow screen a row is a paragraph, in which a cell says what it is of, if that is short.
    """
    filled = [[text(cell) for cell in row] for row in rows]
    kept = [i for i in range(len(head)) if any(row[i] for row in filled)]
    kinds = {i: {"class_": "n"} if i in numbers else {} for i in kept}
    short = {i: {"data_head": head[i]} if len(head[i]) <= LONGEST_HEAD else {} for i in kept}
    top = tag("tr", *(tag("th", head[i], **kinds[i]) for i in kept))
    body = [tag("tr", *(tag("td", row[i], **short[i], **kinds[i]) for i in kept)) for row in filled]
    return tag("table", tag("thead", top), tag("tbody", *body))


def diff(patch: str, most_lines: int) -> Markup:
    """A patch, its added and removed lines coloured; of a long one the first lines."""
    lines = [line.rstrip("\t").expandtabs(4) for line in patch.split("\n")]
    kinds = {"+": "add", "-": "del", "@": "at"}
    shown = [
        tag("span", line, class_=kinds[line[0]]) if line[:1] in kinds and line[:3] not in ("+++", "---") else text(line)
        for line in lines[:most_lines]
    ]
    more = [f"... and {len(lines) - most_lines} more lines"] if len(lines) > most_lines else []
    return tag("pre", Markup("\n".join([*shown, *map(text, more)])), class_="diff")
