"""Reads profile, flags and environment into one frozen `Settings`, each value with its origin.

What the environment says is read in `environment.py`. Nothing is opened or started here.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from optimize.config.environment import (
    KEY_VARIABLE,
    MODEL_URL_VARIABLE,
    NOTIFY_VARIABLE,
    STORAGE_VARIABLE,
    advisor_key,
    has_password,
    password_line,
)
from optimize.config.here import HERE, SPACE, file_here, space_beside
from optimize.errors import SettingsError
from optimize.executors.slots import Device
from optimize.script.device_batch import DeviceBatch
from optimize.script.limits import read_limits
from optimize.script.load_workload import name_of_ours
from optimize.text import meant, study_name
from optimize.toml import Table
from optimize.trial import Limits, Value

PROFILES = Path(__file__).parents[1] / "profiles"
OPENAI = "https://api.openai.com/v1"
MAX_CONSECUTIVE_FAILURES = 5  # of trials, after which a study stops
FOUND = IN_FOLDER, BESIDE = "in this folder", "beside the script"  # how the origins end of what nobody has named
NO_ADVISOR = "none"  # --advisor none: whatever the profile says


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one call of `optimize run` is told. `origins` says for each field where its value comes from."""

    profile: str = "cpu"
    study: str = ""
    workload: str = "gpt"
    search_space: str = "cpu"
    sampler: str = "auto"
    seed: int = 0
    starts: bool = True  # try the search space's own starts
    start_from: str | None = None  # a study, or a file of results, that a new study begins with
    prior: tuple[str, ...] = ()  # studies and tables of related tasks
    own_prior: bool = True  # search by the search space's own priors as well
    pruning: bool = True
    pruner: str = "regression"
    advisor: str | None = None  # a language model's name; None: only the sampler proposes
    advisor_share: float = 0.2  # of the proposals
    advisor_url: str = ""  # of the model's server; its key is in no field of ours
    trials: int | None = None  # COMPLETE and PRUNED, the baseline included; None: no limit
    hours: float | None = None
    until_worth: float | None = None  # end where ten more trials are expected to bring less, in units of the metric
    max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES
    executor: str = "local"
    device: str = "cpu"
    slots: int | None = None  # None: as many as the machine has
    gpus: str | None = None
    gpus_per_trial: int = 1
    trials_per_gpu: int = 1
    mixed_devices: bool = False
    constants: Mapping[str, Value] = field(default_factory=dict)
    constants_of: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)  # [constants.NAME]: of one workload
    device_batch: DeviceBatch | None = None  # of this study, where its own did not fit
    prepare_args: tuple[str, ...] = ()
    env_pass: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    keep_failed: bool = False
    log: tuple[str, ...] = ()  # trackers: where finished trials are written as well
    preload: bool = True  # where the workload names modules, and the device is a CPU
    runs: Path = Path("runs")
    storage: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def written(self) -> Mapping[str, Value]:
        """The constants that are written over the script's: the profile's, and the device batch that fits."""
        batch = self.device_batch
        return self.constants if batch is None else {**self.constants, batch.name: batch.value}

    def command(self) -> str:
        """Return the command that goes on with the study, without its storage URL, which may hold a password."""
        flags = {"--study": "study", "--profile": "profile", "--workload": "workload", "--space": "search_space"}
        given = [f"{flag} {shlex.quote(getattr(self, name))}" for flag, name in flags.items() if self._was_named(name)]
        return " ".join(["optimize run", *given])

    def _was_named(self, name: str) -> bool:
        return name == "study" or self.origins.get(name) == "flag"


def load_settings(
    profile: str, why: str, flags: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of this call; flags that are None were not given. Precedence: flag, environment, profile, default.

    Raises SettingsError with every problem of the profile and the flags.
    """
    settings, problems = read_settings(profile, why, flags, environ)
    if problems.of_profile or problems.of_flags:
        raise SettingsError(*problems.of_profile, *problems.of_flags)
    return settings


class Problems(NamedTuple):
    """Every problem of the settings. One of the profile leaves its values unknown; a bad flag is at least known."""

    of_profile: Sequence[str]
    of_flags: Sequence[str]


def read_settings(
    profile: str, why: str, flags: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> tuple[Settings, Problems]:
    """Return the settings as far as they can be read, and their problems."""
    of_profile: list[str] = []
    settings, found = _from_profile(Settings(profile=profile), profile, of_profile)
    if NOTIFY_VARIABLE in settings.env_pass:
        of_profile.append(f"{profile}: env_pass: {NOTIFY_VARIABLE} holds secrets, which no script gets. Leave it out.")
    origins = {f.name: f"profile {profile}" if f.name in found else "default" for f in fields(Settings)}
    origins |= {name: f"profile {profile}" for name in sorted(found) if name.startswith("limits.")}
    origins["profile"] = why
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in flags.items() if value is not None
    }
    of_flags = _bad_flags({"advisor_share": settings.advisor_share} | given)
    settings = replace(settings, **given)  # type: ignore[arg-type]
    origins.update({name: "flag" for name, value in given.items() if (name, value) != ("runs", Settings().runs)})
    environ = environ if environ is not None else os.environ
    settings, origins = _with_what_is_here(settings, origins, of_flags)
    settings = replace(
        settings, workload=name_of_ours(settings.workload)
    )  # a profile has constants for it, by its name
    settings, origins = _fill(settings, origins, environ)
    if settings.advisor and "advisor" in flags:  # else this command asks no model
        of_flags += _bad_advisor(settings, environ)
        settings = replace(settings, advisor_url=environ.get(MODEL_URL_VARIABLE, "").strip().rstrip("/") or OPENAI)
        known = MODEL_URL_VARIABLE if environ.get(MODEL_URL_VARIABLE) else KEY_VARIABLE
        origins["advisor_url"] = f"environment {known}"
    return replace(settings, origins=origins), Problems(of_profile, of_flags)


def pick_profile(device: Device) -> tuple[str, str]:
    """Return the profile for this machine, and why. A GPU without a memory of its own, or a slice of one, tells none."""
    if device.kind != "cuda":
        return "cpu", device.note or "this machine has no NVIDIA GPU"
    if not device.memory_mb:
        return "gpu", f"this machine has {device.name}, of unknown memory; below 20 GB choose the profile colab"
    profile = next(name for name, least_gb in _LEAST_GB if device.memory_mb >= least_gb * 1000)
    return profile, f"this machine has {device.name}, {device.memory_mb / 1000:.0f} GB"


_LEAST_GB = (("h100", 70), ("gpu", 20), ("colab", 0))


def profiles() -> list[str]:
    """Return the names of the profiles that ship with this package."""
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def load_profile(profile: str, path: Path) -> Settings:
    """Return what a version of a profile says, at this path; constants of one workload stand apart. Raises SettingsError."""
    problems: list[str] = []
    settings, _ = _from_table(Settings(profile=profile), Table.read(path, problems), profile)
    if problems:
        raise SettingsError(*problems)
    return settings


def _profile_table(profile: str, problems: list[str]) -> Table:
    path = Path(profile).expanduser() if "/" in profile else PROFILES / f"{profile}.toml"
    if "/" in profile and not path.is_file():
        what = "this is a folder. Name a file in it." if path.is_dir() else "there is no such file. Check the path."
        problems.append(f"{profile}: {what}")
    elif "/" not in profile and profile not in profiles():
        problems.append(
            f"{profile or repr(profile)}: no such profile. Use one of ours ({', '.join(profiles())}) or a path with a "
            f"slash.{meant(profile, profiles(), path=True)}"
        )
    return Table(str(path), {}, problems) if problems else Table.read(path, problems)


def _from_profile(settings: Settings, profile: str, problems: list[str]) -> tuple[Settings, set[str]]:
    """The settings, and which of them the profile gives."""
    return _from_table(settings, _profile_table(profile, problems), profile)


def _from_table(settings: Settings, table: Table, profile: str) -> tuple[Settings, set[str]]:
    def beside(path: str) -> str:
        return _beside(profile, path)

    slots, limits, constants = table.table("slots"), table.table("limits"), table.table("constants")
    given = read_limits(limits)
    of_one = {beside(name): each.literals() for name, each in constants.tables().items()}
    settings = replace(
        settings,
        workload=beside(table.text("workload", settings.workload)),
        search_space=beside(table.text("search_space", settings.search_space)),
        sampler=table.text("sampler", settings.sampler),
        starts=table.flag("starts", settings.starts),
        executor=table.text("executor", settings.executor),
        pruning=table.flag("pruning", settings.pruning),
        pruner=table.text("pruner", settings.pruner),
        advisor=table.text("advisor", "") or None,
        advisor_share=table.number("advisor_share", settings.advisor_share) or settings.advisor_share,
        trials=table.integer("trials", settings.trials),
        hours=table.number("hours", settings.hours),
        until_worth=table.number("until_worth", settings.until_worth),
        max_consecutive_failures=table.integer("max_consecutive_failures", settings.max_consecutive_failures)
        or settings.max_consecutive_failures,
        prepare_args=table.words("prepare_args", ()),
        env_pass=table.words("env_pass", ()),
        constants=constants.literals(),
        constants_of=of_one,
        keep_failed=table.flag("keep_failed", False),
        log=table.words("log", ()),
        preload=table.flag("preload", True),
        device=slots.text("device", settings.device),
        slots=slots.integer("count", None),
        gpus_per_trial=slots.integer("gpus_per_trial", settings.gpus_per_trial) or 1,
        trials_per_gpu=slots.integer("trials_per_gpu", settings.trials_per_gpu) or 1,
        limits=Limits(**given),
    )
    for each in (table, slots, limits):
        each.finish()
    of_slots = {"slots" if key == "count" else key for key in slots.found}
    return settings, (table.found - {"slots"}) | of_slots | {f"limits.{name}" for name in given}


def _beside(profile: str, path: str) -> str:
    """Return a path that stands in a profile's file as it is from here. A name of ours has no slash and stays."""
    folder = os.path.dirname(profile)  # noqa: PTH120  (a Path would lose the slash that tells a path from a name)
    is_relative = path in (".", "..") or ("/" in path and not path.startswith(("/", "~")))
    return f"{folder}/{path.removeprefix('./')}" if is_relative and folder not in ("", ".") else path


def _bad_flags(given: Mapping[str, object]) -> list[str]:
    lines = []
    for name in ("trials", "hours", "slots", "until_worth"):
        value = given.get(name)
        if isinstance(value, int | float) and not value > 0:  # nan is not
            lines.append(f"--{name.replace('_', '-')}: {value} is not above 0. Give a positive number or leave it out.")
    seed = given.get("seed")
    if isinstance(seed, int) and seed < 0:
        lines.append(f"--seed: {seed} is below 0. Give 0 or more.")
    share = given.get("advisor_share", 1)
    if isinstance(share, int | float) and not 0 < share <= 1:
        lines.append(f"--advisor-share: {share:g} is not a share. Give a number above 0, at most 1.")
    storage = given.get("storage")
    if isinstance(storage, str) and has_password(storage):
        lines.append(password_line("storage", STORAGE_VARIABLE))
    return lines


def _bad_advisor(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Why no model can be asked. No line repeats a key, or a URL that may hold one."""
    url, key = environ.get(MODEL_URL_VARIABLE, "").strip(), advisor_key(environ)
    lines = []
    if not url and not key:
        lines.append(
            f"--advisor: neither {KEY_VARIABLE} nor {MODEL_URL_VARIABLE} is set. Set one of them (docs/advisor.md), or use "
            f"--advisor {NO_ADVISOR}."
        )
    if url and (why := _bad_model_url(url)):
        lines.append(
            f"{MODEL_URL_VARIABLE}: {why}. Give it as http://localhost:8000/v1; a key belongs in {KEY_VARIABLE}."
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        lines.append(f"{KEY_VARIABLE}: it has characters that a key cannot have. Set it again.")
    if not settings.advisor or not settings.advisor.isprintable() or len(settings.advisor) > 200:
        lines.append("--advisor: this is not a model's name. Give the name that its server knows.")
    return lines


def _bad_model_url(url: str) -> str:
    """Why requests cannot be sent there, "" if they can."""
    try:
        parts = urlsplit(url)
        port = parts.port  # raises ValueError where it is no number
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "it is not the URL of an HTTP server"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "it holds a name, a password or a query"
    return "" if url.isascii() and url.isprintable() and " " not in url else "it has characters that a URL cannot have"


def is_named(settings: Settings, name: str) -> bool:
    """Tell whether a flag names the workload or the search space, or a profile of the user's own, by a path."""
    return settings.origins.get(name) == "flag" or ("/" in settings.profile and "/" in str(getattr(settings, name)))


def _with_what_is_here(
    settings: Settings, origins: dict[str, str], problems: list[str]
) -> tuple[Settings, dict[str, str]]:
    """Take the workload of this folder, and the search space beside a workload that is not ours, where neither is named."""
    told, unclear = replace(settings, origins=origins), list[str]()
    if not is_named(told, "workload"):
        if file := file_here(unclear):
            settings, origins["workload"] = replace(settings, workload=HERE), f"{file} {IN_FOLDER}"
        elif unclear:
            problems += unclear
            origins["workload"] = f"none of the scripts {IN_FOLDER}"
    if not is_named(told, "search_space") and (space := space_beside(settings.workload)):
        settings, origins["search_space"] = replace(settings, search_space=space), f"{SPACE} {BESIDE}"
    return settings, origins


def _fill(settings: Settings, origins: dict[str, str], environ: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    if settings.storage is None and environ.get(STORAGE_VARIABLE):
        settings = replace(settings, storage=environ[STORAGE_VARIABLE])
        origins["storage"] = f"environment {STORAGE_VARIABLE}"
    if not settings.study:
        profile, workload = Path(settings.profile).stem, Path(settings.workload).resolve().name
        settings = replace(settings, study=study_name(f"{workload}-{profile}"))
        origins["study"] = "workload and profile"
    if settings.advisor == NO_ADVISOR:
        settings = replace(settings, advisor=None)
    mine = settings.constants_of.get(settings.workload, {})
    return replace(settings, constants={**settings.constants, **mine}, constants_of={}), origins
