"""The arithmetic and the judgement of `benchmarks/gpu.py`, whose pieces CI runs on a CPU: made-up figures, studies and logs."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from optimize.config.plan import make_plan
from optimize.config.settings import load_settings
from optimize.executors.slots import Device
from storage import TrialRecord

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Modules:
    """The benchmark's modules by name."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(name)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield Modules()
    for name in [name for name in sys.modules if name == "gpu" or name.startswith("gpu_")]:
        del sys.modules[name]


def figure(gpu: Any, kind: str, value: float | None, of: str = "") -> Any:
    return gpu.gpu_figures.Figure(kind, value, of)


def test_a_figure_keeps_its_bound_or_misses_it_and_speed_is_judged_on_a_gpu_only(gpu: Any) -> None:
    def verdicts(kind: str, value: float | None) -> list[str]:
        return [gpu.gpu_figures.verdict(figure(gpu, kind, value), on_gpu) for on_gpu in (True, False)]

    assert verdicts("lost", 0) == ["pass", "pass"]
    assert verdicts("lost", 1) == ["FAIL", "FAIL"]
    assert verdicts("overhead_s", 5.1) == ["FAIL", "measured"]
    assert verdicts("tokens_per_s", 1.0) == ["measured", "measured"]
    assert verdicts("gradient_error", None) == ["not measured"] * 2
    assert verdicts("gradient_error", float("nan")) == ["FAIL", "FAIL"]
    assert verdicts("requeued", 2) == ["FAIL", "FAIL"]


def test_every_kind_of_figure_belongs_to_a_piece_and_every_piece_has_its_function(gpu: Any) -> None:
    pieces = {piece.name: piece for piece in gpu.gpu.PIECES}
    assert {bound.piece for bound in gpu.gpu_figures.KINDS.values()} == {*pieces} - {"more"}
    for piece in pieces.values():
        module, _, function = piece.function.partition(".")
        assert f"\ndef {function}(work: Work)" in (BENCHMARKS / f"{module}.py").read_text()
        assert 0 < piece.least_s < piece.most_s
    assert sum(piece.least_s for piece in pieces.values()) < 60 * gpu.gpu.MINUTES


def test_a_piece_leaves_to_those_after_it_what_they_must_have(gpu: Any) -> None:
    piece = gpu.gpu.Piece
    long, later = piece("long", "", 100, 500), [piece("next", "", 200, 300), piece("last", "", 50, 50)]
    allowed = gpu.gpu.allowed_s
    assert allowed(long, later, left_s=1200, minutes=20) == 500
    assert allowed(long, later, left_s=400, minutes=20) == 150
    assert allowed(long, later, left_s=340, minutes=20) == 0
    assert allowed(long, later, left_s=2400, minutes=40) == 1000


def test_a_sheet_has_what_was_written_before_a_piece_was_killed(gpu: Any, tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    sheet = gpu.gpu_figures.Sheet(path)
    sheet.add("peak_mb", 7, "deep, auto")
    sheet.miss("varlen_gain", "no kernel", "deep")
    sheet.fact("type", "float16")
    path.write_text(path.read_text() + '{"figure": {"ki')
    assert sheet.value("peak_mb", "deep, auto") == 7
    assert sheet.value("varlen_gain", "deep") is None
    assert sheet.facts() == {"type": "float16"}
    with pytest.raises(KeyError):
        sheet.add("no such kind", 1)


@pytest.mark.parametrize(
    ("gains", "error", "stays"),
    [
        ({"default": 1.1}, 0.01, False),
        ({"default": 1.1, "deep": 0.99, "shallow": 1.2}, 0.01, False),
        ({"default": 1.01}, 0.01, True),  # noise must not change a default
        ({"default": 1.1, "deep": 0.9}, 0.01, True),
        ({"default": 1.1}, 0.5, True),  # fast and wrong
        ({"default": 1.1}, None, True),
        ({"deep": 1.5}, 0.01, True),
        ({}, 0.01, True),
    ],
)
def test_varlen_is_chosen_only_where_it_is_right_and_clearly_faster(
    gpu: Any, gains: dict[str, float], error: float | None, stays: bool
) -> None:
    figures = [figure(gpu, "varlen_gain", gain, shape) for shape, gain in gains.items()]
    figures.append(figure(gpu, "gradient_error", error, "varlen, bfloat16"))
    figures.append(figure(gpu, "gradient_error", 9.0, "auto, bfloat16"))  # not about varlen
    assert gpu.gpu_report.decide(figures, {}).startswith('ATTENTION stays "auto"') == stays


def test_a_missed_bound_or_a_failed_piece_is_in_the_exit_code_and_in_the_report(gpu: Any) -> None:
    ends = [gpu.gpu_report.PieceEnd("study", 3.0)]
    figures = gpu.gpu_figures.with_missing([figure(gpu, "lost", 0)], {"study": "it came to its end without one"})
    report = gpu.gpu_report.Report("today", "gpu.py", True, figures, {"device": "a GPU"}, ends)
    assert report.code == 0
    assert len(figures) == len(gpu.gpu_figures.KINDS)
    failed = replace(
        report, pieces=[*ends, gpu.gpu_report.PieceEnd("speed", 1.0, "ended by signal 11", "the end | of it")]
    )
    missed = replace(report, figures=[*figures, figure(gpu, "stuck", 2), figure(gpu, "memory_error", float("nan"))])
    assert (failed.code, missed.code) == (1, 1)
    assert "the end | of it" in failed.markdown()
    assert "| FAIL | stuck | 2 | <= 0 |" in missed.markdown()
    assert "missed: stuck 2, not <= 0; memory_error nan, not <= 0.03" in missed.end()
    rows = json.loads(missed.json().replace("NaN", "no JSON"))["figures"]
    assert [row["value"] for row in rows[-2:]] == [2, None]


# --- the machine ------------------------------------------------------------------------------------------------------


def test_a_gpu_runs_kernels_of_its_own_major_version_that_are_no_later_than_itself(gpu: Any) -> None:
    found = gpu.gpu_environment.kernels_for
    built = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_90a", "sm_100", "sm_120", "compute_120"]
    assert found((8, 9), built) == ["sm_80", "sm_86"]
    assert found((9, 0), built) == ["sm_90", "sm_90a"]
    assert found((12, 1), built) == ["sm_120"]
    assert found((7, 0), built) == []


def test_what_is_unusual_of_a_gpu_is_told_apart_from_what_a_driver_does_not_know(gpu: Any) -> None:
    def bad(mode: str, mig: str, errors: str) -> int:
        values = ("580.65", mode, mig, errors, "700.00 W")
        return len(gpu.gpu_environment.what_is_unusual(dict(zip(gpu.gpu_environment.QUERY, values, strict=True))))

    assert bad("Default", "[N/A]", "[N/A]") == 0
    assert bad("Default", "Disabled", "0") == 0
    assert bad("Exclusive_Process", "Enabled", "3") == 3


def test_samples_that_are_cut_or_say_nothing_are_left_out(gpu: Any, tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("97\n 0\n[N/A]\n100\n\n")
    assert gpu.gpu_study.read_samples(tmp_path / "samples") == [97, 0, 100]


# --- one script -------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_run_are_told_from_the_moments_of_its_lines(gpu: Any) -> None:
    said = [
        (3.0, "H100, bfloat16\nFLOPs a step: 1\n"),
        (4.0, "a FLOP_BUDGET also pays for 1\nRecompiling function adamw_update\n"),
        (24.5, "\rstep 00000 (0.0%) | loss: 9.0 | dt: 500ms | tok/sec: 1,000 | mfu: 1%    "),
        (25.0, "\rstep 00011 (50.0%) | loss: 8.0 | dt: 250ms | tok/sec: 2,000 | mfu: 1%    "),
        (25.5, "\rstep 00012 (99.0%) | loss: 7.0 | dt: 125ms | tok/sec: 4,000 | mfu: 1%    \n"),
        (25.6, "Recompiling function loss\n"),
        (28.0, "---\nval_bpb:   1.0\n"),
    ]
    ran = gpu.gpu_trial.Ran(said, {"val_bpb": "1.0"})
    assert (ran.start_s, ran.warm_up_s, ran.evaluation_s) == (4.0, 20.0, 2.5)
    assert ran.compiled_again == 1
    assert ran.tokens_per_s(11) == pytest.approx(2 / (1 / 2000 + 1 / 4000))
    with pytest.raises(gpu.gpu_trial.TrialFailed, match="fewer than 14 steps"):
        ran.tokens_per_s(13)


def test_a_constant_that_neither_script_has_is_refused(gpu: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="NO_SUCH"):
        gpu.gpu_trial.write(tmp_path / "scripts", {"DEPTH": 2, "MAX_SEQ_LEN": 64, "NO_SUCH": 1})
    assert re.search(r"(?m)^DEPTH = 2$", (tmp_path / "scripts" / "train.py").read_text())
    assert re.search(r"(?m)^MAX_SEQ_LEN = 64\b", (tmp_path / "scripts" / "prepare.py").read_text())


@pytest.mark.parametrize(("its_own", "judged"), [(False, "varlen"), (True, "auto")])
def test_upstream_is_compared_with_its_kernel_or_each_with_its_best(
    gpu: Any, tmp_path: Path, its_own: bool, judged: str
) -> None:
    upstream = gpu.gpu_upstream
    sheet = gpu.gpu_figures.Sheet(tmp_path / "figures.jsonl")
    work = gpu.gpu_pieces.Work(sheet, gpu.gpu_sizes.sizes_of(Device("cuda", "H100", 80_000)), tmp_path, 0.0)
    sheet.fact("upstream's attention", upstream.BEST if its_own else upstream.SAME)
    for attention, rate in (("auto", 110.0), ("varlen", 90.0)):
        sheet.add("tokens_per_s", rate, f"default, {attention}")
    sheet.add("upstream_tokens_per_s", 100.0, "default")
    for attention in ("auto", "varlen"):
        upstream.compare(work, "default", attention)
    shares = {(each.kind, each.of): each.value for each in sheet.figures() if each.kind.startswith("share")}
    other = {"auto": "varlen", "varlen": "auto"}[judged]
    assert shares.keys() == {("share_of_upstream", f"default, {judged}"), ("share_elsewhere", f"default, {other}")}
    assert shares["share_of_upstream", f"default, {judged}"] == pytest.approx({"auto": 1.1, "varlen": 0.9}[judged])


# --- studies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "memory_mb"), [("H100", 80_000), ("RTX 4090", 25_000), ("T4", 16_000)])
def test_the_studies_of_every_gpu_can_be_planned(gpu: Any, tmp_path: Path, name: str, memory_mb: float) -> None:
    sizes = gpu.gpu_sizes.sizes_of(Device("cuda", name, memory_mb))
    set_up = {"study": gpu.gpu_study.set_up, "shared": lambda work: gpu.gpu_shared.set_up(work, 10**15)}
    for piece, (starts, feasible) in {"study": (3, 4 * 9), "shared": (1, 9)}.items():
        folder = tmp_path / piece
        folder.mkdir()
        set_up[piece](gpu.gpu_pieces.Work(gpu.gpu_figures.Sheet(tmp_path / "sheet"), sizes, folder, 0.0))
        plan = make_plan(load_settings(str(folder / "profile.toml"), "a test", {"runs": tmp_path}, {}))
        assert (len(plan.starts.planned), plan.starts.left_out) == (starts, ())
        assert plan.space.count_feasible(plan.constants) == feasible  # four shapes are compiled, and no other


def trial(number: int, state: str = "COMPLETE", **more: Any) -> TrialRecord:
    """A trial of 40 s, 30 of them training, that began a minute after the one before it."""
    begun = BEGAN + timedelta(minutes=number)
    status = {"COMPLETE": "complete", "FAIL": "lost"}.get(state, "")
    known = {"params": {"DEPTH": 8, "DEVICE_BATCH_SIZE": 16, "MATRIX_LR": number}, "status": status, "seconds": 40.0}
    known |= {
        "started": begun,
        "finished": begun + timedelta(seconds=41),
        "value": 1.0 if state == "COMPLETE" else None,
    }
    known |= {"summary": {"training_seconds": 30.0, "peak_vram_mb": 1000.0, "charged_flops": 1e12}}
    return TrialRecord(number, number, state, **known | more)


def test_what_a_kill_leaves_is_judged_from_the_trials_before_and_after(gpu: Any) -> None:
    before = [trial(0), trial(1), trial(2, "RUNNING", value=None, finished=None)]
    full = {"DEPTH": 8, "DEVICE_BATCH_SIZE": 4096, "MATRIX_LR": 0}
    ended = [
        trial(0),
        trial(1),
        trial(2, "FAIL"),
        trial(3, requeue_of=2),
        trial(4, "PRUNED", status="out_of_memory", params=full),
    ]

    def found(after: list[TrialRecord]) -> dict[str, float]:
        return {kind: value for kind, value, _ in gpu.gpu_study.kept(before, after, 4096)}

    good = {"lost": 0, "doubled": 0, "stuck": 0, "requeued": 1, "out_of_memory": 1, "out_again": 0, "complete": 1}
    assert found(ended) == good
    assert found([*ended, trial(5, "WAITING")])["stuck"] == 1
    assert found([replace(ended[0], value=0.9), *ended[2:]])["lost"] == 2
    assert found([*ended, replace(trial(5), params=ended[1].params)])["doubled"] == 1
    assert found([each for each in ended if each.requeue_of is None])["requeued"] == 0
    assert found([*ended, replace(ended[4], number=5)])["out_again"] == 1
    assert found([*ended, trial(5, "FAIL", status="crashed")])["complete"] == 0.75  # of those that could
    adopted = [*ended[:2], trial(2), ended[4]]  # it had printed its summary when its driver died
    assert found(adopted)["requeued"] == 1


def test_costs_leave_out_the_first_trial_of_a_shape_and_the_gap_that_the_kill_made(gpu: Any) -> None:
    trials = [trial(0, seconds=300.0), trial(1, seconds=34.0), trial(2, seconds=36.0), trial(3)]
    struck = (BEGAN + timedelta(minutes=3)).timestamp()
    found = {kind: value for kind, value, _ in gpu.gpu_study.costs(trials, struck)}
    assert found["overhead_s"] == 6.0  # of 4, 6 and 10
    assert found["idle_between_s"] == pytest.approx(60 - 35)  # of 60 - 34 and 60 - 36
    assert found["training_share"] == pytest.approx(4 * 30 / (3 * 60 + 41))


def test_a_peak_is_predicted_by_a_line_through_all_others(gpu: Any) -> None:
    predict = gpu.gpu_study.prediction_error
    peaks = [(score, 1000 + 3 * score) for score in (100.0, 100.0, 400.0, 900.0, 900.0)]
    assert predict(peaks)[0] == pytest.approx(0, abs=1e-9)
    error, note = predict([*peaks, (400.0, 1.1 * 2200)])
    assert 0.05 < error < 0.12
    assert note.startswith("6 peaks")
    assert predict(peaks[:3])[0] is None


def test_trials_beside_each_other_are_found_by_their_processes_times(gpu: Any) -> None:
    together = [trial(0), trial(1, finished=BEGAN + timedelta(seconds=43)), trial(5)]
    assert gpu.gpu_shared.most_at_once(together) == 2
    assert gpu.gpu_shared.most_at_once([trial(0), trial(1)]) == 1


def test_two_at_a_time_are_compared_with_the_baseline_which_was_alone(gpu: Any) -> None:
    at = [BEGAN + timedelta(seconds=seconds) for seconds in (41, 91, 92, 141, 142)]
    seconds = (40.0, 49.0, 50.0, 49.0, 50.0)
    trials = [trial(i, finished=at[i], seconds=seconds[i], kind="sampler" if i else "baseline") for i in range(5)]
    assert gpu.gpu_shared.trials_gain(trials) == pytest.approx(4 * 40 / 100)
    assert gpu.gpu_shared.trials_gain(trials[1:]) is None
