"""The commands. The only file that prints, sets up logging and exits.

Each command turns its flags into values for a module and shows what comes back; nothing else happens here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from optimize.errors import ExecutorError, OptimizeError

if TYPE_CHECKING:  # each command imports what it needs: `optimize --help` answers at once
    from rich.console import Console

    from optimize.plan import Plan
    from optimize.stored_study import StoredStudy
    from optimize.trial import Slot
    from storage import Database

RUNS = Path("runs")
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tune the constants of a training script: try, keep what helps, lose nothing.",
)

StudyFlag = Annotated[
    str | None, typer.Option("--study", help="Name of the study. Default: workload and profile, gpt-cpu.")
]
ProfileFlag = Annotated[
    str | None, typer.Option("--profile", help="Facts about a machine: cpu, colab, gpu, h100, or a path.")
]
WorkloadFlag = Annotated[str | None, typer.Option("--workload", help="gpt, or the path of a folder with a train.py.")]
SpaceFlag = Annotated[str | None, typer.Option("--space", help="Search space: cpu, colab, gpu, h100, or a path.")]
StorageFlag = Annotated[str | None, typer.Option("--storage", help="Database URL. Default: runs/optuna.db.")]
TrustFlag = Annotated[bool, typer.Option("--trust", help="Accept that a folder's commands run with your rights.")]
RunsFlag = Annotated[Path, typer.Option("--runs", help="Folder for everything that studies leave.")]
TrialsFlag = Annotated[
    int | None, typer.Option("--trials", help="End at this many finished trials, the baseline included.")
]
HoursFlag = Annotated[float | None, typer.Option("--hours", help="Start no trial after this many hours of this call.")]
SeedFlag = Annotated[int | None, typer.Option("--seed", help="The sampler's seed; the script's SEED stays as it is.")]
SamplerFlag = Annotated[str | None, typer.Option("--sampler", help="auto, tpe, cmaes, gp, random, qmc or grid.")]
ExecutorFlag = Annotated[str | None, typer.Option("--executor", help="Where trials run: local.")]
SlotsFlag = Annotated[int | None, typer.Option("--slots", help="Trials at a time. Default: one per core or GPU.")]
GpusFlag = Annotated[
    str | None, typer.Option("--gpus", help="Which GPUs, such as 0,2,3. Default: all that are visible.")
]


def main() -> NoReturn:
    """Entry point: what a user can cause is lines on stderr and exit code 2, anything else is a bug with a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        problems = _problems(error)
        if problems is None:
            raise
        _say_all(problems)
        sys.exit(2)
    sys.exit(0)


@app.command()
def run(
    study: StudyFlag = None,
    profile: ProfileFlag = None,
    workload: WorkloadFlag = None,
    search_space: SpaceFlag = None,
    trials: TrialsFlag = None,
    hours: HoursFlag = None,
    seed: SeedFlag = None,
    sampler: SamplerFlag = None,
    executor: ExecutorFlag = None,
    slots: SlotsFlag = None,
    gpus: GpusFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    trust: TrustFlag = False,
) -> None:
    """Run a study, or go on with it where it stopped.

    Example: optimize run --profile cpu --trials 40
    """
    plan = _plan(dict(locals()))
    from optimize.session import run_study
    from optimize.tables import end_report, plan_lines

    found = _slots(plan)
    _say_all(plan_lines(plan, found))
    ended = run_study(plan, found, _console(stderr=True), _say)
    _console().print(end_report(plan, ended.reason, ended.records))


@app.command()
def prepare(profile: ProfileFlag = None, workload: WorkloadFlag = None, trust: TrustFlag = False) -> None:
    """Prepare the data of a profile's workload and stop there.

    Example: optimize prepare --profile h100
    """
    plan = _plan(dict(locals()))
    from optimize.session import prepare_data

    prepare_data(plan, _say)


@app.command()
def check(
    study: StudyFlag = None,
    profile: ProfileFlag = None,
    workload: WorkloadFlag = None,
    search_space: SpaceFlag = None,
    trials: TrialsFlag = None,
    hours: HoursFlag = None,
    seed: SeedFlag = None,
    sampler: SamplerFlag = None,
    executor: ExecutorFlag = None,
    slots: SlotsFlag = None,
    gpus: GpusFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend stuck trials, artifacts, views; keeps results.")
    ] = False,
) -> None:
    """Show what a study would do: every setting with its origin, the space, the baseline, the slots. Starts nothing.

    Example: optimize check --profile colab
    """
    plan = _plan({name: value for name, value in locals().items() if name != "repair"})
    from optimize.care import repair as mend
    from optimize.tables import check_report

    if repair:
        mend(plan, _say)
        return
    plan.workload.render({**plan.settings.constants, **plan.baseline})
    try:
        _console().print(check_report(plan, _slots(plan)))
    except ExecutorError as error:  # a profile may be looked at on another machine than it is for
        _console().print(check_report(plan, ()))
        _say_all(error.problems)


@app.command()
def status(
    study: StudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    last: Annotated[int, typer.Option(help="How many trials to show.")] = 20,
) -> None:
    """The studies, or the latest trials of one of them.

    Example: optimize status --study gpt-cpu --last 50
    """
    from optimize.stored_study import find_study, overview
    from optimize.tables import overview_table, study_table

    with _database(storage, runs) as database:
        if study is None and len(database.study_names()) != 1:
            _console().print(overview_table(overview(database)))
            return
        stored = find_study(database, study, runs)
        _console().print(study_table(stored.records(), stored.metric, stored.baseline, last))


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="The trial's number.")],
    study: StudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Everything about one trial: parameters, patch, ending, curve, log tail, and how to train it again.

    Example: optimize show 12
    """
    from optimize.tables import trial_page

    with _stored(study, storage, runs) as stored:
        _console().print(trial_page(stored.record(number), stored))


@app.command()
def export(
    study: StudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    number: Annotated[int | None, typer.Option("--trial", help="Write this trial's scripts to --to.")] = None,
    to: Annotated[Path | None, typer.Option(help="A folder that does not exist yet.")] = None,
) -> None:
    """Write results.tsv, trials.csv and best/ again from the database; or one trial's scripts to a folder.

    Example: optimize export --study gpt-cpu --trial 12 --to /tmp/trial-12
    """
    if (number is None) != (to is None):
        raise OptimizeError("optimize export: --trial and --to go together. Give both, or neither to write the tables.")
    with _stored(study, storage, runs) as stored:
        written = stored.write_views() if number is None or to is None else stored.export_trial(number, to)
        _say_all([f"written: {path}" for path in written])


@app.command()
def dashboard(
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to bind. Only loopback is safe: there is no login.")] = "127.0.0.1",
    expose: Annotated[bool, typer.Option("--expose", help="Allow an address that others can reach.")] = False,
) -> None:
    """Serve optuna-dashboard for all studies, also while they run or before there is one.

    Example: optimize dashboard --port 8081
    """
    from optimize.dashboard import check_address, serve_dashboard

    _say_all(check_address(host, port, expose))
    with _database(storage, runs, create=True) as database:
        _say(f"dashboard: http://{host}:{port}  (Ctrl-C ends it; studies go on without it)")
        serve_dashboard(database, runs / "artifacts", host, port)


@app.command()
def stop(
    study: StudyFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    now: Annotated[bool, typer.Option("--now", help="Cancel the running trials; their parameters are queued.")] = False,
) -> None:
    """Ask a running study to end after its present trials.

    Example: optimize stop --now
    """
    with _stored(study, storage, runs) as stored:
        _say(stored.request_stop(now))


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Copy the database, consistent also while studies run, and every artifact to a new folder.

    Example: optimize backup /mnt/disk/optimize-today
    """
    from optimize.care import back_up

    with _database(storage, runs) as database:
        _say(back_up(database, runs / "artifacts", to))


@app.command()
def clean(
    study: Annotated[str, typer.Option("--study", help="Name of the study to delete.")],
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a study with everything it left: its trials, their artifacts, its files. Asks first.

    Example: optimize clean --study night --yes
    """
    with _stored(study, storage, runs) as stored:
        if not yes:
            typer.confirm(f"Delete study {study}, {len(stored.records())} trials and all they left?", abort=True)
        stored.delete()
        _say(f"study {study}: deleted")


def _plan(given: dict[str, Any]) -> Plan:
    """The plan of these flags; the profile is picked by looking at the machine where none was named."""
    from optimize.executors.slots import detect_device
    from optimize.plan import make_plan
    from optimize.settings import load_settings, pick_profile
    from optimize.trust import accept

    trust, profile, why = given.pop("trust", None), given.pop("profile"), "flag"
    if profile is None:
        profile, why = pick_profile(detect_device())
    plan = make_plan(load_settings(profile, why, given))
    if trust is not None:
        accept(plan.workload, lambda commands: trust or _agrees(commands))
    return plan


def _slots(plan: Plan) -> Sequence[Slot]:
    from optimize.executors.slots import find_slots

    settings = plan.settings
    return find_slots(settings.device, settings.slots, settings.gpus.split(",") if settings.gpus else None)


def _agrees(commands: Iterable[str]) -> bool:
    """Show a folder's commands and ask, where there is somebody to ask."""
    _say_all(commands)
    return sys.stdin.isatty() and typer.confirm("They run with your rights. Accept them?", err=True)


@contextmanager
def _database(storage: str | None, runs: Path, create: bool = False) -> Iterator[Database]:
    from optimize.settings import storage_url
    from storage import open_database

    with closing(open_database(storage_url(storage) or runs / "optuna.db", create=create)) as database:
        _say_all(database.notices)
        yield database


@contextmanager
def _stored(study: str | None, storage: str | None, runs: Path) -> Iterator[StoredStudy]:
    from optimize.stored_study import find_study

    with _database(storage, runs) as database:
        yield find_study(database, study, runs)


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _say(line: str) -> None:
    # it may quote a script's log: a terminal is steered by nobody but us
    print("".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line), file=sys.stderr, flush=True)


def _say_all(lines: Iterable[str]) -> None:
    for line in lines:
        _say(line)


def _problems(error: Exception) -> Iterable[str] | None:
    """The lines of an error that a user can cause; None for a bug."""
    from search_spaces import SearchSpaceError
    from storage import StorageError

    if isinstance(error, OptimizeError | SearchSpaceError):
        return error.problems
    return [str(error)] if isinstance(error, StorageError) else None
