"""One command that checks everything on a GPU machine: no network, some twenty minutes.

    python benchmarks/gpu.py                      on the first NVIDIA GPU; writes runs/gpu-check/report.md, .json and logs
    python benchmarks/gpu.py --upstream DIR       beside autoresearch's train.py, which somebody has put into DIR
    python benchmarks/gpu.py --device cpu         a rehearsal: every piece in a small form
    python benchmarks/gpu.py --smoke              a smaller one, which judges no time

No GPU has run it yet. The pieces, each in a process of its own; one that raises, dies or hangs is said, and the others go on:

    environment   driver, torch, kernels, compiler, who else uses the GPU; without a GPU that computes, the rest is left out
    data          the docstrings of the installed packages, as tokens
    parity        the compiled model against the CPU's form: loss, gradients, a step of the optimizer
    attention     each path against float64, and its milliseconds
    speed         tokens/s, memory and compile times, cold and warm, at three shapes; ATTENTION auto and varlen
    upstream      the same of autoresearch's script, on the same rows
    study         a real study with kill -9 in mid-trial and a trial without memory; overhead, idleness, memory predicted
    shared        two trials at a time under a budget of work, and `confirm`
    more          varlen at the other shapes, for what time is left; all of them decide what ATTENTION should be

Every figure has one line with its bound in gpu_figures.py. Exit code: 0 if all pieces came to their end and no bound is missed,
else 1; 2 for a mistake on the command line. What has no kernel here, or no folder with upstream's script, is not measured, and
that is no failure. Compiled code goes into a cache of its own, which is removed; the text goes where studies look for it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from gpu_figures import Sheet, with_missing
from gpu_pieces import NO_TIME, Work, alive
from gpu_report import PieceEnd, Report, shown
from gpu_sizes import sizes_of

from optimize.errors import ExecutorError
from optimize.executors.slots import Device, cpu_name, detect_device, find_slots, memory_mb


class Piece(NamedTuple):
    """A piece, where its function is, and its seconds of 20 minutes: what it must have, and what it may take."""

    name: str
    function: str
    least_s: int
    most_s: int


PIECES = (
    Piece("environment", "gpu_environment.measure", 20, 90),
    Piece("data", "gpu_environment.prepare", 30, 180),
    Piece("parity", "gpu_parity.measure", 45, 180),
    Piece("attention", "gpu_attention.measure", 30, 120),
    Piece("speed", "gpu_speed.measure", 120, 420),
    Piece("upstream", "gpu_upstream.measure", 60, 240),
    Piece("study", "gpu_study.measure", 300, 540),
    Piece("shared", "gpu_shared.measure", 120, 300),
    Piece("more", "gpu_speed.more", 30, 200),
)
MINUTES, SMOKE_MINUTES, FIGURES = 20, 60, "figures.jsonl"
STOPPED = "stopped by you; the pieces after it were not begun"
NO_DEVICE = "left out: the device does not compute (see works)"


@dataclass(frozen=True)
class Call:
    """What was asked for."""

    device: Device
    small: bool
    minutes: float
    upstream: Path | None
    pieces: tuple[Piece, ...]


def allowed_s(piece: Piece, later: list[Piece], left_s: float, minutes: float) -> float:
    """Return the seconds that a piece may take: those after it keep what they must have. 0: not enough is left."""
    share = minutes / MINUTES
    free = left_s - share * sum(each.least_s for each in later)
    return min(share * piece.most_s, free) if free >= share * piece.least_s else 0.0


def check(call: Call, folder: Path, logs: Path) -> Report:
    """Run all pieces in turn, print their figures, and return them."""
    sheet, until, ends = Sheet(folder / FIGURES), time.time() + 60 * call.minutes, list[PieceEnd]()
    for i, piece in enumerate(call.pieces):
        seconds = allowed_s(piece, list(call.pieces[i + 1 :]), until - time.time(), call.minutes)
        print(f"\n== {piece.name}, {seconds:.0f} s at most", flush=True)
        if sheet.value("works") == 0:
            ends.append(PieceEnd(piece.name, 0.0, NO_DEVICE))
        elif not seconds:
            ends.append(PieceEnd(piece.name, 0.0, NO_TIME))
        else:
            ends.append(run_piece(piece, call, folder, logs, seconds))
        if ends[-1].why == STOPPED:
            break
        report = report_of(call, sheet, ends)
        print(shown(report, piece.name) + (f"\n{ends[-1].name}: {ends[-1].why}" if ends[-1].why else ""), flush=True)
    return report_of(call, sheet, ends)


def report_of(call: Call, sheet: Sheet, ends: list[PieceEnd]) -> Report:
    """Return the figures so far, and why others are missing."""
    why = {piece.name: "not asked for (--pieces)" for piece in PIECES}
    why |= {end.name: end.why or "it came to its end without one" for end in ends}
    command = shlex.join(["python", "benchmarks/gpu.py", *sys.argv[1:]])
    figures = with_missing(sheet.figures(), why)
    return Report(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        command,
        call.device.kind == "cuda" and not call.small,
        figures,
        sheet.facts(),
        ends,
    )


def run_piece(piece: Piece, call: Call, folder: Path, logs: Path, seconds: float) -> PieceEnd:
    """Run one piece in a process group of its own, and end what is left of it."""
    began, log = time.time(), logs / f"{piece.name}.log"
    (folder / piece.name).mkdir()
    words = [
        sys.executable,
        "-u",
        __file__,
        "--device",
        call.device.kind,
        "--work",
        piece.function,
        "--until",
        str(began + seconds),
    ]
    words += ["--folder", str(folder / piece.name), *(["--smoke"] if call.small else [])]
    words += ["--upstream", str(call.upstream)] if call.upstream else []
    with log.open("wb") as said:
        process = subprocess.Popen(
            words, env=environ(call, folder), stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        code = process.wait(seconds)
        why = "" if code == 0 else f"ended with exit code {code}" if code > 0 else f"ended by signal {-code}"
    except subprocess.TimeoutExpired:
        why = f"no end after {seconds:.0f} s; what it had found by then counts"
    except KeyboardInterrupt:
        return PieceEnd(piece.name, time.time() - began, STOPPED)
    finally:
        end_all(process, folder)
    text = log.read_text(errors="replace").strip()
    if why:
        why += f": {text.splitlines()[-1][:300]}" if text else ""
    return PieceEnd(piece.name, time.time() - began, why, text[-3000:] if why else "")


def environ(call: Call, folder: Path) -> dict[str, str]:
    """Return the environment of a piece: an empty cache of compiled code; one GPU, or on a CPU one thread and no GPU."""
    caches = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled/inductor", "TRITON_CACHE_DIR": f"{folder}/compiled/triton"}
    device: dict[str, str] = {}
    with contextlib.suppress(ExecutorError):  # no GPU, which the first piece says
        device = dict(find_slots(call.device.kind, 1)[0].env)
    return {**os.environ, **device, **caches}


def end_all(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Kill the piece's group, wait for guardians to notice, and kill what has the folder in its environment after that."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while (left := alive(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def work(given: argparse.Namespace, device: Device) -> int:
    """Do one piece's work; this is its process."""
    module, _, function = given.work.rpartition(".")
    sheet, sizes = Sheet(given.folder.parent / FIGURES), sizes_of(device, given.smoke)
    measure = getattr(importlib.import_module(module), function)
    measure(Work(sheet, sizes, given.folder, given.until, given.upstream))
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), help="cuda, unless --smoke is given")
    parser.add_argument("--smoke", action="store_true", help="so small that a busy machine can do it; judges no time")
    parser.add_argument(
        "--minutes", type=float, help="for all pieces together (20; 60 for --smoke, which takes one or two)"
    )
    parser.add_argument(
        "--upstream", type=Path, help="a folder with autoresearch's train.py; without it that piece is skipped"
    )
    parser.add_argument("--pieces", help="only these, with commas between them")
    parser.add_argument("--to", type=Path, default=Path("runs/gpu-check"), help="folder of the report and the logs")
    for name, kind in (("work", str), ("folder", Path), ("until", float)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)  # of a piece's own process
    given = parser.parse_args()
    known = {piece.name for piece in PIECES}
    if unknown := {*filter(None, (given.pieces or "").split(","))} - known:
        parser.error(
            f"--pieces: there is no piece {', '.join(sorted(unknown))}. Choose from {', '.join(sorted(known))}."
        )
    if given.minutes is None:  # a busy machine is no failure
        given.minutes = SMOKE_MINUTES if given.smoke else MINUTES
    if given.minutes <= 0:
        parser.error(f"--minutes: {given.minutes:g} is too few.")
    return given


def device_of(kind: str) -> Device:
    """Return what a profile is chosen by; a GPU that nobody finds has no memory, and the first piece says why."""
    found = detect_device()
    if kind == "cpu":
        return Device("cpu", cpu_name(), memory_mb())
    return found if found.kind == kind else Device(kind, "no NVIDIA GPU was found", 0.0, found.note)


def main() -> int:
    given = parsed()
    kind = given.device or ("cpu" if given.smoke else "cuda")
    device = device_of(kind)
    if given.work:
        return work(given, device)
    chosen = tuple(each for each in PIECES if not given.pieces or each.name in given.pieces.split(","))
    call = Call(device, given.smoke, given.minutes, given.upstream and given.upstream.resolve(), chosen)
    shutil.rmtree(given.to / "logs", ignore_errors=True)
    (given.to / "logs").mkdir(parents=True)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was found is written
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as name:
        report = check(call, Path(name).resolve(), given.to / "logs")
    (given.to / "report.md").write_text(report.markdown())
    (given.to / "report.json").write_text(report.json())
    print(f"\n{report.end()}")
    print(
        f"{(time.monotonic() - began) / 60:.1f} min; to send: {given.to}/report.md, report.json; more in {given.to}/logs"
    )
    return report.code


if __name__ == "__main__":
    sys.exit(main())
