"""Writes a wider search space for a study whose best trial lies at an end of its choices. `copy.py` takes the trials there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from optimize.config.here import with_slash
from optimize.errors import StudyError
from optimize.reporting.hints import command_line, optimize_command
from optimize.reporting.next_steps import wider_steps
from optimize.reporting.standing import Standing, read_standing
from optimize.reporting.study_json import written_document
from optimize.study.comparable import ABOUT, SPACE_FILE
from optimize.study.edges import space_of
from optimize.study.stored import StoredStudy
from search_spaces import SearchSpace, widened, widened_text
from storage import Stored, write_text


@dataclass(frozen=True, slots=True)
class WiderSpace:
    """A search space that was written for a study that follows another one."""

    study: str
    successor: str  # the name of the next one
    path: Path
    choices: Mapping[str, Sequence[Stored]]  # of the parameters that are wider
    next: str  # the command that takes the trials there

    @property
    def lines(self) -> Sequence[str]:
        """Return what was written, and how to go on."""
        rows = [f"{name} = {', '.join(map(str, choices))}" for name, choices in self.choices.items()]
        return [f"written: {self.path}: {'; '.join(rows)}", f"go on with it: {self.next}"]

    def document(self) -> dict[str, Any]:
        """Return the same for programs."""
        choices = {name: list(each) for name, each in self.choices.items()}
        return written_document(
            self.study,
            [self.path],
            successor=self.successor,
            space=with_slash(self.path),
            choices=choices,
            next=self.next,
        )


def write_wider(stored: StoredStudy, to: Path | None) -> WiderSpace:
    """Write the study's search space with choices beyond those of its best trial to a new file; return what was written.

    Raises StudyError if there is nothing to widen, if the space has changed, or if the file exists.
    """
    of = read_standing(stored)
    space = _space(of)
    path = to or of.wider_file
    if path.exists():
        raise StudyError(f"{path}: exists already. Name another file with --to; nothing was written.")
    wider = {e.parameter.name: widened(space[e.parameter.name], e.value, e.further) for e in of.edges}
    made = optimize_command("space widen", {"study": of.name})
    text = widened_text(space.text, space, wider)
    write_text(path, f"# Made by `{made}` of {space.path}.\n{text}")
    _, migrate = wider_steps(of, path)
    then = command_line(migrate.command, migrate.flags, migrate.about)
    choices = {name: parameter.stored_choices for name, parameter in wider.items()}
    return WiderSpace(of.name, of.successor, path, choices, then)


def _space(of: Standing) -> SearchSpace:
    by_hand = (
        f"widen a copy of it by hand, then: `optimize migrate {quote(of.name)} --to {of.successor} --space FILE.toml`"
    )
    if not of.edges:
        raise StudyError(
            f"study {of.name}: its trials do not show that better ones lie beyond its choices. Keep its search space, or {by_hand}"
        )
    known = space_of(of.attrs)
    if known is None:
        own = f" (`optimize space export --study {quote(of.name)}` writes it)" if SPACE_FILE in of.attrs else ""
        raise StudyError(
            f"study {of.name}: its search space {_named(of)} is not here, or has changed. Restore it{own}, or {by_hand}"
        )
    return replace(known[0], path=_named(of))


def _named(of: Standing) -> str:
    about = of.attrs.get(ABOUT)
    return str(about.get("search_space", "")) if isinstance(about, dict) else ""
