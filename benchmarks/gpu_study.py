"""A piece of `gpu.py`: a real study under a budget of time. Its driver is killed with -9 in mid-trial, and started again.

The baseline and two other shapes come first, then a trial that fits no device, then what the sampler proposes. What is asked:
is anything lost, doubled or left behind; is a trial that runs out of memory told so, and others like it avoided; what a trial
costs besides its training; how long the GPU stands idle; how well memory can be predicted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from gpu_driver import TRIPLE, Stage, wait, wait_until, write_profile, write_space
from gpu_pieces import Work, alive
from gpu_sizes import DEEP, DEFAULT, SHALLOW
from gpu_trial import environment

from optimize.executors.slots import find_slots
from optimize.script.derived import scorer
from optimize.script.load_workload import load_workload
from optimize.search import Memory
from optimize.search.memory import footprint
from optimize.trial import Value
from search_spaces import load_space
from storage import TrialRecord

RATES = {"MATRIX_LR": [0.02, 0.04, 0.06], "EMBEDDING_LR": [0.3, 0.6, 0.9]}
NUMBER = "DEVICE_BATCH_SIZE"


def measure(work: Work) -> None:
    """Run the study, strike it, go on, and judge what is in its database."""
    stage = Stage(work.folder, work.folder.parent, work.sizes.kind)
    set_up(work)
    words = ("run", "--trials", str(work.sizes.trials))
    with idle_samples(work) as idle:
        before, struck = strike(work, stage, words)
        code = wait(stage.start(*words), work.left_s - 5)
        if code:
            raise RuntimeError(f"the second driver ended with {code}: {stage.told()}")
    after = stage.records()
    for kind, value, note in [*kept(before, after, work.sizes.full_rows), *costs(after, struck)]:
        work.sheet.add(kind, value, note=note)
    memory(work, after)
    if idle:
        work.sheet.add("idle_share", sum(each <= 5 for each in idle) / len(idle), note=f"{len(idle)} samples")
    else:
        work.sheet.miss("idle_share", "nvidia-smi was not asked, or had no answer")


def set_up(work: Work) -> None:
    """Write the study's files: as many shapes as were compiled, and one that fits no device."""
    sizes = work.sizes
    shapes = [tuple(int(sizes.shapes[name][key]) for key in TRIPLE) for name in (DEFAULT, SHALLOW, DEEP)]  # type: ignore[arg-type]
    depth = shapes[0][0]
    full = (depth, sizes.full_rows, sizes.full_rows * int(sizes.constants["MAX_SEQ_LEN"]))  # type: ignore[arg-type]
    triples = [*shapes, full]
    parameters = {key: sorted({each[i] for each in triples}) for i, key in enumerate(TRIPLE)}
    starts = [dict(zip(TRIPLE, each, strict=True)) for each in triples[1:]]
    slots: dict[str, Value] = {"count": 1}
    write_profile(
        work.folder, sizes.kind, sizes.of(DEFAULT, TIME_BUDGET=sizes.study_s), slots, 30 * sizes.study_s + 240
    )
    write_space(work.folder, {**parameters, **RATES}, starts, triples)


def strike(work: Work, stage: Stage, words: Sequence[str]) -> tuple[list[TrialRecord], float]:
    """Kill the first driver with -9 in the middle of its third trial or later; return what was there, and when."""
    driver = stage.start(*words)
    try:
        wait_until(lambda: driver.poll() is not None or in_mid_trial(work, stage.records()), work.left_s / 2)
        if driver.poll() is not None:
            raise RuntimeError(f"the first driver ended with {driver.returncode}: {stage.told()}")
    finally:
        driver.kill()
        driver.wait()
    struck = time.time()
    try:
        work.sheet.add("alive_s", wait_until(lambda: not alive(stage.mark), 60))
    except TimeoutError as error:
        work.sheet.add("alive_s", 60, note=f"{error}: {alive(stage.mark)}")
    return stage.records(), struck


def in_mid_trial(work: Work, records: Sequence[TrialRecord]) -> bool:
    running = [each for each in records if each.state == "RUNNING" and each.params[NUMBER] != work.sizes.full_rows]
    if sum(each.is_finished for each in records) < 2 or not running or running[-1].started is None:
        return False
    return time.time() - running[-1].started.timestamp() > work.sizes.study_s / 2


# --- what is judged ---------------------------------------------------------------------------------------------------

Found = Iterator[tuple[str, float, str]]


def kept(before: Sequence[TrialRecord], after: Sequence[TrialRecord], full_rows: int) -> Found:
    """Yield what became of the trials: kind, value, note."""
    values = {each.number: each.value for each in after if each.state == "COMPLETE"}
    lost = [each.number for each in before if each.state == "COMPLETE" and values.get(each.number) != each.value]
    yield "lost", len(lost), ", ".join(map(str, lost))
    configurations = Counter(str(sorted(each.params.items())) for each in after if each.state == "COMPLETE")
    yield "doubled", sum(count - 1 for count in configurations.values()), ""
    stuck = [f"{each.number} {each.state}" for each in after if not each.is_finished]
    yield "stuck", len(stuck), ", ".join(stuck)
    interrupted = [each.number for each in before if each.state == "RUNNING"]
    again = [each for each in after if each.requeue_of in interrupted or (each.number in interrupted and each.value)]
    if interrupted:  # else the kill came between two trials
        yield "requeued", len(again) / len(interrupted), f"interrupted: {', '.join(map(str, interrupted))}"
    out = [each.number for each in after if each.status == "out_of_memory"]
    yield "out_of_memory", len(out), ", ".join(map(str, out))
    yield "out_again", sum(number > out[0] for number in out) if out else 0, ""
    could = [each for each in after if each.params[NUMBER] != full_rows and each.number not in interrupted]
    failed = [f"{each.number} {each.status}: {each.reason}" for each in could if each.state != "COMPLETE"]
    yield "complete", 1 - len(failed) / max(len(could), 1), "; ".join([f"{len(values)} trials", *failed])


def costs(after: Sequence[TrialRecord], struck: float) -> Found:
    """Yield what trials cost besides their training."""
    seen = set[object]()
    overheads = []
    done = [each for each in after if each.state == "COMPLETE" and each.started and each.finished]
    for each in done:
        shape = each.params["DEPTH"]
        if shape in seen:
            overheads.append((each.seconds or 0.0) - trained(each))
        seen.add(shape)
    if overheads:
        yield "overhead_s", statistics.median(overheads), f"{len(overheads)} trials, {max(overheads):.1f} s at most"
    ended = sorted((each for each in after if each.finished and each.seconds), key=lambda each: each.finished or 0)
    gaps = []
    for earlier, later in pairwise(ended):
        assert earlier.finished
        assert later.finished
        assert later.seconds
        if not earlier.finished.timestamp() <= struck <= later.finished.timestamp():
            gaps.append(later.finished.timestamp() - later.seconds - earlier.finished.timestamp())
    if gaps:
        yield "idle_between_s", statistics.median(gaps), f"{max(gaps):.1f} s at most"
    if done:
        first, last = min(each.started for each in done), max(each.finished for each in done)  # type: ignore[type-var]
        yield "training_share", sum(map(trained, done)) / (last - first).total_seconds(), ""  # type: ignore[operator]


def trained(record: TrialRecord) -> float:
    return float(record.summary["training_seconds"])


def memory(work: Work, records: Sequence[TrialRecord]) -> None:
    """Write how well peaks follow the workload's expression, and what the product's own model believes at the end."""
    workload = load_workload("gpt")
    score = scorer(workload.memory, workload.derived, {**workload.constants(), **work.sizes.of(DEFAULT)})
    assert score
    space = load_space(str(work.folder / "space.toml"))
    model = Memory(space, score, find_slots(work.sizes.kind, 1)[0].memory_mb)
    shown = [(each, seen) for each in records if (seen := footprint(each.state, each.status, each.summary))]
    for each, seen in shown:
        model.learned(each.params, seen)  # type: ignore[arg-type]  # no tuples here
    wrong = [each.number for each, seen in shown if model.unlikely_to_fit(each.params) is seen.fitted]  # type: ignore[arg-type]
    work.sheet.add("misjudged", len(wrong), note=f"{', '.join(map(str, wrong))} {model}".strip())
    peaks = [(score(each.params) or 0.0, seen.peak_mb) for each, seen in shown if seen.fitted and seen.peak_mb]  # type: ignore[arg-type]
    peaks += direct_peaks(work, score)
    error, note = prediction_error(peaks)
    if error is None:
        work.sheet.miss("memory_error", note)
    else:
        work.sheet.add("memory_error", error, note=note)


def direct_peaks(work: Work, score: Callable[[Mapping[str, Value]], float | None]) -> list[tuple[float, float]]:
    """Return score and peak of the runs without a study, in the same unit."""
    found = []
    for shape in work.sizes.direct:
        if peak := work.sheet.value("peak_mb", f"{shape}, auto"):
            found.append((score(work.sizes.of(shape)) or 0.0, peak * 1.048576))
    return found


def prediction_error(peaks: Sequence[tuple[float, float]]) -> tuple[float | None, str]:
    """Return the worst relative error of predicting a peak by a line through all others; None where that cannot be."""
    if len({score for score, _ in peaks}) < 3:
        return None, "it takes peaks of three shapes; a CPU has none"
    each = [_predicted([*peaks[:i], *peaks[i + 1 :]], score) / peak - 1 for i, (score, peak) in enumerate(peaks)]
    unseen = [_predicted([pair for pair in peaks if pair[0] != score], score) / peak - 1 for score, peak in peaks]
    note = f"{len(peaks)} peaks; for a shape that was never seen {max(map(abs, unseen)):.1%}"
    return max(map(abs, each)), note


def _predicted(peaks: Sequence[tuple[float, float]], score: float) -> float:
    """Return the peak at `score` on the line that has the smallest relative residuals."""
    scores, sizes = np.array(peaks).T
    rows = np.stack([1 / sizes, scores / scores.max() / sizes], axis=1)
    fixed, slope = np.linalg.lstsq(rows, np.ones(len(sizes)), rcond=None)[0]
    return float(fixed + slope * score / scores.max())


@contextmanager
def idle_samples(work: Work) -> Iterator[list[int]]:
    """Have nvidia-smi write the GPU's utilisation twice a second; the list is filled at the end, in percent."""
    samples: list[int] = []
    if work.sizes.kind != "cuda":
        yield samples
        return
    path = work.folder / "utilisation.txt"
    gpu = environment("cuda").get("CUDA_VISIBLE_DEVICES", "0")
    words = [
        "nvidia-smi",
        f"--id={gpu}",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        "--loop-ms=500",
    ]
    with (
        path.open("w") as file,
        subprocess.Popen(words, stdout=file, stderr=subprocess.DEVNULL, env=unmarked()) as sampler,
    ):
        try:
            yield samples
        finally:
            sampler.terminate()
    samples += read_samples(path)


def unmarked() -> dict[str, str]:
    """Return an environment by which the sampler is not taken for a process of the study."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH", "HOME")}


def read_samples(path: Path) -> list[int]:
    """Return what was sampled, in percent; a line may be cut, or say that the GPU tells nothing."""
    return [int(line) for line in path.read_text().splitlines() if line.strip().isdigit()]
