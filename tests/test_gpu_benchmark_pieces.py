"""Pieces of `benchmarks/gpu.py` in real processes: one that fails harms no other. And what a CPU can run of paths for CUDA."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from optimize.executors.slots import Device
from tests.test_gpu_benchmark import BENCHMARKS, gpu
from tests.test_train_attention import varlen_as_documented

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PIECES = """
import os, signal, subprocess, sys, time

def good(work):
    work.sheet.add("lost", 0)
    work.sheet.fact("sizes", work.sizes.kind)

def raises(work):
    work.sheet.add("stuck", 0)
    raise RuntimeError("no such luck")

def dies(work):
    work.sheet.add("doubled", 0)
    os.kill(os.getpid(), signal.SIGSEGV)

def hangs(work):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    work.sheet.add("complete", 1)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_piece_that_raises_dies_or_hangs_is_said_and_the_others_go_on(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_up.py").write_text(PIECES)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{BENCHMARKS.parent}")
    names = ("hangs", "raises", "dies", "good")
    pieces = tuple(gpu.gpu.Piece(name, f"made_up.{name}", 1, 10 if name == "hangs" else 600) for name in names)
    call = gpu.gpu.Call(gpu.gpu.device_of("cpu"), True, 20.0, None, pieces)
    folder = tmp_path / "scratch"
    for each in (folder, tmp_path / "logs"):
        each.mkdir()
    report = gpu.gpu.check(call, folder, tmp_path / "logs")
    why = {end.name: end.why for end in report.pieces}
    assert why["good"] == ""
    assert why["hangs"].startswith("no end after 10 s")
    assert why["raises"].endswith("RuntimeError: no such luck")
    assert why["dies"].startswith("ended by signal 11")
    found = {each.kind for each in report.figures if each.value is not None}
    assert found >= {"lost", "stuck", "doubled"}  # also what those had found that failed
    assert report.facts == {"sizes": "cpu"}
    assert report.code == 1
    assert gpu.gpu_pieces.alive(folder) == []


def test_on_a_gpu_that_computes_nothing_all_checks_are_made_and_every_other_piece_is_left_out(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU that computes")
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        "*driver_version*) echo '580.65, Exclusive_Process, Disabled, 0, 450 W' ;;\n"
        "*compute-apps*) echo 'GPU-aa00-1, 4711, /usr/bin/game, 3000' ;;\n"
        "*memory.used*) echo '0, GPU-aa00-1, 3100, 24564' ;;\n"
        "*) echo '0, GPU-aa00-1, NVIDIA GeForce RTX 4090, 24564' ;;\nesac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    sheet = gpu.gpu_figures.Sheet(tmp_path / "figures.jsonl")
    device = gpu.gpu.device_of("cuda")
    sizes = gpu.gpu_sizes.sizes_of(device)
    assert sizes.shapes["default"]["DEVICE_BATCH_SIZE"] == 16  # of the profile for 24 GB
    gpu.gpu_environment.measure(gpu.gpu_pieces.Work(sheet, sizes, tmp_path, time.time() + 60))
    figures = {each.kind: each for each in sheet.figures()}
    assert figures["is_default_mode"].value == 0
    assert "Exclusive_Process" in figures["is_default_mode"].note
    assert figures["other_memory_mb"].value == pytest.approx(3100 * 1.048576)
    assert figures["other_memory_mb"].note == "4711 (game), 3 GB"
    assert sheet.facts()["nvidia-smi driver_version"] == "580.65"
    assert [figures[kind].value for kind in ("has_kernels", "works", "compiles")] == [0, 0, 0]
    call = gpu.gpu.Call(device, False, 20.0, None, gpu.gpu.PIECES[1:])
    report = gpu.gpu.check(call, tmp_path, tmp_path)
    assert {end.why for end in report.pieces} == {gpu.gpu.NO_DEVICE}
    assert report.code == 1


def test_flash_attentions_layout_is_held_against_the_same_references(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_as_documented)
    sizes = gpu.gpu_sizes.sizes_of(Device("cpu", "", 0.0), small=True)
    folder = gpu.gpu_trial.write(tmp_path / "scripts", {**sizes.constants, **sizes.parity})
    plain, train = (
        gpu.gpu_parity.load(folder, name, traced=name == "gpu_traced") for name in ("gpu_plain", "gpu_traced")
    )
    device = train.Device("cpu", "traced", torch.float32, torch.float32, None)
    monkeypatch.setattr(train.Device, "by_token", True)
    for window in ("short", "whole"):
        attend = train.varlen_attention(64 if window == "short" else 128, 128)
        assert gpu.gpu_attention.worst_error(attend, 128, window, 64, device, by_token=True) < 1e-5
    wrong = train.varlen_attention(63, 128)
    assert gpu.gpu_attention.worst_error(wrong, 128, "short", 64, device, by_token=True) > 1e-3
    sheet = gpu.gpu_figures.Sheet(tmp_path / "figures.jsonl")
    work = gpu.gpu_pieces.Work(sheet, sizes, tmp_path, 0.0)
    reference = gpu.gpu_parity.reference_model(plain, 2048)
    gpu.gpu_parity.compare(work, plain, reference, train, device, "", "varlen", steps=False)
    assert sheet.value("loss_error", "varlen") < 1e-5
    assert sheet.value("gradient_error", "varlen") < 1e-4
    monkeypatch.setattr(gpu.gpu_parity, "halves_first", lambda reference: torch.arange(reference.shape.width))
    gpu.gpu_parity.compare(work, plain, reference, train, device, "", "disordered", steps=False)
    assert sheet.value("gradient_error", "disordered") > 0.1


def test_what_stands_in_for_upstreams_kernel_is_causal_attention_with_a_window(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.syspath_prepend(BENCHMARKS / "gpu_upstream_stand_ins")
    import kernels

    attend = kernels.get_kernel("any/kernel").flash_attn_interface.flash_attn_func
    q, k, v = torch.randn(3, 2, 32, 3, 16, generator=torch.Generator().manual_seed(0))
    for window in (4, 16, 32, -1):
        swapped = (x.transpose(1, 2).double() for x in (q, k, v))
        expected = gpu.gpu_attention.defined(*swapped, window if window >= 0 else 32).transpose(1, 2)
        torch.testing.assert_close(
            attend(q, k, v, causal=True, window_size=(window, 0)).double(), expected, rtol=1e-4, atol=1e-5
        )
    sys.modules.pop("kernels")


__all__ = ["gpu"]
