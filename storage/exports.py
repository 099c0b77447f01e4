"""Writes the files that people open: `results.tsv`, `trials.csv`, `trials.parquet`, and what is in `best/`.

`results.tsv` has autoresearch's five columns, the other tables have everything. All are views of the records and
rewritten whole; nothing reads them back to continue a study. A failed trial's value is empty: a made-up number would
sort, or train a model, as a result.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.files import replace_folder, write_bytes, write_text
from storage.records import TrialRecord
from storage.text import one_line, to_cell
from storage.toml import toml_text

if TYPE_CHECKING:
    import pandas


PLAIN = (
    "number",
    "state",
    "status",
    "kind",
    "requeue_of",
    "started",
    "finished",
    "seconds",
    "slot",
    "device",
    "script",
    "reason",
    "source",
    "taken_from",
)
VERDICTS = KEEP, DISCARD, CRASH = "keep", "discard", "crash"  # of results.tsv, as in autoresearch's
_PLAIN_WORD = re.compile(r"\([^()]*\)|[^\s,;()]+")  # as `importing/cells.py` reads it
_NOT_YET = datetime.max.replace(tzinfo=UTC)


def write_results(
    path: Path, records: Iterable[TrialRecord], *, metric: str = "val_bpb", direction: str = "minimize"
) -> None:
    """Write `results.tsv`: commit, metric, memory_gb, status (keep, discard, crash), description; in the order of
    ending.
    """
    write_text(path, results_text(records, metric=metric, direction=direction))


def results_text(records: Iterable[TrialRecord], *, metric: str = "val_bpb", direction: str = "minimize") -> str:
    """Return the text of `results.tsv`."""
    known = sorted(records, key=lambda each: (each.finished or _NOT_YET, each.number))
    baseline = next((each for each in known if each.kind == "baseline"), None)
    lines = [("commit", metric, "memory_gb", "status", "description")]
    best: float | None = None
    for each in filter(lambda each: each.is_finished, known):
        kept = each.value is not None and (best is None or (each.value < best) == (direction == "minimize"))
        kept = kept and each.value != best
        best = each.value if kept else best
        lines.append(
            (each.script[:7], number_text(each.value), _memory_gb(each), _verdict(each, kept), _story(each, baseline))
        )
    return "".join("\t".join(map(_cell, line)) + "\n" for line in lines)


def write_trials(path: Path, records: Sequence[TrialRecord], *, metric: str = "val_bpb") -> None:
    """Write `trials.csv`: a line for each trial, a column for each parameter and summary key; floats exact, times UTC.

    A text that a spreadsheet would compute, such as `=1+1`, has a ' before it.
    """
    write_text(path, frame(records, metric=metric, in_cells=True).to_csv(index=False))


def write_parquet(path: Path, records: Sequence[TrialRecord], *, metric: str = "val_bpb") -> None:
    """Write `trials.parquet`: the same table with types; a column of several kinds is text, as in the CSV."""
    import pandas

    table = frame(records, metric=metric)
    typed = {name: _typed(column) for name, column in table.items()}
    typed |= {name: pandas.to_datetime(table[name], utc=True, format="ISO8601") for name in ("started", "finished")}
    buffer = io.BytesIO()
    pandas.DataFrame(typed).to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


def frame(records: Sequence[TrialRecord], *, metric: str = "val_bpb", in_cells: bool = False) -> pandas.DataFrame:
    """Return the records as a table. A parameter or summary key whose name is in use gets `param_` or `summary_` before
    it. `in_cells`: texts are those of `to_cell`.
    """
    import pandas  # half a second, which `status` does not need

    metric = f"metric_{metric}" if metric in PLAIN else metric
    names = _columns(records, metric)
    rows = [_row(each, metric, names) for each in records]
    columns = [*PLAIN[:5], metric, *PLAIN[5:], *names.values()]
    if in_cells:
        rows = [{to_cell(name): _in_cell(value) for name, value in row.items()} for row in rows]
        columns = list(map(to_cell, columns))
    return pandas.DataFrame(rows, columns=columns, dtype=object)


def number_text(value: float | None) -> str:
    """Return a number with six decimals like autoresearch's, or more where it has more; "" for None."""
    if value is None:
        return ""
    short = f"{value:.6f}"
    return short if float(short) == value and len(short) < 24 else repr(value)


def changes(record: TrialRecord, baseline: TrialRecord | None) -> str:
    """Return the parameters in which a trial differs from the baseline: `DEPTH 4 -> 6, MATRIX_LR 0.04 -> 0.02`."""
    if baseline is None:
        return ", ".join(f"{name} {_word(value)}" for name, value in record.params.items())
    before = baseline.params
    return ", ".join(
        f"{name} {_word(before[name])} -> {_word(value)}" if name in before else f"{name} {_word(value)}"
        for name, value in record.params.items()
        if name not in before or before[name] != value
    )


def _word(value: object) -> str:
    """Return a value as it is read back from a description: a text with a space or a comma in quotes, but no tuple."""
    text = str(value)
    is_plain = not isinstance(value, str) or _PLAIN_WORD.fullmatch(text) or "'" in text
    return text if is_plain else f"'{text}'"


def _story(record: TrialRecord, baseline: TrialRecord | None) -> str:
    if record.reason and record.taken_from and not record.owner:
        return record.reason  # of a trial that was brought in: what its file said
    what = "baseline" if record.kind == "baseline" else changes(record, baseline) or "the baseline again"
    if record.state == "COMPLETE":
        return what
    return f"{record.status or record.state.lower()}: {record.reason or 'no reason kept'} ({what})"


def _verdict(record: TrialRecord, kept: bool) -> str:
    if record.state == "COMPLETE" or record.status == "hopeless":  # a hopeless one ran well, and was cut on its curve
        return KEEP if kept else DISCARD
    return CRASH


def _memory_gb(record: TrialRecord) -> str:
    peak = record.summary.get("peak_vram_mb")
    return f"{peak / 1024:.1f}" if isinstance(peak, int | float) else ""


def _cell(text: str) -> str:
    # readers of tables take a leading quote for the start of a quoted cell
    return to_cell(one_line(text, None).replace('"', "'"))


def _in_cell(value: Any) -> Any:
    return to_cell(value) if isinstance(value, str) else value


def _columns(records: Sequence[TrialRecord], metric: str) -> dict[tuple[str, str], str]:
    """Return the column of each (kind, name), parameters before summary keys, in the order of their first appearance."""
    wanted = dict.fromkeys(("param", name) for each in records for name in each.params)
    wanted |= dict.fromkeys(("summary", name) for each in records for name in each.summary)
    columns: dict[tuple[str, str], str] = {}
    for kind, name in wanted:
        column = _plain(name)
        while column in {*PLAIN, metric, *columns.values()}:
            column = f"{kind}_{column}"
        columns[kind, name] = column
    return columns


def _row(record: TrialRecord, metric: str, names: dict[tuple[str, str], str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in PLAIN}
    row |= {name: moment.isoformat() for name in ("started", "finished") if (moment := row[name]) is not None}
    row[metric] = record.value
    row |= {names["param", name]: value for name, value in record.params.items()}
    row |= {names["summary", name]: value for name, value in record.summary.items()}
    return {name: _plain(value) if isinstance(value, str) else value for name, value in row.items()}


def _typed(column: pandas.Series) -> pandas.Series:
    known = [value for value in column if value is not None]
    kinds = set(map(type, known))
    if kinds == {bool}:
        return column.astype("boolean")
    if kinds == {int} and all(abs(value) < 2**63 for value in known):
        return column.astype("Int64")
    if kinds and kinds <= {int, float}:
        return column.astype("Float64")
    return column.map(lambda value: None if value in (None, "") else str(value)).astype("string")


def _plain(text: str) -> str:
    return text if text.isprintable() else one_line(text, None)  # a lone carriage return breaks a line of CSV


def write_best(
    folder: Path,
    files: Mapping[str, str],
    record: TrialRecord,
    *,
    metric: str = "val_bpb",
    more: Mapping[str, object] | None = None,
) -> None:
    """Write the folder `best/`: `files` as the trial left them, and `summary.toml` with `more` in it."""
    replace_folder(folder, {"summary.toml": summary_text(record, metric, more), **files})


def params_text(params: Mapping[str, object], number: int) -> str:
    """Return the text of `params.toml`: the values as the script has them; a tuple becomes an array of TOML."""
    return toml_text(params, f"parameters of trial {number}")


def summary_text(record: TrialRecord, metric: str, more: Mapping[str, object] | None = None) -> str:
    """Return the text of `summary.toml`: the trial's result, and under [summary] what its script printed last."""
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
