"""The command line: puts the commands together, and turns what a user can cause into lines and an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import typer

from optimize.commands import begin, bring, keep, look, work
from optimize.commands.spaces import space
from optimize.commands.streams import open_streams
from optimize.commands.terminal import say_all
from optimize.errors import OptimizeError
from optimize.executors.slots import keep_to_one_thread

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tune the constants of a training script: try, keep what helps, lose nothing.",
)
for command in (
    work.run, work.confirm, work.prepare, work.check, look.status, look.show, keep.export, keep.report, look.dashboard, keep.stop,
    work.migrate, keep.backup, keep.restore, keep.copy, keep.clean, begin.autoresearch,
):  # fmt: skip
    app.command()(command)
app.add_typer(space, name="space")
app.command("import")(bring.bring)  # a word of Python's


def run(words: Sequence[str]) -> int:
    """The exit code of a command line: what a user can cause is lines on stderr and 2, anything else a traceback."""
    keep_to_one_thread()
    open_streams()
    try:
        app(list(words), "optimize")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        problems = _problems(error)
        if problems is None:
            raise
        say_all(problems)
        return 2
    return 0


def _problems(error: Exception) -> Iterable[str] | None:
    """The lines of an error that a user can cause; None for a bug."""
    from search_spaces import SearchSpaceError
    from storage import StorageError

    if isinstance(error, OptimizeError | SearchSpaceError):
        return error.problems
    return [str(error)] if isinstance(error, StorageError) else None
