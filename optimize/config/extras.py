"""Says which packages our own workload needs besides those that every installation has, and how to install what is missing."""

from __future__ import annotations

from importlib.util import find_spec

from optimize.config.settings import Settings, is_named
from optimize.script.load_workload import OURS
from optimize.script.workload import Workload

GPT = {  # module -> requirement, as in pyproject.toml
    "torch": "torch>=2.6",
    "tiktoken": "tiktoken>=0.11",
    "rustbpe": "rustbpe>=0.1",
    "pyarrow": "pyarrow>=18",
    "tqdm": "tqdm>=4.66",
}


def missing_packages(settings: Settings, workload: Workload) -> list[str]:
    """Return a line if a workload of ours needs packages that this Python does not have."""
    missing = [name for name in GPT if find_spec(name) is None] if workload.folder.parent == OURS else []
    if not missing:
        return []
    requirements = " ".join(f"'{GPT[name]}'" for name in missing)
    where = f"workload {workload.name}"
    if not is_named(settings, "workload"):
        where += " (this folder has no training script)"
    return [f"{where}: needs {', '.join(missing)}, the extra gpt. Run `pip install {requirements}`."]
