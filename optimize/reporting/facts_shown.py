"""How the four facts look in the dashboard's note and in a terminal; `html/page.py` shows them in the report."""

from __future__ import annotations

from shlex import quote
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimize.reporting.four_facts import Fact, FourFacts
from optimize.reporting.markdown import block, folded_command, table, words

LINE, COMMAND = 104, 108  # characters of a text and of a command that a window of 1,280 pixels has room for


def facts_note(facts: FourFacts, here: str = "") -> str:
    """Return them as Markdown, all of which fits a window; `here` is the folder for the commands."""
    first, *rows = [row for fact in facts.all for row in _rows(fact)]
    shown = table(first, rows)
    if not facts.commands:
        return shown
    where = [f"cd {quote(here)}"] if here else []
    lines = [_commented(folded_command(command, COMMAND), why) for why, command in facts.commands]
    return "\n\n".join([shown, block("\n".join([*where, *lines]), "bash")])


def _rows(fact: Fact) -> list[list[str]]:
    lines = [f"**{words(line)}**" for line in wrap(fact.answer, LINE)]
    lines += [words(line) for each in fact.more for line in wrap(each, LINE)]
    return [["" if number else f"**{fact.title}**", line] for number, line in enumerate(lines)]


def _commented(command: str, why: str) -> str:
    comment = f"  # {why}"
    last = command.rpartition("\n")[2]
    return f"{command}{comment}" if len(last) + len(comment) <= COMMAND else f"#{comment[3:]}:\n{command}"


def facts_in_terminal(facts: FourFacts) -> RenderableType:
    """Return them for a terminal; the commands are lines that Rich does not break. Print it with `crop=False`."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in facts.all:
        grid.add_row(fact.title, Text(fact.answer, style="bold"))
        for line in fact.more:
            grid.add_row("", Text(line))
    width = max((len(why) for why, _ in facts.commands), default=0)
    commands = [Text(f"  {f'{why}:':<{width + 1}} {command}", style="dim") for why, command in facts.commands]
    for text in commands:
        text.no_wrap, text.overflow = True, "ignore"
    return Group(grid, *commands)
