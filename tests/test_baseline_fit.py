"""A baseline that does not fit the GPU's memory: the study goes on with a smaller device batch, in all that it does."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from optimize.confirm.replicates import child_plan, variation_of
from optimize.errors import StudyAborted, StudyMismatchError
from optimize.executors.simulated import SimulatedExecutor
from optimize.reporting.four_facts import four_facts
from optimize.reporting.standing import read_standing
from optimize.session import run as session_run
from optimize.session.run import run_study
from optimize.session.session import Caller
from optimize.study.begun import opened_to_go_on
from optimize.study.comparable import CONSTANTS, device_batch_of
from optimize.study.earlier import plan_to_move
from optimize.study.resume import open_study
from optimize.study.stored import find_study
from optimize.transfer.copy import migrate
from optimize.trial import BASELINE, Job, Outcome, Slot, TrialStatus
from storage import TrialRecord, open_database
from tests.conftest import Driver
from tests.forked import Forked, run_forked
from tests.smaller_gpu import ALONE, BESIDE, FIXED, FREE, SCRIPT, VARIED, plan, prepare

pytestmark = pytest.mark.usefixtures("unseen")
ROOT = Path(__file__).parent.parent


def constants(job: Job) -> dict[str, float]:
    """What the script of this job has, as it would be run."""
    return {name: eval(text) for name, text in re.findall(r"^([A-Z_]+) = (.*)$", job.files["train.py"], re.M)}


class Gpu:
    """Trains what fits: rows times layers."""

    def __init__(self, fits: int, said: str = ALONE) -> None:
        self.fits, self.said = fits, said
        self.tried: list[int] = []

    def __call__(self, job: Job) -> Outcome:
        has = constants(job)
        size = has["DEVICE_BATCH_SIZE"] * has["DEPTH"]
        self.tried.append(int(has["DEVICE_BATCH_SIZE"]))
        assert has["TOTAL_BATCH_SIZE"] == 2**19
        if size > self.fits:
            return Outcome(TrialStatus.OUT_OF_MEMORY, 3.0, self.said, log=f"Traceback\n{self.said}\n")
        return Outcome(
            TrialStatus.COMPLETE, 9.0, summary={"val_bpb": 1 + has["LR"], "peak_vram_mb": size * 100 / 1.048576}
        )


@pytest.fixture
def small(driver: Driver) -> Driver:
    """A study for a GPU, whose device batch is no parameter."""
    prepare(driver)
    return driver


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view is written: others test those, and they take longer than all else here."""

    @contextmanager
    def nobody(*_: object) -> Iterator[tuple[()]]:
        yield ()

    monkeypatch.setattr(session_run, "reporting", nobody)


def call(driver: Driver, run: Callable[[Job], Outcome], trials: int, slots: int = 1) -> list[TrialRecord]:
    """One call of `optimize run`, whose trials take no time."""
    driver.set(trials=trials)
    caller = Caller(
        Console(file=io.StringIO()), driver.said.append, executor=lambda slots: SimulatedExecutor(run, len(slots)), data="data"
    )  # fmt: skip
    gpus = tuple(Slot(f"gpu:{i}", device="RTX 4090", memory_mb=24_000.0) for i in range(slots))
    return list(run_study(plan(driver), gpus, caller).records)


def attrs(driver: Driver) -> Mapping[str, object]:
    with driver.database() as database:
        return database.study_attrs(database.find_study("s") or 0)


def test_the_device_batch_is_halved_until_the_baseline_fits(small: Driver) -> None:
    gpu = Gpu(64)
    records = call(small, gpu, 1)
    assert gpu.tried == [32, 16, 8]
    assert [(each.kind, each.state, each.status) for each in records] == [
        ("baseline", "FAIL", "out_of_memory"),
        ("baseline", "FAIL", "out_of_memory"),
        ("baseline", "COMPLETE", "complete"),  # which the limit of one trial counts
    ]
    assert records[0].reason.startswith("with DEVICE_BATCH_SIZE 32: torch.OutOfMemoryError: CUDA out of memory")
    assert [line for line in small.said if "does not fit" in line] == [
        f"trial {number}: the baseline does not fit the GPU's memory with DEVICE_BATCH_SIZE {before}: study s goes on with "
        f"{before // 2}, and TOTAL_BATCH_SIZE stays 524288"
        for number, before in ((0, 32), (1, 16))
    ]


def test_all_of_the_study_has_it_and_its_settings_say_so(small: Driver) -> None:
    gpu = Gpu(128)
    call(small, gpu, 4)
    call(small, gpu, 6)
    assert gpu.tried == [32] + [16] * 6
    assert attrs(small)[CONSTANTS] == {"DEVICE_BATCH_SIZE": 16}
    batch = str(device_batch_of(attrs(small)))
    assert batch == "DEVICE_BATCH_SIZE 16 instead of 32, which did not fit the GPU's memory"
    assert f"device batch: {batch}" in plan(small).notes
    told = json.loads(small.paths.settings_json.read_text())
    assert told["device_batch"] == {"name": "DEVICE_BATCH_SIZE", "value": 16, "too_large": [32]}
    with small.database() as database:
        stored = find_study(database, "s", small.settings.runs)
        best = stored.best()
        assert best is not None
        texts, won = stored.texts(best.record), four_facts(read_standing(stored)).won
    assert f"The baseline has 1.100000, with {batch}. Lower is better." in won.more
    assert "+DEVICE_BATCH_SIZE = 16" in texts["profile.patch"]
    assert "DEVICE_BATCH_SIZE = " not in "".join(re.findall(r"^[+-].*\n", texts["train.patch"], re.M))


def test_as_a_parameter_it_is_the_baselines_and_larger_ones_are_known_not_to_fit(driver: Driver) -> None:
    prepare(driver, VARIED, workload='memory = "DEVICE_BATCH_SIZE * DEPTH"\n')
    gpu = Gpu(128)
    call(driver, gpu, 1)
    assert attrs(driver)[BASELINE] == {"LR": 0.1, "DEPTH": 8, "DEVICE_BATCH_SIZE": 16}
    records = call(driver, gpu, 12)
    assert [record.status for record in records[1:]] == ["complete"] * 12
    assert {record.params["DEVICE_BATCH_SIZE"] for record in records[1:]} == {8, 16, 32}  # of a smaller model


def test_where_it_is_no_parameter_the_prediction_of_memory_learns_of_it_all_the_same(driver: Driver) -> None:
    prepare(driver, workload='memory = "DEVICE_BATCH_SIZE * DEPTH"\n')
    call(driver, Gpu(128), 1)
    with driver.database() as database, open_study(database, plan(driver), "data", print, [Slot("gpu")]) as study:
        assert "memory: 1 of 2 trials ran out of it" in study.summaries()[0]


def test_a_driver_that_dies_between_two_halvings_loses_none(small: Driver) -> None:
    def dies(job: Job) -> Outcome:
        if job.number == 1:
            raise MemoryError("the driver dies")
        return Gpu(64)(job)

    with pytest.raises(MemoryError):
        call(small, dies, 1)
    gpu = Gpu(64)
    records = call(small, gpu, 1)
    assert gpu.tried == [16, 8]
    assert [record.status for record in records] == ["out_of_memory", "lost", "out_of_memory", "complete"]


def test_where_nothing_is_smaller_the_study_stops_with_what_to_do(driver: Driver) -> None:
    prepare(driver, FREE, SCRIPT.replace("= 32", "= 1"))
    gpu = Gpu(0)
    with pytest.raises(StudyAborted) as caught:
        call(driver, gpu, 3)
    assert gpu.tried == [1]
    assert "trial 0: the baseline did not complete: torch.OutOfMemoryError" in caught.value.problems[0]
    assert (
        "DEVICE_BATCH_SIZE is 1 already. Or give the baseline a smaller DEPTH under [constants] in a profile of your own. All of"
        in caught.value.problems[0]
    )


def test_another_process_on_the_gpu_is_named_and_nothing_is_halved(small: Driver) -> None:
    with pytest.raises(
        StudyAborted, match=r"process 4711 held 11.8 of its 25.4 GB. End that, and give the same command"
    ):
        call(small, Gpu(0, BESIDE), 1)
    gpu = Gpu(1000)
    assert [record.state for record in call(small, gpu, 1)] == ["FAIL", "COMPLETE"]
    assert gpu.tried == [32]


def test_starts_get_the_device_batch_that_fits(driver: Driver) -> None:
    start = "\n[[start]]\nsource = 'elsewhere'\n[start.params]\nLR = {}\nDEPTH = 8\nDEVICE_BATCH_SIZE = {}\n"
    prepare(driver, VARIED + start.format(0.01, 32) + start.format(0.03, 8))
    gpu = Gpu(128)
    call(driver, gpu, 3)
    assert gpu.tried == [32, 16, 16, 8]
    gpu.tried.clear()
    assert [each.kind for each in call(driver, gpu, 4)] == ["baseline", "start", "start", "baseline", "sampler"]


def test_where_slots_share_a_gpu_each_smaller_batch_is_tried_once_and_alone(small: Driver) -> None:
    def run(job: Job) -> Outcome:
        return replace(gpu(job), shared=not job.alone)

    gpu = Gpu(64)
    call(small, run, 1)
    assert gpu.tried == [32, 32, 16, 8]


def test_what_runs_beside_it_begins_again(small: Driver) -> None:
    def run(job: Job) -> Outcome:
        if job.number == 0:
            return Outcome(TrialStatus.OUT_OF_MEMORY, 10.0, ALONE, curve=((0.1, 3.0),))
        outcome = Gpu(10_000)(job)
        return Outcome(outcome.status, 500.0, summary=outcome.summary, log=str(constants(job)["DEVICE_BATCH_SIZE"]))

    records = call(small, run, 3, slots=2)
    assert [each.status for each in records if each.number < 2] == ["out_of_memory", "cancelled"]
    with small.database() as database:
        stored = find_study(database, "s", small.settings.runs)
        logs = [stored.texts(each)["log.txt"] for each in records if each.value is not None]
    assert logs == ["16"] * 3


def test_a_study_begun_from_it_moved_from_it_or_confirming_it_has_it_too(small: Driver) -> None:
    call(small, Gpu(128), 4)
    found = plan(small)
    child = child_plan(found, variation_of(found))
    assert child.settings.written["DEVICE_BATCH_SIZE"] == 16
    with closing(open_database(small.paths.database)) as database:
        small.set(study="moved")
        with opened_to_go_on(small.settings, "s") as stored:
            migrate("s", plan_to_move(small.settings, stored), database)
        assert device_batch_of(database.study_attrs(database.find_study("moved") or 0)) == found.settings.device_batch
    small.set(study="new", start_from="s")
    gpu = Gpu(128)
    kinds = [each.kind for each in call(small, gpu, 1) if each.value is not None]
    assert (gpu.tried, kinds) == ([16], ["baseline", *["sampler"] * 4])


def test_another_own_device_batch_is_a_change_like_any_other(small: Driver) -> None:
    call(small, Gpu(128), 2)
    small.set(constants={"DEVICE_BATCH_SIZE": 16})
    assert plan(small).settings.device_batch is None
    with pytest.raises(StudyMismatchError, match="the profile's constants have changed"):
        call(small, Gpu(128), 3)


# --- real processes -------------------------------------------------------------------------------------------------------------

REAL = f"""\
import os
{SCRIPT}
PAUSE = "{{pause}}"
class OutOfMemoryError(RuntimeError):
    __module__ = "torch"
assert TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0
if DEVICE_BATCH_SIZE == 16 and os.path.exists(PAUSE):
    open(PAUSE).read()
if DEVICE_BATCH_SIZE * DEPTH > 64:
    raise OutOfMemoryError({ALONE.removeprefix("torch.OutOfMemoryError: ")!r})
print("step 00001 (50.0%) | loss: 3.0")
print(f"---\\nval_bpb: {{{{1 + LR}}}}\\naccumulated: {{{{TOTAL_BATCH_SIZE // (DEVICE_BATCH_SIZE * MAX_SEQ_LEN)}}}}")
"""


@pytest.mark.slow
def test_by_the_command_line_with_a_kill_in_between(tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    os.mkfifo(pause)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text(REAL.format(pause=pause))
    (tmp_path / "mine" / "space.toml").write_text(FIXED)
    words = [
        "run",
        "--workload",
        "./mine",
        "--profile",
        "cpu",
        "--study",
        "s",
        "--trust",
        "--slots",
        "1",
        "--trials",
        "2",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with (
        (tmp_path / "first").open("w") as log,
        Forked(words, stdout=log, stderr=log, cwd=tmp_path, env=env) as first,
        pause.open("w"),  # which returns when the second trial waits
    ):
        first.kill()
    pause.unlink()
    again = run_forked(words, cwd=tmp_path, env=env, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "goes on with 16, and TOTAL_BATCH_SIZE stays 524288" in (tmp_path / "first").read_text()
    assert "with DEVICE_BATCH_SIZE 16: study s goes on with 8" in again.stderr
    with closing(open_database(tmp_path / "runs" / "optuna.db")) as database:
        stored = find_study(database, "s", tmp_path / "runs")
        complete = [record for record in stored.records() if record.state == "COMPLETE"]
    assert [record.kind for record in complete] == ["baseline", "sampler"]
    assert [record.summary["accumulated"] for record in complete] == [32, 32]
    assert "DEVICE_BATCH_SIZE = 8" in (tmp_path / "runs" / "s" / "best" / "train.py").read_text()
