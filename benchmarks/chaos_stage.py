"""The folder of a command that `chaos_commands.py` kills, and what the command has made there.

It reads with Optuna, SQLite and zipfile alone: our own code is what is being judged.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

ROOT = Path(__file__).resolve().parent.parent
# Counts its steps and, at the one that CHAOS_AT names, kills itself; a process that it starts does not.
BOOT = """
import atexit, os, signal, sys, threading
me, at, delay, steps = os.getpid(), int(os.environ["CHAOS_AT"]), float(os.environ["CHAOS_DELAY"]), 0
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
STEPS = {"os.rename", "os.mkdir", "os.remove", "os.link", "os.rmdir", "sqlite3.connect", "socket.connect", "subprocess.Popen"}
def die(): os.kill(me, signal.SIGKILL)
def hook(event, args):
    global steps
    if (event in STEPS or event == "open" and args[2] & WRITES) and os.getpid() == me:
        steps += 1
        if steps == at:
            threading.Timer(delay, die).start() if delay else die()
sys.addaudithook(hook)
atexit.register(lambda: os.getpid() == me and print(steps, file=open(os.environ["CHAOS_STEPS"], "w")))
from optimize.__main__ import main
main()
"""
Result = object  # what can be compared with that of an unharmed call; None if there is nothing yet


@dataclass(frozen=True)
class Stage:
    """A folder with everything that the commands need; each strike has a copy of it."""

    folder: Path
    server: str = ""  # the URL of an empty database

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def call(self, words: list[str], at: int = 0, delay: float = 0.0) -> subprocess.CompletedProcess[str]:
        env = {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(self.folder / "config"), "CHAOS_AT": str(at)}
        env |= {"CHAOS_DELAY": str(delay), "CHAOS_STEPS": str(self.folder / "steps"), "OPTIMIZE_COPY_URL": self.server}
        env |= {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(ROOT / ".pytest_cache" / "matplotlib")}
        argv = [sys.executable, "-c", BOOT, *words]
        return subprocess.run(
            argv, cwd=self.folder, env=os.environ | env, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    def copy(self, folder: Path, server: str) -> Stage:
        shutil.copytree(self.folder, folder, symlinks=True)
        return Stage(folder, server)


def studies(runs: Path, *names: str, url: str = "", artifacts: Path | None = None) -> Result:
    """What the studies hold: COMPLETE trials with their artifacts, of which each must be readable; None without the first."""
    database = runs / "optuna.db"
    if not url and not (database.is_file() and database.stat().st_size):
        return None
    with tempfile.TemporaryDirectory() as folder:  # Optuna would complete a half-made database
        for path in runs.glob("optuna.db*") if not url else ():
            shutil.copy(path, folder)
        return _studies(url or f"sqlite:///{folder}/optuna.db", names, artifacts or runs / "artifacts")


def _studies(url: str, names: Sequence[str], artifacts: Path) -> Result:
    storage = optuna.storages.get_storage(url)
    try:
        there = {study.study_name: study._study_id for study in storage.get_all_studies()}
        if names[0] not in there:
            return None
        return {
            name: sorted(_trial(trial, artifacts) for trial in storage.get_all_trials(there[name])
                         if trial.state.name == "COMPLETE") if name in there else None
            for name in names
        }  # fmt: skip
    finally:
        storage.remove_session()


def _trial(trial: optuna.trial.FrozenTrial, folder: Path) -> str:
    left = {}
    for key, text in trial.system_attrs.items():
        if key.startswith("artifacts:"):
            meta = json.loads(text)
            path = folder / meta["artifact_id"]
            left[meta["filename"]] = path.stat().st_size if path.is_file() else "MISSING"
    left.pop("log.txt", None)
    return f"{trial.value} {sorted(trial.params.items())} {sorted(left.items())}"


def confirmed(stage: Stage) -> Result:
    attrs = optuna.load_study(study_name="s", storage=f"sqlite:///{stage.runs / 'optuna.db'}").user_attrs
    known = [key for key in attrs if "verdict" in key or "confirm" in key]
    return studies(stage.runs, "s/confirm") if known and (stage.runs / "s" / "best").is_dir() else None


def bundle(stage: Stage) -> Result:
    path = stage.folder / "b.zip"
    if not path.exists():
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() or sorted(re.sub(r"[0-9a-f-]{36}", "ID", name) for name in archive.namelist())


def report(stage: Stage) -> Result:
    folder = stage.folder / "page"
    if not (folder / "report.html").exists():
        return None
    pictures = {path.name: path.read_bytes().endswith(b"IEND\xaeB`\x82") for path in (folder / "plots").glob("[!.]*")}
    return pictures, (folder / "report.html").read_text("utf-8").rstrip().endswith("</html>")


def on_server(stage: Stage) -> Result:
    return studies(stage.runs, "s", "s/confirm", url=stage.server, artifacts=stage.folder / "there" / "artifacts")


def cleaned(stage: Stage) -> Result:
    """Something only when all is gone: what is not, the same command removes."""
    gone = studies(stage.runs, "s") is None and studies(stage.runs, "s/confirm") is None
    return (stage.runs / "s").exists() if gone else None


def text_of(name: str) -> Callable[[Stage], Result]:
    return lambda stage: (stage.folder / name).read_text("utf-8") if (stage.folder / name).exists() else None


def folder_of(name: str) -> Callable[[Stage], Result]:
    def listed(stage: Stage) -> Result:
        folder = stage.folder / name
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else None

    return listed


def hidden(folder: Path) -> set[str]:
    """What was made beside something that was to be replaced, and never came to be it."""
    return {str(path.relative_to(folder)) for path in folder.rglob(".*") if path.suffix in (".tmp", ".new", ".old")}
