"""What `--prior` names: studies and tables of related tasks, which tell where good configurations may lie.

A search space may have priors of its own, which a new study reads in the same way. Trials are never copied, and no value of
theirs is kept: only which configurations did well among their own. The study keeps them in an attribute, so that it goes on in
the same way. `search/guided.py` searches by them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimize.config.plan import Plan
from optimize.config.settings import Settings
from optimize.confirm.verdict import verdict_of
from optimize.errors import OptimizeError, StudyError
from optimize.search import FEWEST, GUIDED, Candidate, Prior, PriorSource, Target, decode_prior, fitted, prior_source
from optimize.study.best import why_no_best
from optimize.study.named_sources import candidates_of, is_file, opened_for, read_candidates, read_source, study_of
from optimize.text import amount, listed
from optimize.trial import Value, sign_of
from search_spaces import SearchSpace, SpacePrior
from storage import Database, StorageError, count_objectives, read_records

PRIOR, FLAG = "prior", "--prior"  # study attribute: names and configurations of the sources
OWN = "own"  # in it: names of those of the search space
MOST = 1_000  # configurations of a source that are looked at: the better half, and as many of the others at equal distances


@dataclass(frozen=True, slots=True)
class KnownBefore:
    """What a new study knows of related tasks: the attribute that keeps it, and lines for the user about it."""

    attrs: Mapping[str, Any]
    lines: Sequence[str]


def unknown_prior(settings: Settings) -> Sequence[str]:
    """Return why a source of `--prior` cannot be read; [] if all can. Needs no plan, so all mistakes are told at once."""
    if not settings.prior:
        return []
    lines = []
    if settings.sampler != GUIDED:
        lines.append(
            f"--prior: the sampler {settings.sampler} takes none. Use --sampler {GUIDED}, or leave --prior out."
        )
    try:
        with opened_for(settings, FLAG, settings.prior) as database:
            if _goes_on(settings, database):
                return lines
            for source in settings.prior:
                lines += _unreadable(source, database)
    except OptimizeError as error:
        lines += error.problems
        lines += [line for source in settings.prior if is_file(source) for line in _unreadable(source, None)]
    except StorageError as error:
        lines.append(str(error))
    return lines


def describe_prior(plan: Plan) -> Sequence[str]:
    """Return a line about each source of `--prior` and of the search space: what of it is of use. Creates nothing.

    Raises SettingsError or StudyError if one cannot be read.
    """
    if not plan.settings.prior and not _of_space(plan):
        return []
    with opened_for(plan.settings, FLAG, plan.settings.prior) as database:
        study_id = database.find_study(plan.settings.study) if database else None
        if database is not None and study_id is not None:
            return check_prior(plan.settings, database.study_attrs(study_id))
        return read_prior(database, plan).lines


def check_prior(settings: Settings, attrs: Mapping[str, Any]) -> list[str]:
    """Return a line if an existing study began with the sources of `--prior`. Raises StudyError if it did not.

    Return one as well where `--no-prior` comes too late.
    """
    if not settings.prior:
        is_late = not settings.own_prior and OWN in _stored(attrs)
        return [f"study {settings.study}: it began with the prior of its search space and goes on"] if is_late else []
    began, names = _names(attrs), list(settings.prior)
    if began == names:
        return [f"study {settings.study}: it began with the prior {listed(names)} and goes on"]
    how = f"began with {listed(began)}" if began else "began without one"
    raise StudyError(
        f"study {settings.study}: --prior {' '.join(names)}: the study exists and {how}. Leave --prior out, or choose another "
        "--study."
    )


def read_prior(database: Database | None, plan: Plan) -> KnownBefore:
    """Read the sources of the plan's `--prior`, and those of its search space.

    Raises SettingsError or StudyError if one cannot be read.
    """
    own = _of_space(plan)
    found = [_read(source, database, plan) for source in plan.settings.prior]
    found += [_read_own(name, prior, plan) for name, prior in own.items()]
    if not found:
        return KnownBefore({}, ())
    kept = [source.encode(plan.space) for source, _ in found if source is not None]
    about = {"sources": list(plan.settings.prior), "known": kept, **({OWN: list(own)} if own else {})}
    return KnownBefore({PRIOR: about}, [line for _, line in found])


def prior_of(attrs: Mapping[str, Any], space: SearchSpace) -> Prior:
    """Return what a study with these attributes knows of related tasks."""
    return decode_prior(_stored(attrs).get("known"), space)


def _stored(attrs: Mapping[str, Any]) -> Mapping[str, Any]:
    stored = attrs.get(PRIOR)
    return stored if isinstance(stored, dict) else {}


def _names(attrs: Mapping[str, Any]) -> list[str]:
    names = _stored(attrs).get("sources")
    return [str(name) for name in names] if isinstance(names, list) else []


def _of_space(plan: Plan) -> dict[str, SpacePrior]:
    """Return the priors of the plan's search space by a short name, where the study would read them."""
    if not plan.settings.own_prior or plan.settings.sampler != GUIDED:
        return {}
    one = len(plan.space.priors) == 1
    return {
        f"space {plan.space.name}{'' if one else f' {number}'}": prior
        for number, prior in enumerate(plan.space.priors, 1)
    }


def _goes_on(settings: Settings, database: Database | None) -> list[str]:
    """Return a line if the study exists and began so; [] if it is new. Raises StudyError if it began otherwise."""
    study_id = database.find_study(settings.study) if database else None
    return check_prior(settings, database.study_attrs(study_id)) if database and study_id is not None else []


def _unreadable(source: str, database: Database | None) -> Sequence[str]:
    try:
        if is_file(source):
            read_source(FLAG, source)
        elif database is not None:
            study_of(database, source, FLAG)
    except OptimizeError as error:
        return error.problems
    return ()


def _read(source: str, database: Database | None, plan: Plan) -> tuple[PriorSource | None, str]:
    """Return a source, None if nothing of it is of use, and a line that says what was."""
    left: Counter[str] = Counter()
    if database is None or is_file(source):
        table = read_candidates(source, plan.space, plan.workload.metric, FLAG, needed=False)
        sign, rows, note = plan.workload.metric.sign, list(zip(table.values, table.candidates, strict=True)), table.note
    else:
        (sign, rows), note = _of_study(source, database, plan, left), ""
    return _source(source, f"--prior {source}", [(sign * value, each) for value, each in rows], plan, left, note)


def _read_own(name: str, prior: SpacePrior, plan: Plan) -> tuple[PriorSource | None, str]:
    """Return a prior of the search space as `_read` returns one of `--prior`: its ranks are values."""
    what = f"prior of {name} ({prior.source}{f' on {prior.script}' if prior.script else ''})"
    rows = [(row.rank, Candidate(what, prior.source, row.params)) for row in prior.rows]
    return _source(name, what, rows, plan, Counter())


def _source(
    name: str, what: str, rows: list[tuple[float, Candidate]], plan: Plan, left: Counter[str], note: str = ""
) -> tuple[PriorSource | None, str]:
    """Return what rows become, the best first by a minimised value; `left` counts why others were left out."""
    ranked, unnamed, moved = _fitted(_thinned(rows), plan, left)
    found = prior_source(name, ranked, unnamed)
    return found, _line(what, found, len(ranked), moved, note, left)


def _of_study(
    source: str, database: Database, plan: Plan, left: Counter[str]
) -> tuple[int, list[tuple[float, Candidate]]]:
    study_id = study_of(database, source, FLAG)
    if no_best := why_no_best(count_objectives(database, study_id)):
        raise StudyError(f"--prior {source}: {no_best}. Name another source, or leave --prior out.")
    records, objective = read_records(database, study_id), database.objective(study_id)
    rows = candidates_of(source, records, plan.space, *objective, verdict_of(database.study_attrs(study_id)))
    if without := sum(record.value is None for record in records):
        left["without a value"] += without
    return sign_of(objective[1]), sorted(rows, key=lambda row: sign_of(objective[1]) * row[0])


def _thinned(rows: list[tuple[float, Candidate]]) -> list[tuple[float, Candidate]]:
    half = MOST // 2
    if len(rows) <= MOST:
        return rows
    return rows[:half] + [rows[half + i * (len(rows) - half) // half] for i in range(half)]


def _fitted(
    rows: Sequence[tuple[float, Candidate]], plan: Plan, left: Counter[str]
) -> tuple[list[tuple[float, Mapping[str, Value]]], set[str], int]:
    """Return the different configurations of the space that rows become, the parameters that no row names, and how many moved."""
    target, names = Target(plan.space, plan.constants, plan.baseline), set(plan.space.names)
    found: dict[tuple[Value, ...], tuple[float, Mapping[str, Value]]] = {}
    named: set[str] = set()
    moved = 0
    for value, candidate in rows:
        mine = names & candidate.params.keys()
        params, why = fitted(candidate, target) if mine else (None, "naming no parameter of the space")
        if params is None:
            left[why] += 1
        elif (key := tuple(params[name] for name in plan.space.names)) in found:
            left["the same configuration as a better one"] += 1
        else:
            named |= mine
            moved += any(params[name] != candidate.params[name] for name in mine)
            found[key] = (value, params)
    return list(found.values()), names - named, moved


def _line(what: str, found: PriorSource | None, count: int, moved: int, note: str, left: Mapping[str, int]) -> str:
    why = "; ".join(filter(None, [note.partition("; not: ")[2], *(f"{many} {what}" for what, many in left.items())]))
    why = f"; not: {why}" if why else ""
    if found is None:
        nothing = (
            f"the values of its {count} configurations are all equal"
            if count
            else "it has no configuration with a value"
        )
        return f"{what}: nothing in it is of use: {nothing}{why}"
    silent = f"; it says nothing of {listed(sorted(found.unnamed))}" if found.unnamed else ""
    few = f"; fewer than {FEWEST}: they count as the best of so many" if count < FEWEST else ""
    near = f"; {moved} moved to the nearest choices" if moved else ""
    begins = f"{amount(count, 'configuration')} of use: the search begins where the best of them lie"
    return f"{what}: {begins}{near}{silent}{few}{why}"
