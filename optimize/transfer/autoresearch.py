"""A folder to begin with: a checkout of karpathy/autoresearch, with what a study of one profile needs beside its scripts.

It clones and writes, and starts no study. Everything is made beside the folder, then renamed, so that the folder is always whole.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from string import Template

from optimize.config.plan import Plan, make_plan
from optimize.config.settings import Settings
from optimize.errors import OptimizeError, WorkloadError
from optimize.reporting.hints import Flags, command_line, optimize_command
from optimize.script.command import PYTHON
from optimize.script.devices import needs_cuda
from optimize.text import amount
from optimize.transfer.archive import scratch_folder
from optimize.trial import Value
from search_spaces import load_space

UPSTREAM = "https://github.com/karpathy/autoresearch"
COMMIT = "228791fb499afffb54b46200aca536f79142f117"  # of UPSTREAM; the one that was tested
WORKLOAD, SPACE, GOAL = "workload.toml", "space.toml", "GOAL.md"
GIT_S = 600.0  # for a clone of some MB over a slow line

_TEMPLATES = Path(__file__).parent / "templates"
_CUDA = ("cuda", "rocm")  # devices of profiles that PyTorch calls "cuda"
_OWN_BATCH = "train_batch_candidates"  # in a train.py that tries several device batches, as the fork for RTX cards does
_SPACE_OF_OWN_BATCH = {"gpu": "rtx"}  # space of a profile -> the same without DEVICE_BATCH_SIZE
_MEMORY = (
    "# Peak memory is nearly affine to this, so that what was seen of it tells what else fits the device.\n"
    'memory = "DEVICE_BATCH_SIZE * MAX_SEQ_LEN * DEPTH * model_dim"'
)
_NO_MEMORY = (
    "# No `memory`, no `device_batch`: this train.py chooses its device batch itself, by the memory that is there.\n"
    'device_batch = ""'
)


def set_up(settings: Settings, folder: Path, source: str, commit: str, with_uv: bool) -> list[str]:
    """Make the folder; return what to say, the next commands last.

    Raises WorkloadError, SearchSpaceError for the profile's search space, or StorageError, and leaves nothing then.
    """
    if commit.startswith("-"):  # git would take it for an option, and the newest commit with it
        raise WorkloadError(f"--commit {commit}: not a commit. Name a hash, a branch or a tag.")
    if os.path.lexists(folder):
        raise WorkloadError(f"{folder}: exists already. Name a new folder, or remove this one.")
    if not folder.absolute().parent.is_dir():
        raise WorkloadError(f"{folder}: there is no folder {folder.absolute().parent}. Make it, or name another.")
    load_space(settings.search_space)  # a wrong one costs no clone
    with scratch_folder(folder.absolute().parent, folder.name) as scratch:
        beside = scratch / folder.name
        taken = f"{source} at {_clone(source, commit, beside)}"
        plan = _write(settings, beside, folder, taken, with_uv)
        beside.rename(folder)
    return [
        f"written: {folder}: {taken}, with {WORKLOAD}, {SPACE} and {GOAL}",
        *plan.notes,
        *_warnings(plan, folder),
        f"next: {command_line('run', _flags(settings, folder))}",
    ]


def _clone(source: str, commit: str, folder: Path) -> str:
    """Clone, and return the commit's short name."""
    _git("clone", "--quiet", "--no-checkout", "--", source, str(folder), where=source)
    name = f"{source} at {commit}"
    _git("-C", str(folder), "checkout", "--quiet", "--detach", commit, "--", where=name)
    if not (folder / "train.py").is_file():
        raise WorkloadError(f"{name}: has no train.py. Name a checkout of autoresearch or of a fork.")
    return _git("-C", str(folder), "rev-parse", "--short", "HEAD", where=name).strip()


def _git(*words: str, where: str) -> str:
    try:
        # A session of its own has no terminal: git asks nobody for a password.
        done = subprocess.run(
            ["git", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_S,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise WorkloadError(
            "git: not installed. Install it, or clone the repository elsewhere and give its path: --from."
        ) from None
    except subprocess.TimeoutExpired:
        raise WorkloadError(
            f"{where}: git took longer than {GIT_S:g} s. Try again, or give a local copy: --from."
        ) from None
    if done.returncode:
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it printed nothing")
        raise WorkloadError(f"{where}: git: {said}. Check the address (--from) and the commit (--commit).")
    return done.stdout


def _write(settings: Settings, beside: Path, folder: Path, taken: str, with_uv: bool) -> Plan:
    """Write the three files, and return the plan of a study with them. Raises WorkloadError if there is none."""
    uv = ["uv", "run", "--project", "{folder}"]  # the checkout's environment, not a new one for every trial
    commands = {
        "command": json.dumps([*uv, "--no-sync", "train.py"] if with_uv else [PYTHON, "train.py"]),
        "prepare": json.dumps([*uv, "prepare.py"] if with_uv else [PYTHON, "prepare.py"]),
        "memory": _NO_MEMORY if _chooses_its_batch(beside) else _MEMORY,
    }
    (beside / WORKLOAD).write_text(_filled(WORKLOAD, commands), "utf-8")
    (beside / SPACE).write_text(_space_text(_space(settings, beside)), "utf-8")
    with (beside / ".git" / "info" / "exclude").open("a", encoding="utf-8") as exclude:  # the checkout stays clean
        exclude.write("".join(f"/{name}\n" for name in (WORKLOAD, SPACE, GOAL)))
    try:
        plan = make_plan(replace(settings, workload=str(beside), search_space=str(beside / SPACE)))
    except OptimizeError as error:
        raise WorkloadError(*(line.replace(str(beside), str(folder)) for line in error.problems)) from None
    (beside / GOAL).write_text(_goal(plan, folder, taken), "utf-8")
    return plan


def _goal(plan: Plan, folder: Path, taken: str) -> str:
    settings, metric = plan.settings, plan.workload.metric
    limits = (
        amount(settings.trials, "trial") if settings.trials else "",
        f"{settings.hours:g} hours" if settings.hours else "",
    )
    end = " or ".join(filter(None, limits))
    return _filled(
        GOAL,
        {
            "metric": metric.name,
            "direction": "lowest" if metric.direction == "minimize" else "highest",
            "source": taken,
            "profile": settings.profile,
            "constants": _listed(settings.constants) or "nothing",
            "parameters": _listed(plan.baseline),
            "count": f"{plan.space.size:,}",
            "rules": "".join(f"- `{rule.text}`: {rule.why}\n" for rule in plan.space.rules),
            "seconds": f"{plan.constants.get('TIME_BUDGET', '?')}",
            "total_s": f"{settings.limits.total_s:g}" if settings.limits.total_s else "any number of",
            "end": f"The study ends after {end}." if end else "The study runs until you stop it.",
            "study": f"{folder.name}-{Path(settings.profile).stem}",
            "run": optimize_command("run", _flags(settings, folder)),
        },
    )


def _listed(values: Mapping[str, Value]) -> str:
    return ", ".join(f"`{name} = {value!r}`" for name, value in values.items())


def _flags(settings: Settings, folder: Path) -> Flags:
    path = str(folder) if "/" in str(folder) else f"./{folder}"
    return {"workload": path, "space": f"{path}/{SPACE}", "profile": settings.profile, "trust": True}


def _warnings(plan: Plan, folder: Path) -> list[str]:
    lines, text, profile = [], plan.workload.files["train.py"], plan.settings.profile
    if plan.settings.device not in _CUDA and needs_cuda(text):
        lines.append(
            f"note: this train.py runs on an NVIDIA GPU only, and profile {profile} is for {plan.settings.device}: "
            "train elsewhere, or take a fork (--from), or our own workload gpt"
        )
    if _OWN_BATCH in text:
        lines.append(
            "note: this train.py chooses its device batch itself on RTX cards. "
            + (
                f"Take DEVICE_BATCH_SIZE and its rule out of {folder / SPACE} if you train on one"
                if "DEVICE_BATCH_SIZE" in plan.space.names
                else f"{folder / SPACE} does not vary DEVICE_BATCH_SIZE"
            )
        )
    return lines


def _chooses_its_batch(folder: Path) -> bool:
    return _OWN_BATCH in (folder / "train.py").read_text("utf-8", "replace")


def _space(settings: Settings, folder: Path) -> str:
    space = settings.search_space
    return _SPACE_OF_OWN_BATCH.get(space, space) if _chooses_its_batch(folder) else space


def _space_text(space: str) -> str:
    if "/" in space:
        return Path(space).expanduser().read_text("utf-8")
    return (files("search_spaces") / f"{space}.toml").read_text("utf-8")


def _filled(name: str, values: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / name).read_text("utf-8")).substitute(values)
