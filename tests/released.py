"""What `optimize/released/` has to hold of today's workloads, search spaces and profiles. `python -m tests.released` adds it."""

from __future__ import annotations

from pathlib import Path

from optimize.config import released, settings
from optimize.config.released import PROFILE_TABLES, SPACES, WORKLOADS, profile_digest, workload_digest
from optimize.script import load_workload
from search_spaces import load_space, loader


def versions_of_today() -> dict[str, bytes]:
    """Return the file's path in `released/` -> its content."""
    found: dict[str, bytes] = {}
    for name in load_workload.ours():
        path = load_workload.OURS / name / "workload.toml"
        found[f"{WORKLOADS}/{name}/{workload_digest(load_workload.load_workload(name))}.toml"] = path.read_bytes()
    for path in sorted(loader.OURS.glob("*.toml")):
        found[f"{SPACES}/{path.stem}/{load_space(path.stem).fingerprint()}.toml"] = path.read_bytes()
    for path in sorted(settings.PROFILES.glob("*.toml")):
        digest = profile_digest(settings.load_profile(path.stem, path))
        found[f"{PROFILE_TABLES}/{path.stem}/{digest}.toml"] = path.read_bytes()
    return found


def add_versions(folder: Path) -> list[Path]:
    """Write what is not there, or not the same; return the paths."""
    written = []
    for name, content in versions_of_today().items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written.append(path)
    return written


if __name__ == "__main__":
    for each in add_versions(released.RELEASED):
        print(each)
