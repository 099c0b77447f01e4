"""The command `propose`: parameters for the queue of a study, checked like any others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimize.commands.flags import (
    RUNS,
    JsonFlag,
    ProfileFlag,
    RunsFlag,
    SpaceFlag,
    StorageFlag,
    StudyFlag,
    WorkloadFlag,
)
from optimize.commands.plans import plan_of_flags
from optimize.commands.terminal import opened_database, say, show_json
from optimize.errors import SettingsError

if TYPE_CHECKING:
    from optimize.study.proposals import Proposal

BY_HAND = "a person"  # unless a program says who it is


def propose(
    words: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="What differs from the baseline.")],
    study: StudyFlag = None,
    search_space: SpaceFlag = None,
    profile: ProfileFlag = None,
    workload: WorkloadFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
    as_json: JsonFlag = False,
) -> None:
    """Queue parameters that you want tried: one of the choices for each name, the baseline's for the rest.

    Example: optimize propose DEPTH=6 MATRIX_LR=0.02 --study gpt-cpu
    """
    flags = {"study": study, "search_space": search_space, "profile": profile, "workload": workload}
    document = proposed({**flags, "storage": storage, "runs": runs}, [_params(words)], BY_HAND)
    if as_json:
        show_json(document)
        return
    for each in document["proposals"]:
        say(f"study {document['study']}: {each['line']}")


def proposed(flags: dict[str, Any], given: Sequence[Mapping[str, object]], source: str) -> dict[str, Any]:
    """Queue parameters in the study of these flags; return a document about each. Raises what `study.proposals.propose` does."""
    plan = plan_of_flags(dict(flags))
    from optimize.reporting.status_json import SCHEMA
    from optimize.study.proposals import propose as queue

    with opened_database(flags["storage"], flags["runs"]) as database:
        found = queue(database, plan, given, source)
    return {"schema": SCHEMA, "study": plan.settings.study, "proposals": [_proposal(each) for each in found]}


def _proposal(proposal: Proposal) -> dict[str, Any]:
    from optimize.reporting.status_json import as_json, trial_json
    from optimize.text import value_text

    known, number = proposal.known, proposal.number
    line = f"trial {number} is queued"
    if known is not None:
        value = f", {value_text(known.value)}" if known.value is not None else ""
        line = f"trial {number} has these parameters already ({known.status or known.state.lower()}{value}): not queued again"
    return {
        "number": number,
        "queued": known is None,
        "line": line,
        "params": {name: as_json(value) for name, value in proposal.params.items()},
        "known": None if known is None else trial_json(known),
    }


def _params(words: Sequence[str]) -> dict[str, object]:
    """Return what NAME=VALUE says. Raises SettingsError with a line for each word that says nothing."""
    found, problems = dict[str, object](), list[str]()
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            problems.append(f"{word!r:.60}: is not NAME=VALUE. Correct it.")
        elif name in found:
            problems.append(f"{name}: is given twice. Leave one out.")
        found[name] = _value(text)
    if problems:
        raise SettingsError(*problems)
    return found


def _value(text: str) -> object:
    """Return a number, a truth value or a list where the text is one, as JSON or Python writes it; else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
