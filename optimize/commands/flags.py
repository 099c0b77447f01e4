"""Flags that several commands share: each is named and explained once.

`config/settings.py` defines what a flag means; nothing is read or checked here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from optimize.commands.completion import (
    EXECUTORS,
    LOGS,
    PRUNERS,
    SAMPLERS,
    one_of,
    profile_names,
    space_names,
    study_names,
    workload_names,
)

RUNS = Path("runs")

StudyFlag = Annotated[
    str | None,
    typer.Option(
        "--study", help="Name of the study. Default: workload and profile, gpt-cpu.", autocompletion=study_names
    ),
]
StoredStudyFlag = Annotated[
    str | None,
    typer.Option(
        "--study", help="Name of the study. Default: the one that runs, else the latest.", autocompletion=study_names
    ),
]
ProfileFlag = Annotated[
    str | None,
    typer.Option(
        "--profile", help="Facts about a machine: cpu, colab, gpu, h100, or a path.", autocompletion=profile_names
    ),
]
WorkloadFlag = Annotated[
    str | None,
    typer.Option(
        "--workload",
        help="gpt, or the path of a folder with a script. Default: the one you stand in.",
        autocompletion=workload_names,
    ),
]
StorageFlag = Annotated[str | None, typer.Option("--storage", help="Database URL. Default: runs/optuna.db.")]
RunsFlag = Annotated[Path, typer.Option("--runs", help="Folder for everything that studies leave.")]
SpaceFlag = Annotated[
    str | None,
    typer.Option(
        "--space",
        help="cpu, colab, gpu, rtx, h100, or a path. Default: space.toml beside the script.",
        autocompletion=space_names,
    ),
]
BackupFlag = Annotated[
    Path | None,
    typer.Option("--backup", help="Keep a backup in this folder, whole after every trial; any disk will do."),
]
AsideFlag = Annotated[
    bool,
    typer.Option(
        "--set-aside", help="Where tables hold trials that the database lacks: rename them (.lost-1), and go on."
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document for programs, on stdout.")]
EventsFlag = Annotated[
    Path | None, typer.Option("--events", help="Add a JSON line for each event to this file, while it runs.")
]
DetachFlag = Annotated[
    bool,
    typer.Option("--detach", help="Begin in a process of its own, which goes on without this terminal, and return."),
]
TrustFlag = Annotated[bool, typer.Option("--trust", help="Accept that a folder's commands run with your rights.")]


def _study_flags(
    study: StudyFlag = None,
    profile: ProfileFlag = None,
    workload: WorkloadFlag = None,
    search_space: SpaceFlag = None,
) -> None:
    """Flags that name a study."""


def _training_flags(
    hours: Annotated[float | None, typer.Option(help="Start no trial after this many hours of this call.")] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="Where trials run: local, or ray, a cluster.", autocompletion=one_of(*EXECUTORS)),
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Trials at a time. Default: one per core or GPU.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Which GPUs, such as 0,2,3. Default: all that are visible.")] = None,
    mixed_devices: Annotated[
        bool | None, typer.Option("--mixed-devices", help="Use GPUs of several models; values are marked.")
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="Write finished trials for tensorboard or mlflow as well; may be repeated.",
            autocompletion=one_of(*LOGS),
        ),
    ] = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Flags of commands that train: where, and how long."""


def _search_flags(
    trials: Annotated[int | None, typer.Option(help="End at this many finished trials, the baseline included.")] = None,
    until_worth: Annotated[
        float | None,
        typer.Option(
            "--until-worth", help="End where ten more trials are expected to improve the metric by less than this."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The sampler's seed; the script's SEED stays as it is.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="auto, tpe, cmaes, gp, random, qmc or grid.", autocompletion=one_of(*SAMPLERS))
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from", help="Begin a new study with a study, a results.tsv or a trials.csv.", autocompletion=study_names
        ),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            help="A study or table of a related task: search first where its best lie; may be repeated.",
            autocompletion=study_names,
        ),
    ] = None,
    own_prior: Annotated[
        bool | None, typer.Option(" /--no-prior", help="Leave out the search space's own prior.")
    ] = None,
    starts: Annotated[
        bool | None, typer.Option("--starts/--no-starts", help="Try the search space's starts first. Default: yes.")
    ] = None,
    pruning: Annotated[
        bool | None, typer.Option("--pruning/--no-pruning", help="Stop trials whose learning curve is hopeless.")
    ] = None,
    pruner: Annotated[
        str | None, typer.Option(help="How: regression or halving.", autocompletion=one_of(*PRUNERS))
    ] = None,
    advisor: Annotated[
        str | None, typer.Option(help="A language model that proposes a share of the trials; none: no model.")
    ] = None,
    advisor_share: Annotated[float | None, typer.Option(help="Its share of the proposals. Default: 0.2.")] = None,
) -> None:
    """Flags of commands that search: what is tried."""


def takes_plan_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add every flag that a plan is made of to `command(given, ...)`; `given` maps settings to the values of the flags."""
    return _with_flags(command, _study_flags, _search_flags, _training_flags)


def takes_training_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add the same flags, without those of the search."""
    return _with_flags(command, _study_flags, _training_flags)


def _with_flags(command: Callable[..., None], *groups: Callable[..., None]) -> Callable[..., None]:
    shared = {name: parameter for group in groups for name, parameter in _parameters(group).items()}
    own = _parameters(command)
    del own["given"]

    @functools.wraps(command)
    def with_flags(**flags: Any) -> None:
        mine = {name: flags.pop(name) for name in own}
        command(flags, **mine)

    parameters = {**shared, **own}
    with_flags.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    with_flags.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return with_flags


def _parameters(function: Callable[..., None]) -> dict[str, inspect.Parameter]:
    """Return the function's parameters by name, keyword-only, their annotations as objects."""
    hints = get_type_hints(function, include_extras=True)
    found = inspect.signature(function).parameters.items()
    return {name: p.replace(annotation=hints[name], kind=p.KEYWORD_ONLY) for name, p in found}
