"""Writes the search space that a study keeps as a file, and says where a file of choices for it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimize.config.here import SPACE, with_slash
from optimize.errors import StudyError
from optimize.reporting.hints import command_line
from optimize.reporting.standing import read_standing, space_beside
from optimize.reporting.study_json import written_document
from optimize.study.kept_space import kept_space
from optimize.study.stored import StoredStudy
from optimize.text import amount
from search_spaces import SearchSpace
from storage import write_text


@dataclass(frozen=True, slots=True)
class OwnSpace:
    """A study's search space that was written as a file."""

    study: str
    path: Path
    space: SearchSpace
    next: str  # the command that goes on with it

    @property
    def lines(self) -> list[str]:
        """Return what was written, and how to go on."""
        own = f"; it is the study's without --space as {self.space.path}" if self._is_elsewhere else ""
        return [
            f"written: {self.path}: {amount(len(self.space.parameters), 'parameter')}{own}",
            f"go on with it: {self.next}",
        ]

    @property
    def _is_elsewhere(self) -> bool:
        return self.path.name != SPACE and Path(self.space.path).name == SPACE

    def document(self) -> dict[str, Any]:
        """Return the same for programs."""
        return written_document(self.study, [self.path], space=with_slash(self.path), next=self.next)


def write_own_space(stored: StoredStudy, to: Path | None) -> OwnSpace:
    """Write the search space that the study keeps to a new file: its own, where that has gone; return what was written.

    Raises StudyError if the study keeps none, or if the file exists.
    """
    of = read_standing(stored)
    space = kept_space(of.attrs)
    if space is None:
        raise StudyError(
            f"study {stored.name}: it keeps no search space: it began with one of ours, or before studies kept them. Nothing was "
            "written."
        )
    own = Path(space.path).expanduser()
    path = to or (own if own.parent.is_dir() and not own.exists() else space_beside(of.attrs, f"{stored.name}-{SPACE}"))
    if path.exists():
        raise StudyError(f"{path}: exists already. Name another file with --to; nothing was written.")
    write_text(path, space.text)
    flags = {**of.trained, **({} if path == own else {"space": with_slash(path)})}
    return OwnSpace(stored.name, path, space, command_line("run", flags))
