"""Slots and devices, as this machine and some others offer them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from optimize.errors import ExecutorError
from optimize.executors.slots import cpu_name, detect_device, find_slots, usable_cores
from optimize.trial import Slot

ROOT = Path(__file__).parent.parent
H100S = "\n".join(f"{i}, GPU-{i}a{i}b-0000, NVIDIA H100 80GB HBM3, 81559" for i in range(8))


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, tool: str, answer: str, code: int = 0) -> None:
    """A vendor's tool that answers so, and nothing else on the PATH that could."""
    folder.mkdir(exist_ok=True)
    (folder / tool).write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(answer)}\nexit {code}\n")
    (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever this machine has: tests say which tools there are."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def h100s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", H100S)


# --- CPU --------------------------------------------------------------------------------------------------------------


def test_there_is_a_slot_for_each_core_with_one_thread() -> None:
    slots = find_slots("cpu")
    assert [slot.name for slot in slots] == [f"cpu:{i}" for i in range(usable_cores())]
    assert slots[0].env["OMP_NUM_THREADS"] == "1"
    assert slots[0].env["MALLOC_MMAP_THRESHOLD_"] == "33554432"
    assert slots[0].device == cpu_name() != ""
    assert slots[0].memory_mb == 0
    assert slots[0].env["CUDA_VISIBLE_DEVICES"] == ""  # a script takes a GPU where it finds one


def test_as_many_slots_as_one_asks_for() -> None:
    assert len(find_slots("cpu", count=5)) == 5


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_that_this_process_may_not_use_do_not_count() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert len(find_slots("cpu")) == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "100000 100000"}, 1),
        ({"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_respected(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert usable_cores(tmp_path) == (usable_cores(Path("/nowhere")) if cores is None else cores)


def test_a_processor_without_a_model_name_is_named_somehow(tmp_path: Path) -> None:
    assert cpu_name(tmp_path) != ""


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("h100s")
def test_each_gpu_is_a_slot_pinned_by_its_uuid() -> None:
    slots = find_slots("cuda")
    assert len(slots) == 8
    assert slots[3].name == "gpu:3"
    assert slots[3].env["CUDA_VISIBLE_DEVICES"] == "GPU-3a3b-0000"
    assert slots[3].device == "NVIDIA H100 80GB HBM3"
    assert round(slots[3].memory_mb) == 85521


@pytest.mark.usefixtures("h100s")
@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("2,0", ["gpu:2", "gpu:0"]),
        ("GPU-5a5b-0000", ["gpu:5"]),
        ("GPU-5a", ["gpu:5"]),
        ("1,9,2", ["gpu:1"]),  # as CUDA does
    ],
)
def test_cuda_visible_devices_is_respected(monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [slot.name for slot in find_slots("cuda")] == names


@pytest.mark.usefixtures("h100s")
def test_a_slice_of_a_gpu_is_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-11112222-3333")
    assert [slot.env["CUDA_VISIBLE_DEVICES"] for slot in find_slots("cuda")] == ["MIG-11112222-3333"]


@pytest.mark.usefixtures("h100s")
def test_gpus_are_chosen_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [slot.name for slot in find_slots("cuda", gpus=["0", " 2", "GPU-3a3b"])] == ["gpu:0", "gpu:2", "gpu:3"]
    assert [slot.name for slot in find_slots("cuda", count=1, gpus=["4", "5"])] == ["gpu:4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    assert [slot.name for slot in find_slots("cuda", gpus=["1"])] == ["gpu:7"]


@pytest.mark.usefixtures("h100s")
@pytest.mark.parametrize(
    ("count", "gpus", "says"),
    [
        (None, ["9"], "--gpus 9: this machine has no such GPU. It has 0 to 7"),
        (None, ["x"], "--gpus x: this machine has no such GPU"),
        (None, ["1", "1"], "names a GPU twice"),
        (9, None, "9 wanted, but there are 8"),
        (2, ["0"], "2 wanted, but there are 1 on 1 GPU"),
        (0, None, "slots: 0"),
    ],
)
def test_a_gpu_that_is_not_there_is_one_line(count: int | None, gpus: list[str] | None, says: str) -> None:
    with pytest.raises(ExecutorError) as caught:
        find_slots("cuda", count, gpus)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_nvidia_smi_there_is_no_gpu() -> None:
    with pytest.raises(ExecutorError, match="nvidia-smi: not found"):
        find_slots("cuda")


@pytest.mark.usefixtures("h100s")
def test_hidden_gpus_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ExecutorError, match="no cuda device is visible"):
        find_slots("cuda")
    assert detect_device().kind == "cpu"


@pytest.mark.parametrize(("answer", "code"), [("NVIDIA-SMI has failed: no driver", 9), ("No devices were found", 0)])
def test_a_broken_driver_is_one_line_and_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, code: int
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", answer, code)
    with pytest.raises(ExecutorError, match=answer):
        find_slots("cuda")
    device = detect_device()
    assert device.kind == "cpu"
    assert answer in device.note


@pytest.mark.parametrize(
    ("table", "slots"),
    [
        ("0, GPU-1a2b3c, NVIDIA GeForce RTX 4090, 24564", [("gpu:0", "GPU-1a2b3c", 25757)]),
        ("0, GPU-1a2b3c, Tesla T4, 15360", [("gpu:0", "GPU-1a2b3c", 16106)]),
        ("0, [N/A], Orin (nvgpu), [N/A]", [("gpu:0", "0", 0)]),
        ("0, GPU-1a2b3c, NVIDIA GB10, [Not Supported]", [("gpu:0", "GPU-1a2b3c", 0)]),
        (
            "0, [GPU requires reset], [GPU requires reset], [GPU requires reset]\n1, GPU-4d5e6f, NVIDIA L4, 23034",
            [("gpu:1", "GPU-4d5e6f", 24153)],
        ),
        (
            "Unable to determine the device handle for GPU0: 0000:01:00.0: Unknown Error\n1, GPU-4d5e6f, Tesla T4, 15360",
            [("gpu:1", "GPU-4d5e6f", 16106)],
        ),
    ],
)
def test_the_tables_of_several_generations_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str, slots: list[tuple[str, str, int]]
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", table)
    found = find_slots("cuda")
    assert [(slot.name, slot.env["CUDA_VISIBLE_DEVICES"], round(slot.memory_mb)) for slot in found] == slots


def test_gpus_for_a_cpu_profile_are_refused() -> None:
    with pytest.raises(ExecutorError, match="the profile uses CPU cores"):
        find_slots("cpu", gpus=["0"])


def test_an_unknown_device_is_one_line() -> None:
    with pytest.raises(ExecutorError, match="no device 'tpu'"):
        find_slots("tpu")


# --- several GPUs for a trial, several trials on a GPU, several models ------------------------------------------------------


def pins(slots: Sequence[Slot]) -> list[tuple[str, str]]:
    return [(slot.name, slot.env["CUDA_VISIBLE_DEVICES"].replace("-0000", "")) for slot in slots]


@pytest.mark.usefixtures("h100s")
def test_a_slot_can_be_several_gpus_and_one_that_is_left_over_is_idle() -> None:
    said: list[str] = []
    slots = find_slots("cuda", gpus=[str(i) for i in range(7)], gpus_per_trial=2, say=said.append)
    assert pins(slots) == [
        ("gpu:0+1", "GPU-0a0b,GPU-1a1b"),
        ("gpu:2+3", "GPU-2a2b,GPU-3a3b"),
        ("gpu:4+5", "GPU-4a4b,GPU-5a5b"),
    ]
    assert said == ["gpu:6 (NVIDIA H100 80GB HBM3): idle, because a trial uses 2 GPUs ([slots] gpus_per_trial)"]
    assert len(find_slots("cuda", count=2, gpus_per_trial=4)) == 2


@pytest.mark.usefixtures("h100s")
def test_a_slot_can_be_a_share_of_a_gpu() -> None:
    slots = find_slots("cuda", gpus=["3", "4"], trials_per_gpu=2)
    assert [name for name, _ in pins(slots)] == ["gpu:3.0", "gpu:3.1", "gpu:4.0", "gpu:4.1"]
    assert slots[0].env == slots[1].env != slots[2].env
    assert all(slot.shared for slot in slots)
    assert not any(slot.shared for slot in find_slots("cuda"))


@pytest.mark.usefixtures("h100s")
@pytest.mark.parametrize(
    ("device", "wanted", "says"),
    [
        ("cuda", {"gpus_per_trial": 9}, "gpus_per_trial: 9 of one model wanted, but there are 8 GPUs. Lower it"),
        ("cuda", {"gpus_per_trial": 3, "count": 3}, "3 wanted, but there are 2 on 8 GPUs. Lower it"),
        ("cuda", {"gpus_per_trial": 2, "trials_per_gpu": 2}, "exclude each other. Use one"),
        ("cpu", {"gpus_per_trial": 2}, "the profile uses CPU cores. Leave"),
        ("cpu", {"trials_per_gpu": 2}, "the profile uses CPU cores. Leave"),
    ],
)
def test_groups_and_shares_that_cannot_be_are_one_line(device: str, wanted: dict[str, int], says: str) -> None:
    with pytest.raises(ExecutorError) as caught:
        find_slots(device, **wanted)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_model_with_most_memory_comes_first_and_a_group_is_of_one_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus = ["T400, 4096", "H100, 81559", "T400, 4096", "H100, 81559", "A100, 81920"]
    table = "\n".join(f"{i}, GPU-{i}aaa, {gpu}" for i, gpu in enumerate(gpus))
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", table)
    assert [slot.device for slot in find_slots("cuda")] == ["H100", "H100", "A100", "T400", "T400"]
    assert [slot.name for slot in find_slots("cuda", gpus=["2", "1"])] == ["gpu:2", "gpu:1"]
    assert detect_device().name == "H100"
    said: list[str] = []
    slots = find_slots("cuda", gpus_per_trial=2, say=said.append)
    assert [(slot.name, slot.device) for slot in slots] == [("gpu:1+3", "H100"), ("gpu:0+2", "T400")]
    assert said[0].startswith("gpu:4 (A100): idle")


# --- what is compiled -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("h100s")
def test_trials_share_their_compile_caches_unless_the_user_has_named_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", "/mine")
    for slots in (find_slots("cuda"), find_slots("cpu", count=2)):
        places = {slot.env["TORCHINDUCTOR_CACHE_DIR"] for slot in slots}
        assert len(places) == 1
        assert places.pop().startswith(str(tmp_path))
        assert not any("TRITON_CACHE_DIR" in slot.env for slot in slots)  # it is passed on from the environment


# --- which profile? ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("h100s")
def test_the_device_is_the_first_visible_gpu() -> None:
    device = detect_device()
    assert (device.kind, device.name, round(device.memory_mb)) == ("cuda", "NVIDIA H100 80GB HBM3", 85521)


def test_without_a_gpu_the_device_is_the_processor() -> None:
    device = detect_device()
    assert (device.kind, device.name, device.note) == ("cpu", cpu_name(), "")
    assert device.memory_mb > 100


def test_a_gpu_that_shares_the_machines_memory_tells_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", "0, GPU-1234, NVIDIA GB10, [N/A]")
    assert detect_device().memory_mb == 0.0


def test_amds_cards_are_slots_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = '"Unique ID": "0x1", "Card Series": "AMD Instinct MI300X", "VRAM Total Memory (B)": "205822885888"'
    put_on_path(monkeypatch, tmp_path / "bin", "rocm-smi", f'{{"card0": {{{card}}}, "system": {{}}}}')
    slots = find_slots("rocm")
    assert [(slot.name, slot.env["HIP_VISIBLE_DEVICES"]) for slot in slots] == [("gpu:0", "0")]
    assert (detect_device().kind, detect_device().name) == ("rocm", "AMD Instinct MI300X")


def test_the_driver_computes_with_one_thread_unless_its_user_says_otherwise() -> None:
    code = "import os, optimize.executors.slots as s; s.keep_to_one_thread(); print(os.environ['OPENBLAS_NUM_THREADS'])"

    def threads(**environment: str) -> str:
        asked = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
        return asked.stdout.strip()

    assert threads() == "1"
    assert threads(OPENBLAS_NUM_THREADS="3") == "3"
