"""GPUs that have died, are cut into slices or belong to somebody else, that tell no memory, and names that mean no one GPU."""

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


# --- slices, and GPUs for one process ---------------------------------------------------------------------------------

A100S = """0, GPU-0a0b, NVIDIA A100-SXM4-40GB, 40960, {used}, {mode}, {mig}
1, GPU-1a1b, NVIDIA A100-SXM4-40GB, 40960, 4, Default, Disabled"""
LIST = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-0a0b)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1c.2g.10gb  Device  1: (UUID: MIG-GPU-0a0b/7/0)
  MIG 1g.5gb+me   Device  2: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-1a1b)"""


class Answers:
    """A driver of today, asked as we ask it: a table, a list, who computes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", str(folder))
        self.says()

    def says(
        self, *, mig: str = "Disabled", mode: str = "Default", used: str = "4", listed: str = LIST, apps: str = ""
    ) -> None:
        table = A100S.format(mig=mig, mode=mode, used=used)
        known = "--query-gpu=index,uuid,name,memory.total,memory.used,compute_mode,mig.mode.current"
        self.answers(f"{known}) echo '{table}' ;;\n-L) echo '{listed}' ;;\n--query-compute-apps*) echo '{apps}' ;;")

    def answers(self, cases: str) -> None:
        (self._folder / "nvidia-smi").write_text(f'#!/bin/sh\ncase "$1" in\n{cases}\n*) exit 2 ;;\nesac\n')
        (self._folder / "nvidia-smi").chmod(0o755)


@pytest.fixture
def driver_of_today(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Answers:
    return Answers(monkeypatch, tmp_path / "bin")


def slots_and_lines(**wanted: object) -> tuple[list[tuple[str, str, int]], list[str]]:
    said: list[str] = []
    slots = find_slots("cuda", say=said.append, **wanted)  # type: ignore[arg-type]
    return [(slot.name, slot.env["CUDA_VISIBLE_DEVICES"], round(slot.memory_mb)) for slot in slots], said


SLICES = [
    ("gpu:1", "GPU-1a1b", 42950),
    ("gpu:0:0", "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", 20000),
    ("gpu:0:1", "MIG-GPU-0a0b/7/0", 10000),
    ("gpu:0:2", "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb", 5000),
]


def test_a_gpu_that_is_cut_into_slices_is_a_slot_for_each_with_the_slices_memory(
    driver_of_today: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver_of_today.says(mig="Enabled")
    assert slots_and_lines() == (SLICES, [])
    assert slots_and_lines(gpus=["0:1", "3"]) == ([SLICES[2], SLICES[0]], [])  # the name, and the place in the list
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", SLICES[2][1])
    assert slots_and_lines() == ([SLICES[2]], [])
    assert pick_profile(detect_device()) == ("colab", "this machine has NVIDIA A100-SXM4-40GB MIG 1c.2g.10gb, 10 GB")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # CUDA takes its first slice
    assert slots_and_lines() == ([SLICES[1]], [])
    with pytest.raises(
        ExecutorError, match=r"gpus_per_trial: gpu:0:0 is a slice \(MIG\).*only one of them. Leave it out"
    ):
        find_slots("cuda", gpus_per_trial=2)


@pytest.mark.parametrize(
    ("answers", "first", "says"),
    [
        ({"mig": "Enabled", "listed": "GPU 0: NVIDIA A100 (UUID: GPU-0a0b)"}, "gpu:1", "gpu:0: MIG is on, but it has no slice"),
        ({"mode": "Prohibited"}, "gpu:1", "gpu:0: no process may use it (compute mode Prohibited). `sudo nvidia-smi -i 0 -c"),
        (
            {"used": "30000", "apps": "GPU-0a0b, 4711, /opt/bin/python, 29800"},
            "gpu:0",
            "31 of 43 GB are used already, by process 4711 (python), 31 GB. Trials get the rest: end that first, or leave",
        ),
        ({"used": "30000"}, "gpu:0", "gpu:0 (NVIDIA A100-SXM4-40GB): 31 of 43 GB are used already, by processes that cannot be"),
        (
            {"used": "30000", "mode": "Exclusive_Process"},
            "gpu:0",
            "It takes one process at a time (compute mode Exclusive_Process): end that first",
        ),
        ({"used": "[N/A]", "mode": "[N/A]", "mig": "[N/A]"}, "gpu:0", ""),
        ({"used": "3800", "mode": "Exclusive_Process"}, "gpu:0", ""),  # a desktop
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_a_line_before_any_trial(
    driver_of_today: Answers, answers: dict[str, str], first: str, says: str
) -> None:
    driver_of_today.says(**answers)
    slots, said = slots_and_lines()
    assert slots[0][0] == first
    assert [line for line in said if says not in line or "\n" in line] == []
    assert len(said) == bool(says)


def test_where_no_gpu_may_be_used_the_reason_is_the_line(driver_of_today: Answers) -> None:
    driver_of_today.answers("--query-gpu*) echo '0, GPU-0a0b, NVIDIA H100, 81559, 0, Prohibited, Disabled' ;;")
    with pytest.raises(ExecutorError, match="gpu:0: no process may use it"):
        find_slots("cuda")
    assert "no process may use it" in detect_device().note


def test_two_trials_on_a_gpu_for_one_process_are_refused(driver_of_today: Answers) -> None:
    driver_of_today.says(mode="Exclusive_Process")
    assert len(find_slots("cuda")) == 2
    with pytest.raises(ExecutorError, match=r"trials_per_gpu: gpu:0 takes one process at a time.*-i 0 -c DEFAULT"):
        find_slots("cuda", trials_per_gpu=2)


def test_a_driver_that_does_not_know_all_fields_is_asked_for_those_it_knows(driver_of_today: Answers) -> None:
    unknown = 'Field "mig.mode.current" is not a valid field to query.'
    plain = "--query-gpu=index,uuid,name,memory.total) echo '0, GPU-0a0b, Tesla T4, 15360' ;;"
    driver_of_today.answers(f"{plain}\n--query-gpu*) echo '{unknown}'; exit 2 ;;")
    assert slots_and_lines() == ([("gpu:0", "GPU-0a0b", 16106)], [])
