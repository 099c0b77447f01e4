"""A GPU is used again only when its memory is free: told by a vendor's tool on the PATH whose answers a test changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.executors.local import LocalExecutor
from optimize.runner.gpu_watch import GpuWatch
from optimize.trial import Job, Limits, Outcome, Slot, TrialStatus
from tests.zoo import PATIENT, endings, eventually, living, zoo_job

pytestmark = pytest.mark.slow  # real processes

SLOT = Slot("gpu:3", {"CUDA_VISIBLE_DEVICES": "GPU-3a3b-0000"}, "NVIDIA H100")
HURRIED = replace(PATIENT, free_s=0.1)


class Tool:
    """nvidia-smi, as far as anybody asks it: 80 GB of GPU 3, and who has how much of it, in MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.write(
            'case "$1" in\n'
            f"--query-compute-apps=gpu_uuid,pid,process_name,used_memory) /bin/cat {folder}/apps ;;\n"
            f"--query-gpu=index,uuid,memory.used,memory.total) echo >> {folder}/asked; /bin/cat {folder}/uses ;;\n"
            "*) exit 2 ;;\nesac\n"
        )
        self.says(2_000, {})

    def write(self, text: str, name: str = "nvidia-smi") -> None:
        (self.folder / f"{name}.new").write_text("#!/bin/sh\n" + text)
        (self.folder / f"{name}.new").chmod(0o755)
        (self.folder / f"{name}.new").rename(self.folder / name)

    def says(self, used_mib: int, apps: dict[str, int], total_mib: int = 81_559) -> None:
        lines = "".join(f"GPU-3a3b-0000, {who}, {mib}\n" for who, mib in apps.items())
        (self.folder / "apps").write_text(f"GPU-2a2b-0000, 1, other, 9\n{lines}")
        (self.folder / "uses.new").write_text(
            f"2, GPU-2a2b-0000, 70000, 81559\n3, GPU-3a3b-0000, {used_mib}, {total_mib}\n4, MIG-1234, [N/A], [N/A]\n"
        )
        (self.folder / "uses.new").rename(self.folder / "uses")

    def asked(self) -> int:
        path = self.folder / "asked"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Tool(tmp_path / "bin")


@pytest.fixture
def open_slot(tmp_path: Path, tool: Tool) -> Iterator[Callable[[Slot], LocalExecutor]]:
    opened: list[LocalExecutor] = []

    def open_slot(slot: Slot) -> LocalExecutor:
        opened.append(LocalExecutor([slot], tmp_path / "work", rest_s=0.05))
        return opened[-1].__enter__()

    yield open_slot
    for executor in opened:
        executor.__exit__(None, None, None)
    assert living(tmp_path) == []


def job(number: int, limits: Limits = PATIENT) -> Job:
    return replace(zoo_job("ok", number=number, limits=limits), env={"PATH": os.defpath})


def outcome_of(executor: LocalExecutor, job: Job) -> Outcome:
    assert eventually(lambda: executor.free)
    executor.submit(job)
    return endings(executor)[0].outcome


def test_a_trial_waits_until_the_gpu_is_as_free_as_it_was(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, tmp_path: Path
) -> None:
    executor = open_slot(SLOT)
    assert outcome_of(executor, job(1)).status is TrialStatus.COMPLETE
    tool.says(60_000, {"4711, python": 58_000})
    before = tool.asked()
    executor.submit(job(2))
    assert eventually(lambda: tool.asked() >= before + 3)
    assert (tmp_path / "work" / "2" / "log").read_text() == ""
    assert executor.wait(0.0) == []
    tool.says(2_500, {})
    assert endings(executor)[0].outcome.status is TrialStatus.COMPLETE


def test_when_it_stays_held_the_ending_says_by_whom_and_the_slot_rests(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool
) -> None:
    tool.says(2_000, {"17, /usr/bin/desktop": 1_500})
    executor = open_slot(SLOT)
    outcome_of(executor, job(1))
    tool.says(62_000, {"17, /usr/bin/desktop": 1_500, "4711, /opt/bin/python": 58_174, "4712, [Not Found]": 0})
    outcome = outcome_of(executor, job(2, HURRIED))
    assert outcome.status is TrialStatus.BUSY
    assert outcome.reason == (
        "gpu:3 is held by process 4711 (python), 61 GB, process 4712 ([Not Found]), 0 GB. "
        "End that, or leave this GPU out with --gpus"
    )
    assert outcome.log == ""
    assert executor.free == 0
    assert outcome_of(executor, job(2, HURRIED)).status is TrialStatus.BUSY
    tool.says(2_000, {})
    assert outcome_of(executor, job(2)).status is TrialStatus.COMPLETE
    assert executor.free == 1


def test_what_nobody_owns_to_is_said_to_be_so(open_slot: Callable[[Slot], LocalExecutor], tool: Tool) -> None:
    """In a container one does not see other people's processes."""
    executor = open_slot(SLOT)
    outcome_of(executor, job(1))
    tool.says(62_000, {})
    assert "gpu:3 is held by 63 GB that no process owns" in outcome_of(executor, job(2, HURRIED)).reason


def test_what_was_there_before_is_nobodys_business_until_it_has_left(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool
) -> None:
    tool.says(40_000, {"17, desktop": 40_000})
    executor = open_slot(SLOT)
    assert outcome_of(executor, job(1)).status is TrialStatus.COMPLETE
    tool.says(43_000, {"17, desktop": 43_000})  # within five percent of the device
    assert outcome_of(executor, job(2, HURRIED)).status is TrialStatus.COMPLETE
    tool.says(500, {})
    assert outcome_of(executor, job(3)).status is TrialStatus.COMPLETE
    tool.says(40_000, {"18, somebody": 39_500})
    assert outcome_of(executor, job(4, HURRIED)).status is TrialStatus.BUSY


def test_what_a_desktop_takes_holds_up_one_trial_and_no_other(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool
) -> None:
    """A browser that is opened and stays; it draws, so it is not among the processes that compute."""
    tool.says(400, {}, 24_564)
    executor = open_slot(SLOT)
    outcome_of(executor, job(1))
    tool.says(3_400, {"4711, python": 3_000}, 24_564)
    assert outcome_of(executor, job(2, HURRIED)).status is TrialStatus.BUSY
    tool.says(3_400, {}, 24_564)
    assert outcome_of(executor, job(2, HURRIED)).status is TrialStatus.COMPLETE
    before = tool.asked()
    assert outcome_of(executor, job(3)).status is TrialStatus.COMPLETE
    assert tool.asked() == before + 1
    tool.says(9_000, {}, 24_564)
    assert outcome_of(executor, job(4, HURRIED)).status is TrialStatus.BUSY


def test_a_stop_request_ends_the_wait(open_slot: Callable[[Slot], LocalExecutor], tool: Tool) -> None:
    executor = open_slot(SLOT)
    outcome_of(executor, job(1))
    tool.says(62_000, {})
    executor.submit(job(2, replace(PATIENT, free_s=3600.0)))
    before = tool.asked()
    assert eventually(lambda: tool.asked() > before)
    executor.cancel(2, TrialStatus.CANCELLED, "enough")
    assert endings(executor)[0].outcome.status is TrialStatus.CANCELLED


@pytest.mark.parametrize(
    "visible", ["3", "GPU-3a3b", "GPU-2a2b-0000,GPU-3a3b-0000", "2,3"], ids=["index", "prefix", "two", "two indices"]
)
def test_gpus_are_known_by_index_and_by_uuid_and_any_of_several_counts(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, visible: str
) -> None:
    executor = open_slot(Slot("gpu:3", {"CUDA_VISIBLE_DEVICES": visible}))
    outcome_of(executor, job(1))
    tool.says(62_000, {"4711, python": 1})
    assert "process 4711" in outcome_of(executor, job(2, HURRIED)).reason


@pytest.mark.parametrize("answer", ["exit 9\n", "echo nonsense\n", "echo '3, GPU-3a3b-0000, [N/A], [N/A]'\n"])
def test_a_tool_that_tells_nothing_holds_up_nothing_and_is_asked_once(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, answer: str
) -> None:
    tool.write(f"echo >> {tool.folder}/asked\n{answer}")
    executor = open_slot(SLOT)
    for number in range(3):
        assert outcome_of(executor, job(number, HURRIED)).status is TrialStatus.COMPLETE
    assert tool.asked() == 1


@pytest.mark.parametrize(
    "slot",
    [replace(SLOT, shared=True), Slot("cpu:0"), Slot("gpu:0", {"CUDA_VISIBLE_DEVICES": "MIG-1234"})],
    ids=["shared", "cpu", "slice"],
)
def test_a_shared_gpu_a_slice_and_a_core_are_not_waited_for(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, slot: Slot
) -> None:
    executor = open_slot(slot)
    outcome_of(executor, job(1))
    tool.says(62_000, {})
    assert outcome_of(executor, job(2, HURRIED)).status is TrialStatus.COMPLETE


def test_an_amd_gpu_is_waited_for_too(open_slot: Callable[[Slot], LocalExecutor], tool: Tool) -> None:
    def says(used: int) -> None:
        card = f'"VRAM Total Memory (B)": "205822885888", "VRAM Total Used Memory (B)": "{used}"'
        tool.write(f'echo \'{{"card0": {{{card}}}, "system": {{}}}}\'\n', "rocm-smi")

    says(300_000_000)
    executor = open_slot(Slot("gpu:0", {"HIP_VISIBLE_DEVICES": "0"}))
    assert outcome_of(executor, job(1)).status is TrialStatus.COMPLETE
    says(100_300_000_000)
    outcome = outcome_of(executor, job(2, HURRIED))
    assert (outcome.status, "100 GB that no process owns" in outcome.reason) == (TrialStatus.BUSY, True)
    says(300_000_000)
    assert outcome_of(executor, job(2)).status is TrialStatus.COMPLETE


GONE = "Unable to determine the device handle for GPU0000:41:00.0: Unknown Error"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            "printf '2, GPU-2a2b-0000, 70000, 81559\\n'",
            "gpu:3: nvidia-smi does not list it any more. It does not answer",
        ),
        ("printf '3, GPU-3a3b-0000, [GPU is lost], [GPU is lost]\\n'", "gpu:3: nvidia-smi does not list it any more."),
        (f"echo '{GONE}'; exit 15", f"gpu:3: nvidia-smi: exit code 15: {GONE}. It does not answer any more"),
        ("echo 'No devices were found'; exit 6", "gpu:3: nvidia-smi: exit code 6: No devices were found. It does not"),
    ],
)
def test_a_gpu_that_has_gone_gets_no_trial_and_is_to_blame_for_one_that_it_left(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, answer: str, says: str
) -> None:
    executor = open_slot(SLOT)
    assert outcome_of(executor, job(1)).status is TrialStatus.COMPLETE
    tool.write(answer + "\n")
    outcome = outcome_of(executor, job(2))
    assert (outcome.status, outcome.log, says in outcome.reason) == (TrialStatus.DEVICE_FAILED, "", True), (
        outcome.reason
    )
    assert executor.free == 1
    assert outcome_of(executor, job(2)).status is TrialStatus.DEVICE_FAILED
    assert executor.free == 0  # it rests


def test_a_guardian_that_serves_another_gpu_does_not_miss_the_first(tool: Tool) -> None:
    """As on a cluster's node, where Ray says which GPU a trial gets."""
    watch, other = GpuWatch(), Slot("gpu:2", {"CUDA_VISIBLE_DEVICES": "GPU-2a2b-0000"})
    for slot in (SLOT, other, SLOT):
        assert watch.wait_until_free(job(1, HURRIED), slot, None) is None
    tool.write("echo '2, GPU-2a2b-0000, 70000, 81559'\n")
    assert watch.wait_until_free(job(1, HURRIED), other, None) is None
    assert getattr(watch.wait_until_free(job(1, HURRIED), SLOT, None), "status", None) is TrialStatus.DEVICE_FAILED


@pytest.mark.parametrize("answer", ["exit 9", "echo 'NVIDIA-SMI has failed'; exit 9", "echo busy >&2; exit 255"])
def test_a_tool_that_fails_for_another_reason_says_nothing_of_the_gpu(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, answer: str
) -> None:
    executor = open_slot(SLOT)
    outcome_of(executor, job(1))
    tool.write(answer + "\n")
    assert outcome_of(executor, job(2)).status is TrialStatus.COMPLETE


def dying(number: int, tool: Tool, last_words: str, then: str) -> Job:
    """A trial in whose middle something happens outside: what nvidia-smi answers from then on."""
    changed = tool.folder / "later"
    changed.write_text(f"#!/bin/sh\n{then}\n")
    changed.chmod(0o755)
    text = f"import os\nos.rename({str(changed)!r}, {str(tool.folder / 'nvidia-smi')!r})\nraise RuntimeError({last_words!r})\n"
    return replace(job(number), files={"train.py": text})


@pytest.mark.parametrize(
    ("last_words", "then", "status"),
    [
        ("CUDA error: unspecified launch failure", f"echo '{GONE}'; exit 15", TrialStatus.DEVICE_FAILED),
        ("CUDA error: unspecified launch failure", "echo '3, GPU-3a3b-0000, 2000, 81559'", TrialStatus.CRASHED),
        ("CUDA out of memory", f"echo '{GONE}'; exit 15", TrialStatus.OUT_OF_MEMORY),
    ],
)
def test_a_gpu_that_goes_in_the_middle_of_a_trial_is_to_blame(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, last_words: str, then: str, status: TrialStatus
) -> None:
    executor = open_slot(SLOT)
    outcome_of(executor, job(1))
    outcome = outcome_of(executor, dying(2, tool, last_words, then))
    assert (outcome.status, last_words in outcome.reason) == (status, True), outcome.reason


@pytest.mark.parametrize(
    ("is_alive", "mib", "status"),
    [
        (True, 60_000, TrialStatus.BUSY),
        (True, 2_100, TrialStatus.OUT_OF_MEMORY),  # no more than before
        (False, 60_000, TrialStatus.OUT_OF_MEMORY),  # the trial's own, or nobody that can be seen from here
    ],
)
def test_memory_that_somebody_took_meanwhile_is_no_fault_of_the_parameters(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool, is_alive: bool, mib: int, status: TrialStatus
) -> None:
    executor, pid = open_slot(SLOT), os.getpid() if is_alive else 99_999_999
    outcome_of(executor, job(1))
    then = (
        f'case "$1" in --query-compute-apps*) echo "GPU-3a3b-0000, {pid}, python, {mib}" ;; '
        f'*) echo "3, GPU-3a3b-0000, {mib}, 81559" ;; esac'
    )
    outcome = outcome_of(executor, dying(2, tool, "CUDA out of memory. Tried to allocate 8.00 GiB", then))
    assert outcome.status is status
    held = f"out of memory, but gpu:3 is held by process {pid} (python), 63 GB. End that"
    assert (held in outcome.reason) == (status is TrialStatus.BUSY), outcome.reason


def test_a_desktop_on_one_gpu_does_not_hide_what_is_held_on_another(
    open_slot: Callable[[Slot], LocalExecutor], tool: Tool
) -> None:
    uses = "2, GPU-2a2b-0000, {}, 24564\n3, GPU-3a3b-0000, {}, 24564\n"
    (tool.folder / "uses").write_text(uses.format(400, 400))
    executor = open_slot(Slot("gpu:2+3", {"CUDA_VISIBLE_DEVICES": "GPU-2a2b-0000,GPU-3a3b-0000"}))
    assert outcome_of(executor, job(1)).status is TrialStatus.COMPLETE
    (tool.folder / "uses").write_text(uses.format(3_400, 15_000))
    assert outcome_of(executor, job(2, HURRIED)).status is TrialStatus.BUSY
