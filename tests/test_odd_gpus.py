"""GPUs that have died, GPUs that tell no memory, and names that do not mean one GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.config.settings import pick_profile
from optimize.errors import ExecutorError
from optimize.executors.slots import detect_device, find_slots
from optimize.runner.gpus import nvidia_memory
from tests.test_slots import H100S, put_on_path

LOST = "Unable to determine the device handle for GPU0000:C4:00.0: GPU is lost.  Reboot the system to recover this GPU"
SEVEN = "\n".join(H100S.splitlines()[:4] + H100S.splitlines()[5:])


@pytest.fixture(autouse=True)
def _all_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("answer", "code", "gpus", "says"),
    [
        (f"{SEVEN}\n{LOST}", 15, 7, "exit code 15: Unable to determine the device handle for GPU0000:C4:00.0"),
        (f"{LOST}\n{SEVEN}", 15, 7, "Reboot the system to recover this GPU. 7 GPUs are used. Run it by hand"),
        (f"{H100S}\nWARNING: infoROM is corrupted at gpu 0000:C4:00.0", 14, 8, "exit code 14: WARNING: infoROM"),
        (H100S, 14, 8, "exit code 14: no reason. 8 GPUs are used"),
        (H100S.splitlines()[2], 255, 1, "exit code 255: no reason. 1 GPU is used"),
        (f"{SEVEN}\n4, GPU-4a4b-0000, NVIDIA H100 80GB HBM3, [GPU is lost]", 15, 7, "4, GPU-4a4b-0000, NVIDIA H100"),
        (f"{SEVEN}\n4, [Unknown Error], [Unknown Error], [Unknown Error]", 0, 7, "not all can be used: 4, [Unknown"),
        (f"{SEVEN}\n4, GPU-4a4b-0000, NVIDIA H100 80GB HBM3, [GPU requires reset]", 0, 7, "requires reset]. 7 GPUs"),
    ],
)
def test_a_dead_gpu_leaves_the_others_and_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, code: int, gpus: int, says: str
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", answer, code)
    said: list[str] = []
    slots = find_slots("cuda", say=said.append)
    assert len(slots) == gpus
    assert gpus != 7 or "gpu:4" not in [slot.name for slot in slots]
    assert len(said) == 1
    assert says in said[0]
    assert "\n" not in said[0]
    device = detect_device()
    assert (device.kind, device.note) == ("cuda", said[0])


def test_the_memory_of_the_others_is_read_beside_a_dead_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", f"0, GPU-0a0b-0000, 1000, 81559\n{LOST}", 15)
    assert {index: round(gpu.used_mb) for index, gpu in nvidia_memory(5.0).items()} == {"0": 1049}
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", LOST, 15)
    with pytest.raises(ExecutorError, match="exit code 15"):
        nvidia_memory(5.0)


def test_where_every_gpu_is_dead_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", LOST, 15)
    with pytest.raises(ExecutorError, match="exit code 15: Unable to determine"):
        find_slots("cuda")
    assert (detect_device().kind, LOST.split()[0] in detect_device().note) == ("cpu", True)


@pytest.mark.parametrize(
    ("gpu", "profile"),
    [
        ("GPU-1234, NVIDIA GB10, [N/A]", "gpu"),
        ("[N/A], Orin (nvgpu), [N/A]", "gpu"),
        ("GPU-1234, NVIDIA Thor, [Not Supported]", "gpu"),
        ("GPU-1234, NVIDIA L4, [Insufficient Permissions]", "gpu"),
        ("GPU-1234, Tesla T4, 15360", "colab"),
        ("GPU-1234, NVIDIA L4, 23034", "gpu"),
        ("GPU-1234, NVIDIA H100 80GB HBM3, 81559", "h100"),
    ],
)
def test_unknown_memory_is_not_small_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpu: str, profile: str
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", f"0, {gpu}")
    picked, why = pick_profile(detect_device())
    assert picked == profile
    assert ("unknown memory" in why) == (not gpu[-1].isdigit())


def test_a_slice_of_a_gpu_is_of_unknown_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", H100S)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-11112222-3333")
    assert pick_profile(detect_device())[0] == "gpu"


@pytest.mark.parametrize(
    ("visible", "says"),
    [
        ("0,0", "CUDA_VISIBLE_DEVICES=0,0: names a GPU twice"),
        ("1,0,1", "CUDA_VISIBLE_DEVICES=1,0,1: names a GPU twice"),
        ("5,GPU-5a", "names a GPU twice"),
        ("MIG-11112222-3333,MIG-11112222-3333", "names a GPU twice"),
    ],
)
def test_a_gpu_that_is_visible_twice_is_one_line_and_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str, says: str
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", H100S)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)  # CUDA shows none then
    with pytest.raises(ExecutorError) as caught:
        find_slots("cuda")
    assert says in str(caught.value)
    device = detect_device()
    assert device.kind == "cpu"
    assert says in device.note


SIBLINGS = "\n".join(f"{i}, GPU-{uuid}, NVIDIA A100, 40960" for i, uuid in enumerate(("1a2b", "1a2c", "1a2", "3d")))


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("GPU-1a2b", ["gpu:0"]),
        ("GPU-1a2", ["gpu:2"]),
        ("GPU-3", ["gpu:3"]),
        ("3", ["gpu:3"]),
        ("GPU-1", None),
        ("GPU-1a", None),
    ],
)
def test_the_beginning_of_a_uuid_names_one_gpu_or_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: str, names: list[str] | None
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", SIBLINGS)

    def found(**gpus: list[str]) -> list[str]:
        return [slot.name for slot in find_slots("cuda", **gpus)]

    if names is not None:
        assert found(gpus=[wanted]) == names
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
        assert found() == names
        return
    says = f"{wanted}: the UUIDs of gpu:0 and gpu:1 and gpu:2 begin so. Give more of the UUID, or the index"
    with pytest.raises(ExecutorError, match=f"--gpus {says}"):
        found(gpus=[wanted])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    with pytest.raises(ExecutorError, match=f"CUDA_VISIBLE_DEVICES {says}"):
        found()


# --- what drivers answer when nothing works ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "advice"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.178", 18, "reboot"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
            "driver is installed and running.",
            9,
            "The driver does not run: install it, or reboot",
        ),
        ("Failed to initialize NVML: Driver Not Loaded", 9, "The driver does not run"),
        ("Failed to initialize NVML: Unknown Error", 255, "The container has lost its GPUs"),
        ("Failed to initialize NVML: GPU access blocked by the operating system", 17, "`wsl --update`"),
        ("No devices were found", 6, "It does not answer any more: `dmesg | grep -i xid` says why"),
        ("No devices were found", 0, "It does not answer any more"),
        (LOST, 15, "Reboot, and look at its power and its heat"),
        ("Segmentation fault", 139, "Run it by hand to see why"),
    ],
)
def test_what_a_driver_says_comes_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, code: int, advice: str
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin", "nvidia-smi", answer, code)
    with pytest.raises(ExecutorError) as caught:
        find_slots("cuda")
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)
    assert pick_profile(detect_device()) == ("cpu", str(caught.value))
