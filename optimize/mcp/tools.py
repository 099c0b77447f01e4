"""The tools of an agent: each turns its arguments into values for what the command of the same purpose calls, and nothing more.

None accepts that commands run, and none writes a script: those are a person's. The docstrings, and what is annotated, are what a
model reads.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from threading import RLock
from typing import Annotated, Any, Literal

from pydantic import Field

from optimize.commands.detached import begin_detached
from optimize.commands.manage import asked_to_stop, exported, written_views
from optimize.commands.plans import checked_database, database_of, plan_of_flags, refuse_untrusted
from optimize.commands.propose import proposed
from optimize.commands.run import checked, confirm_options, slots_if_any
from optimize.commands.space import moved
from optimize.commands.terminal import opened_database, opened_study
from optimize.config.plan import Plan
from optimize.reporting.status_json import document
from optimize.reporting.study_json import (
    importance_document,
    noise_document,
    overview_document,
    trial_document,
)
from optimize.reporting.waiting import Cursor, Patience, cursor_of, news, parse_cursor, wait_document
from optimize.study.stored import find_study, overview
from optimize.transfer.wider import write_wider
from storage import is_there

MOST_CONFIGURATIONS = 20  # of one call
MOST_LATEST = 30

StudyName = Annotated[
    str | None,
    Field(
        max_length=100,
        description="Name of the study. Left out: the one that runs, else the latest; of propose, check_setup and start: that of "
        "this folder.",
    ),
]
Configuration = Annotated[
    dict[str, Any],  # `configuration` in study/proposals.py says what is wrong with a value, in one line
    Field(
        min_length=1,
        max_length=200,
        description="Parameter name -> one of its choices. What is left out is the baseline's.",
    ),
]


@dataclass(frozen=True, slots=True)
class ServerFlags:
    """The flags that the server was started with: which studies it is about."""

    profile: str | None
    workload: str | None
    search_space: str | None
    storage: str | None
    runs: Path

    def flags(self, study: str | None, **more: object) -> dict[str, Any]:
        """Return them as the flags of a command about this study."""
        return {**asdict(self), "study": study, **more}


class Tools:
    """The tools, one at a time: whoever calls twice at once gets two answers, one after the other."""

    def __init__(self, place: ServerFlags) -> None:
        self._place = place
        self.turn = RLock()

    def check_setup(self, study: StudyName = None) -> dict[str, Any]:
        """Say what a study of this folder would be, without starting anything: the script and its metric, every parameter with
        its choices and the baseline's value, the rules, the settings, and `workload.trusted`, whether the script may run.
        Call this first. If `trusted` is false, ask the person to read the script and to run `optimize prepare --trust`."""
        with self.turn:
            plan = plan_of_flags(self._place.flags(study))
            found, missing = slots_if_any(plan)
            told = checked(plan, found)
        return {**told, "problems": list(missing.problems) if missing else []}

    def list_studies(self) -> dict[str, Any]:
        """List all studies: how many trials each has by state, its best value and whether that is confirmed, and whether a
        process drives it now."""
        with self.turn, opened_database(self._place.storage, self._place.runs, read_only=True) as database:
            return overview_document(database.where, overview(database, self._place.runs))

    def read_study(
        self,
        study: StudyName = None,
        latest: Annotated[int, Field(ge=1, le=MOST_LATEST, description="How many of the newest trials to list.")] = 10,
    ) -> dict[str, Any]:
        """Read the state of a study: what won and how sure that is (`best`, `best_confirmed`, `facts`), the verdict of the last
        confirmation (`confirmation`: its `winner` is a trial's number or null), what it cost, what to do next, which parameters
        lie at an end of their choices (`edges`), and the newest trials. A best that is not confirmed may be luck."""
        with self.turn, opened_study(study, self._place.storage, self._place.runs) as stored:
            (told,) = document(stored.database.where, [stored], latest)["studies"]
            return {**told, "cursor": str(cursor_of(stored))}

    def read_trial(
        self, number: Annotated[int, Field(ge=0, description="The trial's number.")], study: StudyName = None
    ) -> dict[str, Any]:
        """Read one trial: how it ended and why, what it changed against the baseline as values and as a patch of the script, and
        the end of its log. Trial 0 is the baseline. Use it to find out why a trial failed."""
        with self.turn, opened_study(study, self._place.storage, self._place.runs) as stored:
            return trial_document(stored, number)

    def propose(
        self,
        configurations: Annotated[list[Configuration], Field(min_length=1, max_length=MOST_CONFIGURATIONS)],
        study: StudyName = None,
        by: Annotated[str, Field(max_length=60, description="Who proposes it; kept with the trials.")] = "an agent",
    ) -> dict[str, Any]:
        """Queue configurations that you want trained next. Values must be among the choices of the search space and keep its
        rules (see check_setup). If anything is wrong, every mistake is told and nothing is queued. What a trial had already is
        not trained again: you get its result. A study that runs takes them in at once, else the next start does."""
        with self.turn:
            return proposed(self._place.flags(study), configurations, by)

    def start(
        self,
        what: Annotated[
            Literal["search", "confirm"],
            Field(
                description="search: try configurations. confirm: train the best of an ended search again, with more seeds."
            ),
        ] = "search",
        study: StudyName = None,
        trials: Annotated[
            int | None,
            Field(
                ge=1, le=100_000, description="search: end at this many finished trials in all, the baseline included."
            ),
        ] = None,
        hours: Annotated[float | None, Field(gt=0, description="Start no trial after so many hours.")] = None,
        start_from: Annotated[
            str | None, Field(description="search: begin a new study with the best trials of this study.")
        ] = None,
        space: Annotated[
            str | None, Field(description="A new study: path of its search space, such as ./night-2-space.toml.")
        ] = None,
        finalists: Annotated[int, Field(ge=1, le=10, description="confirm: how many of the best to train again.")] = 3,
        seeds: Annotated[int, Field(ge=2, le=100, description="confirm: with how many other seeds each.")] = 3,
    ) -> dict[str, Any]:
        """Start a study, or go on with one, in a process of its own. It goes on when you and this server have gone, and ends
        with its budget or by `stop`. Returns at once; then call wait. A search without `trials` and `hours` may run for ever on
        a GPU. A study whose script has changed needs another name. Only a person can allow a script to run."""
        command = "run" if what == "search" else "confirm"
        flags = self._place.flags(study, hours=hours)
        with self.turn:
            if space is not None:
                flags["search_space"] = space
            if command == "run":
                flags |= {"trials": trials, "start_from": start_from, "advisor": None}
            plan = plan_of_flags(flags)
            checked_database(plan)
            refuse_untrusted(plan.workload)
            more: dict[str, object] = {"from": start_from}
            if command == "confirm":
                more = asdict(confirm_options(plan, finalists=finalists, seeds=seeds))
            before = _cursor(plan)
        begun = begin_detached(command, plan, more)
        return {**begun, "cursor": str(before)}

    def stop(
        self,
        study: StudyName = None,
        now: Annotated[
            bool, Field(description="Cancel the running trials as well; their parameters are queued again.")
        ] = False,
    ) -> dict[str, Any]:
        """Ask the process that drives a study to end after its running trials. Nothing is lost: start goes on."""
        with self.turn:
            return asked_to_stop(study, self._place.storage, self._place.runs, now)

    def look(
        self, study: str | None, after: str | None, patience: Patience
    ) -> tuple[dict[str, Any], float | None, str]:
        """Return what `wait` knows at this moment, after how many seconds to look again if at all, and the cursor to wait from."""
        since = None if after is None else parse_cursor(after)
        with self.turn, opened_study(study, self._place.storage, self._place.runs) as stored:
            since = since or cursor_of(stored)
            found = news(stored, since)
            return wait_document(stored, found), patience.pause(found), str(since)

    def widen_space(self, study: StudyName = None) -> dict[str, Any]:
        """Write a wider search space for a study whose best trial lies at an end of its choices (see `edges` of read_study). It
        is a new file in this folder: `space` is its path, `successor` a name for the next study. Then call migrate with both."""
        with self.turn, opened_study(study, self._place.storage, self._place.runs) as stored:
            return write_wider(stored, None).document()

    def migrate(
        self,
        study: Annotated[str, Field(max_length=100, description="The study to take along; it stays as it is.")],
        to: Annotated[str, Field(max_length=100, description="Name of the new study.")],
        space: Annotated[
            str | None, Field(description="Path of its search space. Left out: the one of this folder.")
        ] = None,
    ) -> dict[str, Any]:
        """Make a new study for a changed search space, with all trials of the old one that fit it. Then start the new one."""
        flags = self._place.flags(to)
        with self.turn:
            told, _ = moved(study, {**flags, "search_space": space or flags["search_space"]})
        return told

    def export_best(self, study: StudyName = None) -> dict[str, Any]:
        """Write the best trial's scripts into the study's folder best/, ready to run, and the tables of all trials. Returns the
        folder, the command that trains it again, the patch against the baseline, and whether it is confirmed."""
        with self.turn, opened_study(study, self._place.storage, self._place.runs) as stored:
            return exported(stored, written_views(stored))

    def importance(self, study: StudyName = None) -> dict[str, Any]:
        """Say how much each parameter matters for being among the best trials. A `share` below its `luck` says nothing."""
        with self.turn, opened_study(study, self._place.storage, self._place.runs) as stored:
            return importance_document(stored)

    def noise(self, study: StudyName = None) -> dict[str, Any]:
        """Say how far values of equal parameters are apart. `confirmation.deviation` is that between seeds; a gain below
        `confirmation.smallest_gain` could not have been told from luck. Do not trust smaller differences between trials."""
        with self.turn, opened_study(study, self._place.storage, self._place.runs) as stored:
            return noise_document(stored)


def _cursor(plan: Plan) -> Cursor:
    """Return what is known of a study before it is started; nothing of one that is not there yet."""
    settings = plan.settings
    if not is_there(database_of(plan)):
        return Cursor()
    with opened_database(settings.storage, settings.runs, read_only=True) as database:
        known = database.find_study(settings.study) is not None
        return cursor_of(find_study(database, settings.study, settings.runs)) if known else Cursor()
