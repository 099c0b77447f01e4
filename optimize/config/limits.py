"""Says which limits a trial has: those of the profile, of workload.toml, or none that nobody chose for this script."""

from __future__ import annotations

from dataclasses import replace

from optimize.config.here import with_slash
from optimize.config.settings import Settings
from optimize.script.load_workload import OURS
from optimize.script.workload import Workload

FIRST_LINE = "limits.startup_s"


def with_limits_of(workload: Workload, settings: Settings) -> Settings:
    """Take the limits of workload.toml. Only those win that a profile of the user's own sets: it was chosen for this call."""
    own = "/" in settings.profile
    mine = {
        name: value for name, value in workload.limits.items() if not own or f"limits.{name}" not in settings.origins
    }
    origins = {**settings.origins, **{f"limits.{name}": "workload.toml" for name in mine}}
    limits = replace(settings.limits, **mine)
    if not own and limits.startup_s is not None and "startup_s" not in mine and not _is_ours(workload):
        # A healthy script may print its first line late. What our profiles allow was measured on our own.
        limits = replace(limits, startup_s=None)
        origins[FIRST_LINE] = f"not that of profile {settings.profile}, which is for our own scripts"
    return replace(settings, limits=limits, origins=origins)


def startup_in(workload: Workload, settings: Settings) -> str:
    """Return the file where a person would change how long a trial may take to its first line."""
    if "/" in settings.profile and settings.origins.get(FIRST_LINE) != "workload.toml":
        return settings.profile
    return "a profile of your own" if _is_ours(workload) else with_slash(workload.folder / "workload.toml")


def too_short(settings: Settings, workload: Workload, duration_s: float | None) -> tuple[str, ...]:
    """Return a line if trials would reach their time limit before they can end."""
    total_s = settings.limits.total_s
    if duration_s is None or total_s is None or duration_s <= total_s:
        return ()
    origin = settings.origins.get("limits.total_s", f"profile {settings.profile}")
    how = (
        "Use a profile of your own with a larger one (--profile ./mine.toml)."
        if _is_ours(workload) or (origin != "workload.toml" and "/" in settings.profile)
        else f"Write a larger one under [limits] in {workload.folder / 'workload.toml'}."
    )
    return (
        f"{origin}: [limits] total_s {total_s:.0f}: a trial takes about {duration_s:.0f} s and would time out. {how}",
    )


def _is_ours(workload: Workload) -> bool:
    return workload.folder.parent == OURS
