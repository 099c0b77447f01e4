"""A study moved to a changed search space: a new study with every trial that is a configuration of it, history and all.

The old study stays as it is. Only where values stay comparable: the same scripts, data, metric and other constants.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimize.errors import StudyError
from optimize.exchange.taking import Taken, origin_of, take
from optimize.fingerprint import FINGERPRINT, differences, fingerprint, self_description
from optimize.phrases import listed, meant
from optimize.plan import Plan
from storage import Database, StudyPaths, add_trials, read_whole_trials, refuse_results_of_another

STATES = ("COMPLETE", "PRUNED", "FAIL", "WAITING")


def migrate(old: str, plan: Plan, database: Database) -> Sequence[str]:
    """Create the plan's study with the trials of study `old`; returns what was done, in lines.

    All in one transaction. Raises StudyError, and nothing has changed, if that cannot be.
    """
    new, metric = plan.settings.study, plan.workload.metric
    paths = StudyPaths(plan.settings.runs, new)  # is it a name for a study?
    with database.transaction():
        study_id = database.find_study(old)
        if study_id is None:
            names = database.study_names()
            raise StudyError(
                f"study {old}: there is none of that name. There are: {listed(names) or 'none yet'}.{meant(old, names)}"
            )
        if database.find_study(new) is not None:
            raise StudyError(f"study {new}: it is there already. Choose another name with --to.")
        refuse_results_of_another(paths, database.where)
        attrs = database.study_attrs(study_id)
        _refuse_incomparable(old, differences(attrs, plan.workload, plan.space, plan.settings.constants, None), new)
        taken = take(read_whole_trials(database, study_id), STATES, origin_of(old, attrs, plan), plan)
        if not taken.trials:
            why = taken.why_not or "it has no trial"
            raise StudyError(f"study {old}: no trial of it is one of {plan.space.path}: {why}. Nothing was moved.")
        parts = fingerprint(plan.workload, plan.space, plan.settings.constants, attrs[FINGERPRINT].get("data", ""))
        about = self_description(plan.space, plan.settings.constants, plan.baseline, parts, plan.about())
        add_trials(database, database.create_study(new, metric.direction, metric.name, about), taken.trials)
    return _lines(old, new, taken)


def _refuse_incomparable(old: str, differing: Sequence[str], new: str) -> None:
    if differing:
        raise StudyError(
            f"study {old}: {'; '.join(differing)}: its values would not be comparable. Go back to what it had, or start "
            f"from its best: optimize run --study {new} --from {old}"
        )


def _lines(old: str, new: str, taken: Taken) -> list[str]:
    waiting = len(taken.trials) - taken.finished
    lines = [f"study {new}: {taken.finished} finished trials of study {old}, which stays as it is"]
    if waiting:
        lines.append(f"study {new}: {waiting} more are queued as they were")
    if taken.left_out:
        lines.append(f"study {new}: left out: {taken.why_not}")
    return lines
