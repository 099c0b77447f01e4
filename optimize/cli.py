"""The command line: puts the commands together, and turns errors that a user can cause into lines and an exit code."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from optimize.commands import init as beginning
from optimize.commands import manage, status
from optimize.commands import run as studies
from optimize.commands.propose import propose
from optimize.commands.space import migrate, space
from optimize.commands.terminal import open_streams, say_all
from optimize.commands.user_errors import problems_of
from optimize.executors.slots import keep_to_one_thread
from optimize.mcp.command import mcp
from optimize.reporting.program import in_shell, program, version_line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tune the settings of a training script: try, keep what helps, lose nothing.",
)
for command in (
    beginning.init,
    studies.run,
    studies.confirm,
    studies.prepare,
    studies.check,
    status.status,
    status.show,
    status.importance,
    status.noise,
    status.wait,
    propose,
    mcp,
    manage.export,
    manage.report,
    status.dashboard,
    manage.stop,
    migrate,
    manage.backup,
    manage.restore,
    manage.copy,
    manage.clean,
    manage.autoresearch,
):
    app.command()(command)
app.add_typer(space, name="space")
app.command("import")(manage.bring)  # `import` is a keyword of Python


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run(words: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    An error that a user can cause is lines on stderr and the code 2; anything else is a traceback.
    """
    keep_to_one_thread()
    open_streams()
    _show_examples()
    try:
        if no_words := [line for place, word in enumerate(words) if (line := _no_word(word, words[:place]))]:
            say_all(no_words)
            return 2
        return app(list(words), "optimize", standalone_mode=False) or 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except typer.Abort:
        say_all(["aborted: nothing was done"])
        return 1
    except Exception as error:
        problems = (
            _misuse(error) if hasattr(error, "format_message") else problems_of(error)
        )  # typer's have no public class
        if problems is None:
            raise
        say_all(problems)
        return 2


def _show_examples() -> None:
    """Let the example in each command's help be one that can be pasted here."""
    for command in (*app.registered_commands, *space.registered_commands):
        text = inspect.getdoc(command.callback) or ""
        command.help = text.replace("Example: optimize", f"Example: {in_shell(program())}")


def _no_word(word: str, before: Sequence[str]) -> str:
    """Return why this word cannot be a value, "" if it can. An empty path, for one, would be the current folder."""
    if not word or (word.startswith("--") and word.endswith("=")):
        flag = word.rstrip("=") or next(iter(before[-1:]), "optimize")
        return f"{flag}: it is empty. Give it a value, or leave it out."
    unreadable = any("\ud800" <= mark <= "\udfff" for mark in word)
    return f"{word!a}: holds bytes that are not UTF-8. Rename it." if unreadable else ""


def _misuse(error: Any) -> list[str]:
    """Return what is wrong with the command line itself; typer knows only the first mistake. Without words it prints help."""
    said, context = error.format_message(), getattr(error, "ctx", None)
    if not said or type(error).__name__ == "NoArgsIsHelpError":
        return list(said.splitlines())
    command = context.command_path if context else "optimize"
    said = said.rstrip(".")
    end = "" if said.endswith("?") else "."
    return [f"{command}: {said}{end} See: {in_shell(command.replace('optimize', program(), 1))} --help"]
