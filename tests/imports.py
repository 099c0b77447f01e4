"""What the tests of bringing in share: a call of it, the study that came of it, and files to bring in."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from optimize.importing import Request, bring_in, read
from optimize.study.stored import StoredStudy, find_study
from storage import Database, open_database
from tests.databases import empty_database

OPTUNA_4 = Path(__file__).parent / "data" / "optuna4.sql"


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """The database that is brought into."""
    runs = folder / "runs"
    if not runs.exists():
        runs.mkdir()
        empty_database(runs)
    with closing(open_database(runs / "optuna.db")) as opened:
        yield opened


def bring(folder: Path, source: Path | str, study: str = "new", **said: object) -> list[str]:
    """Brings `source` in; returns what was said about it."""
    lines: list[str] = []
    with database(folder) as opened:
        bring_in(opened, folder / "runs", read(Request(str(source), study, **said)), lines.append)  # type: ignore[arg-type]
    return lines


@contextmanager
def study(folder: Path, name: str = "new") -> Iterator[StoredStudy]:
    with database(folder) as opened:
        yield find_study(opened, name, folder / "runs")


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def results_tsv(rows: int = 300) -> str:
    """As autoresearch keeps it: a tenth names parameters, some crashed, the rest is told in prose."""
    draw = random.Random(0)
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription", "a1b2c3d\t0.997900\t44.0\tkeep\tbaseline"]
    for n in range(1, rows):
        commit, value = f"{draw.randrange(16**7):07x}", f"{draw.uniform(0.97, 1.02):.6f}"
        if n % 10 == 0:
            lines.append(f"{commit}\t{value}\t45.1\tkeep\tDEPTH 8 -> {draw.randint(4, 12)}, MATRIX_LR=0.0{n % 9 + 1}")
        elif n % 10 == 1:
            lines.append(f"{commit}\t0.000000\t0.0\tcrash\tdouble the width (OOM)")
        else:
            lines.append(f"{commit}\t{value}\t44.2\tdiscard\tincrease LR to 0.04, switch to GeLU number {n}")
    return "\n".join(lines) + "\n"


def optuna_4(folder: Path) -> Path:
    """A database as Optuna 4.5 wrote it in New York."""
    path = folder / "optuna4.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OPTUNA_4.read_text())
    return path
