"""What a script seems to need and a trial would not have: lines for a person to look at before the first trial.

Guesses from the scripts' text, never an error: whoever builds names at run time may be right all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from optimize.script.workload import Workload


def lacking(workload: Workload) -> tuple[str, ...]:
    """A line for the files that a trial would not find, and one if nothing looks like the metric."""
    return (*_files(workload), *_metric(workload))


def _files(workload: Workload) -> Iterator[str]:
    named = {text for source in workload.files.values() for text in _texts(source)}
    left = sorted(text for text in named if _is_left(workload, text))
    if left:
        yield (
            f"files: the scripts name {', '.join(left)}, which a trial would not find: only *.py goes along unless `files` in "
            f"{workload.folder / 'workload.toml'} says more (`links` for folders of data)"
        )


def _metric(workload: Workload) -> Iterator[str]:
    name, metric = workload.metric.name, workload.metric
    if not metric.regex and not any(name in source for source in workload.files.values()):
        yield (
            f"metric: no {name} in the scripts. If they print it under another name, say so by `metric` in "
            f"{workload.folder / 'workload.toml'} (docs/your-script.md)"
        )


def _texts(source: str) -> Iterator[str]:
    """The literal texts of a Python file; of anything else none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isprintable():
            yield node.value


def _is_left(workload: Workload, text: str) -> bool:
    """Whether it is a file of the workload's folder that does not go along."""
    path = PurePosixPath(text)
    if not text or len(text) > 200 or path.is_absolute() or ".." in path.parts or str(path) in workload.files:
        return False
    linked = any(PurePosixPath(link) in (path, *path.parents) for link in workload.links)
    return not linked and (workload.folder / path).is_file()
