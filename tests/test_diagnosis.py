"""What a script's output means: progress, summary, and each cause of death told from the others."""

from __future__ import annotations

import math
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.runner.diagnosis import REASON_CHARS, Exit, diagnose, parse_progress, parse_summary
from optimize.runner.stop import StopRequest
from optimize.trial import Metric, Progress, TrialStatus

LINE = (
    "step 00100 (33.3%) | loss: 3.456789 | lrm: 1.00 | dt: 300ms | tok/sec: 1,234 | mfu: 39.8% | epoch: 1 "
    "| remaining: 200s    "
)
SUMMARY = """---
val_bpb:          0.997900
training_seconds: 300.1
peak_vram_mb:     45060.2
mfu_percent:      n/a
num_steps:        953
dataset:          tinystories
"""
SUCCESS, FAILURE = Exit(0, 1.0), Exit(1, 1.0)


# --- progress ---------------------------------------------------------------------------------------------------------


def test_autoresearchs_progress_line_is_understood() -> None:
    expected = Progress(7, fraction=0.333, step=100, loss=3.456789, tokens_per_s=1234.0, remaining_s=200.0)
    assert parse_progress(LINE, number=7) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("step 00001 (0.1%) | loss: 9.1 | mfu: n/a | tok/sec: n/a", Progress(0, 0.001, 1, 9.1)),
        ("step 5 (5%)", Progress(0, 0.05, 5)),
        ("step 30/120 | train_loss 2.5", Progress(0, 0.25, 30, 2.5)),
        ("Step: 3 | loss: 1e-3", Progress(0, 0.0, 3, 0.001)),
        ("step 3 (120.0%) | loss: inf", Progress(0, 1.0, 3, math.inf)),
        ("step 00100 (33.3%) | loss: 3.4 | remaining: 200s    FAIL", Progress(0, 0.333, 100, 3.4, None, 200.0)),
    ],
)
def test_forks_may_leave_fields_out(line: str, expected: Progress) -> None:
    assert parse_progress(line) == expected


@pytest.mark.parametrize(
    "line", ["", "---", "val_bpb: 1.0", "the next step 00100 (33.3%)", "stepping 3", "step by step"]
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert parse_progress(line) is None


def test_a_loss_that_is_nan_is_told_as_nan() -> None:
    progress = parse_progress("step 3 (1.0%) | loss: nan")
    assert progress is not None
    assert progress.loss is not None
    assert math.isnan(progress.loss)


FIELD = st.text(st.sampled_from("0123456789.,:-+%()|/ neaif"), max_size=12)


@settings(deadline=None)
@given(st.text() | st.builds("step {} ({}%) | loss: {} | tok/sec: {} | remaining: {}s".format, *[FIELD] * 5))
def test_no_line_raises(line: str) -> None:
    parse_progress(line)


# --- the summary ------------------------------------------------------------------------------------------------------


def test_numbers_are_numbers_and_the_rest_is_text() -> None:
    assert parse_summary("training\n" + SUMMARY) == {
        "val_bpb": 0.9979,
        "training_seconds": 300.1,
        "peak_vram_mb": 45060.2,
        "mfu_percent": "n/a",
        "num_steps": 953.0,
        "dataset": "tinystories",
    }


def test_only_the_last_block_counts() -> None:
    assert parse_summary(f"---\nval_bpb: 0.1\nother: 2\n{LINE}\n---\nval_bpb:   1.5\n") == {"val_bpb": 1.5}


def test_the_block_ends_with_the_first_other_line() -> None:
    assert parse_summary("---\nval_bpb: 1.5\nsaved the model\nval_bpb: 0.1\n") == {"val_bpb": 1.5}


@pytest.mark.parametrize(
    "log", ["", "val_bpb: 1.5\n", "--- \nval_bpb: 1.5\n", "----\nval_bpb: 1.5\n", "x ---\nval_bpb: 1\n", "---"]
)
def test_without_a_line_that_is_exactly_the_rule_there_is_no_summary(log: str) -> None:
    assert parse_summary(log) == {}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do(end: str) -> None:
    assert parse_summary(f"{LINE}{end}---{end}val_bpb: 1.5{end}steps: 3") == {"val_bpb": 1.5, "steps": 3.0}


def test_a_number_with_an_underscore_is_text() -> None:
    assert parse_summary("---\nval_bpb: 1_5\n") == {"val_bpb": "1_5"}


@settings(deadline=None)
@given(
    st.text(st.characters(), max_size=200)
    | st.lists(st.sampled_from(["---", "a: 1", "\n", "\r", ":", " "])).map("".join)
)
def test_no_log_raises(log: str) -> None:
    parse_summary(log)
    for end in (SUCCESS, FAILURE, Exit(-9, 1.0), Exit(None, 0.0, StopRequest(TrialStatus.LOST, "why"))):
        reason = diagnose(log, end, Metric()).reason
        assert len(reason) <= REASON_CHARS
        assert reason.isprintable()


# --- endings ----------------------------------------------------------------------------------------------------------


def traceback(*last_lines: str, file: str = "/place/7/files/train.py", source: str = "step()") -> str:
    frame = f'  File "{file}", line 12, in <module>\n    {source}\n    ^^^^^^\n'
    return f"{LINE}Traceback (most recent call last):\n{frame}" + "\n".join(last_lines) + "\n"


def ending(log: str, end: Exit = FAILURE) -> tuple[TrialStatus, str]:
    outcome = diagnose(log, end, Metric())
    return outcome.status, outcome.reason


CAUSES = {
    TrialStatus.OUT_OF_MEMORY: [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79 GiB",
        "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "RuntimeError: CUDA error: out of memory",
        "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: MPS backend out of memory (MPS allocated: 17.90 GB)",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you",
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3 TiB. MemoryError",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "OSError: [Errno 12] Cannot allocate memory",
    ],
    TrialStatus.DIVERGED: ["RuntimeError: loss is nan at step 12", "FloatingPointError: overflow"],
    TrialStatus.INFEASIBLE: [
        "AssertionError: TOTAL_BATCH_SIZE must be a multiple",
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 245760, limit: 232448",
    ],
    TrialStatus.ENVIRONMENT: [
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
        "RuntimeError: CUDA driver version is insufficient for CUDA runtime version",
        "RuntimeError: Found no NVIDIA driver on your system.",
        "AssertionError: Torch not compiled with CUDA enabled",
        "ModuleNotFoundError: No module named 'kernels'",
        "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory",
        "FileNotFoundError: [Errno 2] No such file or directory: '/root/.cache/autoresearch/tokenizer/tokenizer.pkl'",
        "FileNotFoundError: [Errno 2] No such file or directory: 'shard_00001.parquet'",
        "pyarrow.lib.ArrowInvalid: Parquet magic bytes not found in footer.",
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 30] Read-only file system: '/root/.cache/torch'",
        "OSError: [Errno 122] Disk quota exceeded",
        "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub",
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries",
        "PermissionError: [Errno 13] Permission denied: '/data/tokens.bin'",
    ],
    TrialStatus.DEVICE_FAILED: [
        "RuntimeError: No CUDA GPUs are available",
        "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    ],
    TrialStatus.CRASHED: [
        "ValueError: shapes do not fit",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "FileNotFoundError: [Errno 2] No such file or directory: 'notes'",
        "KeyError: 'DEPTH'",
    ],
}


@pytest.mark.parametrize(("status", "line"), [(status, line) for status, lines in CAUSES.items() for line in lines])
def test_the_last_exception_names_the_cause(status: TrialStatus, line: str) -> None:
    got, reason = ending(traceback(line))
    assert got is status
    assert line[:60] in reason


def test_a_broken_environment_comes_with_advice() -> None:
    reason = ending(traceback("RuntimeError: CUDA error: no kernel image is available " + "for this device " * 100))[1]
    assert "install" in reason


def test_a_script_that_completed_is_complete_whatever_it_talked_about() -> None:
    log = f"hint: on CUDA out of memory ...\n{traceback('ModuleNotFoundError: x')}FAIL\n{SUMMARY}"
    assert ending(log, SUCCESS) == (TrialStatus.COMPLETE, "")


def test_a_banner_is_no_cause_of_death() -> None:
    log = f"hint: on out of memory, No space left on device, FAIL\n{traceback('ValueError: no')}"
    assert ending(log) == (TrialStatus.CRASHED, "ValueError: no")


def test_a_block_before_the_crash_is_no_result() -> None:
    assert ending(f"{SUMMARY}{traceback('RuntimeError: later')}") == (TrialStatus.CRASHED, "RuntimeError: later")


def test_a_block_with_a_failing_exit_code_is_no_result() -> None:
    status, reason = ending(SUMMARY, Exit(7, 1.0))
    assert status is TrialStatus.CRASHED
    assert reason.startswith("exit code 7")


def test_a_block_before_the_training_is_no_result() -> None:
    assert ending(f"{SUMMARY}\r{LINE}\r{LINE}", SUCCESS)[0] is TrialStatus.CRASHED


def test_words_after_the_summary_do_no_harm() -> None:
    assert ending(f"{SUMMARY}\nwandb: synced\nbye\n", SUCCESS)[0] is TrialStatus.COMPLETE


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("", "without a summary"),
        (f"{LINE}\n", "without a summary"),
        ("---\nval_loss: 1.5\n", "without `val_bpb`"),
        ("---\nval_bpb: n/a\n", "not a number"),
    ],
)
def test_exit_code_0_without_a_result_is_a_crash_that_says_what_is_missing(log: str, says: str) -> None:
    status, reason = ending(log, SUCCESS)
    assert status is TrialStatus.CRASHED
    assert says in reason


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN"])
def test_a_metric_that_is_not_finite_means_diverged(value: str) -> None:
    assert ending(f"---\nval_bpb: {value}\n", SUCCESS)[0] is TrialStatus.DIVERGED


@pytest.mark.parametrize("log", ["FAIL\n", f"{LINE}FAIL\n", f"\r{LINE}\nFAIL\nbye\n"])
def test_fail_means_diverged(log: str) -> None:
    assert ending(log)[0] is TrialStatus.DIVERGED


def test_another_metric_can_be_asked_for() -> None:
    assert diagnose("---\nscore: 3\n", SUCCESS, Metric("score", "maximize")).status is TrialStatus.COMPLETE


def test_sigkill_from_elsewhere_is_the_kernels_out_of_memory_killer() -> None:
    status, reason = ending(LINE, Exit(-signal.SIGKILL, 1.0))
    assert status is TrialStatus.OUT_OF_MEMORY
    assert "SIGKILL" in reason
    assert ending(LINE, Exit(137, 1.0))[0] is TrialStatus.OUT_OF_MEMORY


def test_another_signal_is_a_crash_and_named() -> None:
    assert ending("bye\n", Exit(-signal.SIGSEGV, 1.0)) == (TrialStatus.CRASHED, "ended by SIGSEGV: bye")


def test_a_c_plus_plus_abort_without_a_traceback_is_read_from_the_last_lines() -> None:
    log = "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA error: out of memory\n"
    frames = "".join(f"frame #{i}: c10::detail() + 0x{i}\n" for i in range(30))
    assert ending(log + frames, Exit(-signal.SIGABRT, 1.0))[0] is TrialStatus.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "status", [TrialStatus.TIMED_OUT, TrialStatus.HOPELESS, TrialStatus.CANCELLED, TrialStatus.LOST]
)
def test_what_we_ended_is_told_as_the_reason_why_we_did(status: TrialStatus) -> None:
    log = traceback("KeyboardInterrupt")
    assert ending(log, Exit(-signal.SIGTERM, 1.0, StopRequest(status, "because"))) == (status, "because")


def test_what_we_ended_after_its_whole_summary_is_complete() -> None:
    status, reason = ending(SUMMARY, Exit(-signal.SIGKILL, 1.0, StopRequest(TrialStatus.LOST, "the driver went away")))
    assert status is TrialStatus.COMPLETE
    assert "the driver went away" in reason


def test_what_we_ended_within_its_summary_is_not_complete() -> None:
    end = Exit(-signal.SIGKILL, 1.0, StopRequest(TrialStatus.LOST, "the driver went away"))
    assert ending("---\nval_bpb:          0.99", end)[0] is TrialStatus.LOST  # of 0.997900
    assert ending(f"{SUMMARY}{LINE}", end)[0] is TrialStatus.LOST


def test_the_cause_behind_a_chain_of_exceptions_is_found() -> None:
    link = "\nThe above exception was the direct cause of the following exception:\n\n"
    log = traceback("torch.OutOfMemoryError: CUDA out of memory.") + link + traceback("RuntimeError: trial failed")
    assert ending(log)[0] is TrialStatus.OUT_OF_MEMORY


def test_an_exception_that_was_handled_before_is_not_the_cause() -> None:
    log = traceback("torch.OutOfMemoryError: CUDA out of memory.") + "trying again\n" + traceback("ValueError: no")
    assert ending(log) == (TrialStatus.CRASHED, "ValueError: no")


def test_torchruns_rank_prefix_is_no_hindrance() -> None:
    log = "".join(f"[rank0]: {line}\n" for line in traceback("ValueError: no").splitlines())
    assert ending(log) == (TrialStatus.CRASHED, "ValueError: no")


def test_an_assertion_without_a_text_is_told_by_its_source() -> None:
    log = traceback("AssertionError", source="assert TOTAL_BATCH_SIZE % tokens == 0")
    assert ending(log) == (TrialStatus.INFEASIBLE, "AssertionError: assert TOTAL_BATCH_SIZE % tokens == 0")


def test_an_assertion_that_the_loss_is_a_number_means_diverged() -> None:
    assert ending(traceback("AssertionError", source="assert not math.isnan(loss)"))[0] is TrialStatus.DIVERGED


def test_an_assertion_inside_a_library_is_a_crash() -> None:
    log = traceback("AssertionError", file="/venv/lib/python3.12/site-packages/torch/_inductor/ir.py")
    assert ending(log)[0] is TrialStatus.CRASHED


def test_a_syntax_error_without_a_traceback_is_told() -> None:
    log = '  File "train.py", line 3\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n'
    assert ending(log) == (TrialStatus.CRASHED, "SyntaxError: invalid syntax")


def test_our_own_prepare_without_data_is_the_environment() -> None:
    status, reason = ending("prepare.py: no tokenizer in /data. Run prepare.py\n", Exit(3, 1.0))
    assert status is TrialStatus.ENVIRONMENT
    assert "no tokenizer in /data" in reason


def test_the_reason_is_one_line_without_control_characters() -> None:
    reason = ending(traceback("ValueError: \x1b[2J\x07 red\u202e " + "x" * 10_000))[1]
    assert "\x1b" not in reason
    assert "\\x07" in reason
    assert reason.isprintable()
    assert len(reason) <= REASON_CHARS


def test_a_log_of_many_megabytes_is_judged_by_its_end() -> None:
    log = "-" * 2_000_000 + "\n---" * 500_000 + "\n" + traceback("ValueError: no")
    assert ending(log) == (TrialStatus.CRASHED, "ValueError: no")
