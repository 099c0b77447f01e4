"""A copy of what we ship, which tests may change as a later version does: workloads, search spaces, profiles and their record."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from optimize.config import released, settings
from optimize.config.plan import Plan
from optimize.config.settings import Settings, load_settings
from optimize.confirm.verdict import Verdict
from optimize.executors.simulated import SimulatedExecutor
from optimize.script import load_workload
from optimize.session.confirm import ConfirmOptions, confirm_study
from optimize.session.session import Caller
from optimize.study.begun import opened_to_go_on
from optimize.study.earlier import plan_for_study
from optimize.study.loop import Loop
from optimize.study.resume import open_study
from optimize.study.stopping import Budget, StopSignals
from optimize.trial import Job, Outcome, Slot
from search_spaces import loader
from storage import StudyPaths, TrialRecord, open_database
from tests.released import add_versions

FOLDERS = {"workloads": load_workload.OURS, "search_spaces": loader.OURS, "profiles": settings.PROFILES}


@dataclass
class Shipped:
    """The copy, and how a study is driven by it; `train` says how each trial ends."""

    folder: Path
    flags: dict[str, object]
    train: Callable[[Job], Outcome]
    device: str = "cpu"
    said: list[str] = field(default_factory=list)

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        """As somebody changes a file; each text is replaced once."""
        path = self.folder / name
        text = path.read_text()
        for old, new in changes:
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, new)
        path.write_text(text)

    def release(self) -> None:
        """As we ship what lies there now."""
        add_versions(self.folder / "released")

    def settings(self, **more: object) -> Settings:
        return load_settings(str(self.flags["profile"]), "flag", {**self.flags, **more, "profile": None}, {})

    def plan(self, **more: object) -> Plan:
        settings = self.settings(**more)
        with opened_to_go_on(settings, settings.study) as stored:
            return plan_for_study(settings, stored)

    def run(self, trials: int, **more: object) -> list[TrialRecord]:
        """As `optimize run` does, without its views."""
        plan = self.plan(**more)
        self.said += plan.earlier
        paths = StudyPaths(plan.settings.runs, plan.settings.study)
        paths.create()
        with (
            closing(open_database(paths.database)) as database,
            open_study(database, plan, "", self.said.append, self._slots()) as study,
            StopSignals() as signals,
        ):
            Loop(study, SimulatedExecutor(self.train), plan.job, Budget(trials), (), signals, tick_s=0).run()
            return list(study.records())

    def confirm(self, **wanted: int) -> Verdict | None:
        def executor(slots: object) -> SimulatedExecutor:
            return SimulatedExecutor(self.train)

        caller = Caller(Console(file=io.StringIO()), self.said.append, executor=executor, data="")
        return confirm_study(self.plan(), self._slots(), caller, ConfirmOptions(**wanted)).verdict

    def _slots(self) -> tuple[Slot]:
        return (Slot("cpu:0", device=self.device),)


def patch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this folder taken for what we ship."""
    for module, name, kind in (
        (load_workload, "OURS", "workloads"),
        (released, "OURS", "workloads"),
        (loader, "OURS", "search_spaces"),
        (settings, "PROFILES", "profiles"),
        (released, "PROFILES", "profiles"),
        (released, "RELEASED", "released"),
    ):
        monkeypatch.setattr(module, name, folder / kind)


def copy_ours(folder: Path) -> None:
    """Copy all that we ship, but for code."""
    for kind, where in {**FOLDERS, "released": released.RELEASED}.items():
        shutil.copytree(
            where, folder / kind, ignore=None if kind == "workloads" else shutil.ignore_patterns("*.py", "__*")
        )
