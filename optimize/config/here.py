"""Finds the workload and the search space that nobody named: those of the folder where the user stands.

Only names of files, and the text of scripts, are looked at. Nothing is loaded here.
"""

from __future__ import annotations

from pathlib import Path

from optimize.script.load_workload import ours
from optimize.script.pick_script import USUAL, could_be_trained
from optimize.text import read_bounded

HERE, WORKLOAD, SPACE = ".", "workload.toml", "space.toml"
CHECKOUT = Path(__file__).parents[
    2
]  # of this repository: whatever scripts lie in its root, `make optimize` trains our own
MOST_FILES, MOST_BYTES = 100, 1_000_000  # a folder of so many scripts, and a file so large, is nobody's training script


def file_here(problems: list[str]) -> str:
    """Return the file that makes this folder a workload, "" if it is none. If it cannot be told, `problems` gets a line."""
    folder = Path()
    if (folder / WORKLOAD).is_file():
        return WORKLOAD
    if folder.resolve() == CHECKOUT.resolve():
        return ""
    if (folder / USUAL).is_file():
        return USUAL
    found = sorted(could_be_trained(_texts(folder)))
    if len(found) > 1:
        problems.append(
            f'workload: {" or ".join(found[:4])}? Each could be trained. Write `script = "{found[0]}"` into ./{WORKLOAD}, or give '
            "--workload: a folder, or gpt for our own."
        )
    return found[0] if len(found) == 1 else ""


def space_beside(workload: str) -> str:
    """Return the search space in the folder of a workload, "" if it has none or is one of ours."""
    if workload in ours():
        return ""
    path = Path(workload).expanduser() / SPACE
    return with_slash(path) if path.is_file() else ""


def with_slash(path: Path) -> str:
    """Return a path as flags want it: one without a slash would be a name of ours."""
    return str(path) if "/" in str(path) else f"./{path}"


def _texts(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.glob("*.py") if path.is_file())
    texts = {}
    for path in paths if len(paths) <= MOST_FILES else []:
        try:
            texts[path.name] = read_bounded(path, MOST_BYTES).decode("utf-8-sig")
        except (OSError, ValueError):
            continue
    return texts
