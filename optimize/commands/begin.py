"""Commands that make a folder to begin with: autoresearch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimize.commands.flags import ProfileFlag
from optimize.commands.terminal import say_all


def autoresearch(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="A folder that is not there yet.")] = Path(
        "autoresearch"
    ),
    profile: ProfileFlag = None,
    source: Annotated[
        str | None, typer.Option("--from", help="URL or path to clone. Default: karpathy's on GitHub.")
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option(help="Commit to take; HEAD is the newest. Default: HEAD; of karpathy's the one that was tried."),
    ] = None,
    uv: Annotated[
        bool | None,
        typer.Option("--uv/--no-uv", help="Run its scripts by uv, or in this Python. Default: uv where there is one."),
    ] = None,
) -> None:
    """Clone karpathy/autoresearch, or a fork, and write what a study of it needs: workload.toml, space.toml, GOAL.md.

    Example: optimize autoresearch ../autoresearch --profile h100
    """
    import shutil

    from optimize.exchange.autoresearch import COMMIT, UPSTREAM, set_up
    from optimize.executors.slots import detect_device
    from optimize.settings import load_settings, pick_profile

    picked, why = (profile, "flag") if profile is not None else pick_profile(detect_device())
    with_uv = shutil.which("uv") is not None if uv is None else uv
    settings = load_settings(picked, why, {"workload": str(folder.absolute())})
    say_all(set_up(settings, folder, source or UPSTREAM, commit or ("HEAD" if source else COMMIT), with_uv))
