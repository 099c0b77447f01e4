"""Commands about search spaces, `optimize space ...`: init."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from optimize.commands.flags import ProfileFlag
from optimize.commands.terminal import say_all

space = typer.Typer(no_args_is_help=True, help="Search spaces: init writes a first one for any script.")


@space.command()
def init(
    script: Annotated[str, typer.Argument(help="A training script, or a workload: gpt, or a folder with a slash.")],
    to: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: NAME-space.toml, of the workload's or the script's name."),
    ] = None,
    profile: ProfileFlag = None,
) -> None:
    """Write a first search space for a script: choices around each of its constants, with its comments, to be edited.

    Example: optimize space init ../nanoGPT/train.py --to nanogpt.toml
    """
    from optimize.script.space_init import write_space
    from optimize.settings import load_settings

    constants = load_settings(profile, "flag", {"workload": script}).constants if profile else {}
    say_all(write_space(script, to, constants, f" --profile {shlex.quote(profile)}" if profile else ""))
