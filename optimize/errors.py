"""The errors that end a study. Each problem is one line for the user, *where: what. what to do*; `cli.py` prints just that.

    OptimizeError
    |- SettingsError               an unknown key, a bad flag: all of them at once
    |- WorkloadError               no script, no such constant, data not prepared
    |  `- RenderError              not exactly one assignment
    |- StudyError
    |  |- StudyMismatchError       reopened with another script, space, constants, data or metric
    |  |- StudyBusyError           another driver is alive: host, pid, since when
    |  |- NothingToConfirm         no trial is better than the baseline
    |  |- SpaceExhausted           all feasible parameters have been tried
    |  `- StudyAborted             the environment is broken, or too many failures in a row
    `- ExecutorError               no slot was found, a guardian does not answer

`search_spaces` has its own `SearchSpaceError(ValueError)`, `storage` its `StorageError(RuntimeError)`; neither imports this file.
How a *trial* ends is a value (`trial.Outcome`), never an error.
"""

from __future__ import annotations

from collections.abc import Sequence


class OptimizeError(Exception):
    """The base of all errors that a user can cause; `problems` are the lines to show."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class SettingsError(OptimizeError):
    """Unknown keys, bad flags or values: all of them at once."""


class WorkloadError(OptimizeError):
    """The workload cannot be used: a script, a constant or its data is missing."""


class RenderError(WorkloadError):
    """A value cannot be written into the script exactly."""


class StudyError(OptimizeError):
    """The study cannot go on."""


class StudyMismatchError(StudyError):
    """The study was begun with another script, space, constants, data or metric."""


class StudyBusyError(StudyError):
    """Another driver of the study is alive."""


class NothingToConfirm(StudyError):
    """No trial is better than the baseline."""


class SpaceExhausted(StudyError):
    """All feasible parameters have been tried."""


class StudyAborted(StudyError):
    """The environment is broken, or too many trials failed in a row."""


class ExecutorError(OptimizeError):
    """Trials cannot be run."""
