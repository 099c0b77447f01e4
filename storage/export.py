"""Writes `best/`: a folder that trains the best trial again by `python train.py`, and says what it is and what it gave.

It renders nothing: the caller gives the files as they ran. The folder is replaced whole: what others put there goes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from storage.files import replace_folder
from storage.records import TrialRecord
from storage.toml import toml_text

_NO_NEWLINE = "\\ No newline at end of file\n"


def write_best(
    folder: Path, files: Mapping[str, str], record: TrialRecord, *, metric: str = "val_bpb",
    more: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """`files` as the trial left them (its scripts, `train.patch`, `params.toml`), and `summary.toml` with `more` in it."""
    replace_folder(folder, {"summary.toml": summary_text(record, metric, more), **files})


def params_text(params: Mapping[str, object], number: int) -> str:
    """`params.toml`: the values as the script has them; a tuple is an array in TOML."""
    return toml_text(params, f"parameters of trial {number}")


def summary_text(record: TrialRecord, metric: str, more: Mapping[str, object] | None = None) -> str:
    """`summary.toml`: what the trial gave, and under [summary] what its script printed last."""
    known = {
        "trial": record.number,
        metric: record.value,
        "status": record.status,
        "kind": record.kind,
        "started": record.started,
        "finished": record.finished,
        "seconds": record.seconds,
        "slot": record.slot,
        "device": record.device,
        "script": record.script,
    }
    known = {key: value for key, value in known.items() if value not in (None, "")}
    return toml_text({**known, **(more or {}), "summary": record.summary})


def make_patch(originals: Mapping[str, str], rendered: Mapping[str, str]) -> str:
    """What `patch -p1` turns the original files into the rendered ones with; empty if nothing changed."""
    return "".join(_diff(name, originals.get(name), text) for name, text in rendered.items())


def _diff(name: str, before: str | None, after: str) -> str:
    old_name = "/dev/null" if before is None else f"a/{name}"
    lines = difflib.unified_diff(_lines(before or ""), _lines(after), f"{old_name}\t", f"b/{name}\t")
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in lines)


def _lines(text: str) -> list[str]:
    # Not splitlines(): it also breaks at form feeds and other marks that are no line ends to `patch`.
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
