"""Winners trained again with other seeds, driven inline: what is trained, what is told, and that nothing is lost or done twice."""

from __future__ import annotations

import io
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from optimize.confirming.driving import Confirmed, Wanted, confirm_study
from optimize.confirming.table import verdict_line, verdict_table
from optimize.errors import SettingsError, StudyBusyError, StudyError, StudyMismatchError, WorkloadError
from optimize.executors.inline import InlineExecutor
from optimize.stored_study import find_study, main_studies, overview
from optimize.trial import Job, Outcome, Slot, TrialStatus
from optimize.verdict import Verdict
from storage import TrialRecord
from tests.conftest import SCRIPT, SPACE, Driver, val_bpb

SEEDED = SCRIPT.replace("SIZE = 8\n", "SIZE = 8\nSEED = 42\nVAL_SPLIT = 0\nTIME_BUDGET = 100\n")
LUCK = {42: 0.0, 43: 0.003, 44: -0.004, 45: 0.001, 46: -0.002, 47: 0.002}


class Killed(Exception):
    """The driver dies here."""


@dataclass
class Trainings:
    """Plays the script: remembers every training, and may be told how some of them end."""

    ends: Callable[[Job], Outcome | None] = lambda job: None
    gain: float = 1.0  # how much of a parameter's effect is real, and not luck of the first seed
    jobs: list[Job] = field(default_factory=list)
    done: int = 0

    def __call__(self, job: Job) -> Outcome:
        self.jobs.append(job)
        outcome = self.ends(job)
        self.done += 1
        return outcome or Outcome(TrialStatus.COMPLETE, 10.0, summary=self.summary(job.params), log="a log\n")

    def summary(self, params: Mapping[str, object]) -> dict[str, float | str]:
        seed, own = int(str(params.get("SEED", 42))), {name: params[name] for name in ("X", "Y", "PAIR")}
        effect = val_bpb(own) - val_bpb({"X": 4, "Y": 0.5, "PAIR": (0.8, 0.95)})
        value = 2.0 + effect * (1.0 if seed == 42 else self.gain) + LUCK[seed] * (1 + 0.5 * (own["X"] != 4))
        longer = int(str(params.get("TIME_BUDGET", 100)))
        return {"val_bpb": value + float(str(params.get("VAL_SPLIT", 0))) / 100, "training_seconds": float(longer)}

    @property
    def seeds(self) -> Counter[object]:
        return Counter(job.params["SEED"] for job in self.jobs)


@pytest.fixture
def night(driver: Driver) -> Driver:
    """A study of ten trials of a script with a seed; its baseline is the worst but for two."""
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    driver.run(Trainings(), trials=10)
    return driver


def confirm(
    driver: Driver, run: Callable[[Job], Outcome], slots: int = 1, data: str = "data", **wanted: int
) -> Confirmed:
    where = tuple(Slot(f"inline:{i}") for i in range(slots))
    return confirm_study(
        driver.plan, where, Console(file=io.StringIO()), driver.said.append, Wanted(**wanted),  # type: ignore[arg-type]
        lambda found: InlineExecutor(run, slots), data,
    )  # fmt: skip


def records(driver: Driver, study: str) -> list[TrialRecord]:
    with driver.database() as database:
        return find_study(database, study, driver.settings.runs).records()


def verdict(driver: Driver) -> Verdict | None:
    with driver.database() as database:
        return find_study(database, "s", driver.settings.runs).verdict()


def best(driver: Driver) -> dict[str, object]:
    return tomllib.loads((driver.paths.best / "summary.toml").read_text())


def ranked(driver: Driver) -> list[int]:
    complete = sorted((record.value, record.number) for record in records(driver, "s") if record.value is not None)
    return [number for _, number in complete]


def test_the_baseline_and_the_best_three_are_trained_with_the_same_other_seeds(night: Driver) -> None:
    before, trainings = records(night, "s"), Trainings()
    ended = confirm(night, trainings)
    assert ended.verdict is not None
    rounds = [job for job in trainings.jobs if job.params["VAL_SPLIT"] == 0]
    assert all("SEED = 42" not in job.files["train.py"] for job in trainings.jobs)
    assert {job.params["SEED"] for job in rounds} == {43, 44, 45}
    assert f"SEED = {rounds[0].params['SEED']}" in rounds[0].files["train.py"]
    assert sorted(each.number for each in ended.verdict.finalists) == sorted(ranked(night)[:3])
    assert records(night, "s") == before  # the study itself has nothing new
    assert {record.kind for record in records(night, "s/confirm")} == {"baseline", "replicate"}
    assert verdict(night) == ended.verdict


def test_a_real_gain_is_confirmed_and_lies_in_best(night: Driver) -> None:
    ended = confirm(night, Trainings())
    assert ended.verdict is not None
    winner = ended.verdict.winner
    assert winner is not None
    assert winner.low > 0
    assert best(night)["confirmed"] is True
    assert best(night)["trial"] == winner.number
    assert "confirmed: trial" in verdict_line(ended.verdict, night.plan.workload.metric)


def test_the_luck_of_the_first_seed_is_not_confirmed(night: Driver) -> None:
    ended = confirm(night, Trainings(gain=0.0))
    assert ended.verdict is not None
    assert ended.verdict.winner is None
    assert best(night)["confirmed"] is False
    assert "not told from luck" in str(best(night)["confirmation"])
    assert verdict_line(ended.verdict, night.plan.workload.metric).startswith("unconfirmed")


def test_gains_are_paired_by_seed_and_the_first_seed_does_not_count(night: Driver) -> None:
    ended = confirm(night, Trainings(), finalists=1, seeds=2)
    assert ended.verdict is not None
    (finalist,) = ended.verdict.finalists
    script = Trainings()
    params = next(job.params for job in _jobs(night) if job.number == finalist.number)
    base = {"X": 4, "Y": 0.5, "PAIR": (0.8, 0.95)}
    gains = [
        float(script.summary({**base, "SEED": seed})["val_bpb"])
        - float(script.summary({**params, "SEED": seed})["val_bpb"])
        for seed in (43, 44)
    ]
    assert finalist.gain == pytest.approx(sum(gains) / 2)
    assert finalist.pairs == 2


def _jobs(driver: Driver) -> list[Job]:
    space = driver.plan.space
    return [
        Job(record.number, {p.name: p.decode(record.params[p.name]) for p in space.parameters}, {}, ())
        for record in records(driver, "s")
    ]


def test_nothing_is_trained_twice_in_a_second_call_nor_with_more_seeds(night: Driver) -> None:
    confirm(night, Trainings())
    again = Trainings()
    first = verdict(night)
    assert confirm(night, again).verdict == first
    assert again.jobs == []
    more = Trainings()
    confirm(night, more, seeds=4)
    assert set(more.seeds) == {46}


@pytest.mark.parametrize("after", [0, 1, 3, 5, 8])
def test_a_driver_that_dies_in_the_middle_loses_nothing(night: Driver, after: int) -> None:
    killed = Trainings()

    def dies(job: Job) -> Outcome | None:
        if killed.done == after:
            raise Killed
        return None

    killed.ends = dies
    with pytest.raises(Killed):
        confirm(night, killed)
    whole = Trainings()
    ended = confirm(night, whole)
    assert ended.verdict is not None
    done = [record.params for record in records(night, "s/confirm") if record.state == "COMPLETE"]
    assert len(done) == len({tuple(sorted(params.items())) for params in done})
    assert len(whole.jobs) == len(done) - after


def test_who_is_surely_worse_is_not_trained_to_the_end(night: Driver) -> None:
    def far_apart(job: Job) -> Outcome:
        value = 2.0 if (job.params["X"], job.params["Y"]) == (4, 0.5) else 1.0 + 3.0 * float(str(job.params["Y"]))
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": value + LUCK[int(str(job.params["SEED"]))] / 100})

    with night.database() as database:  # finalists that differ in Y
        assert find_study(database, "s", night.settings.runs).count() == 10
    ended = confirm(night, far_apart, finalists=5, seeds=5)
    assert ended.verdict is not None
    left_out = [each for each in ended.verdict.finalists if each.rejected]
    assert left_out
    assert all(2 <= each.pairs < 5 for each in left_out)
    assert not any(each.confirmed for each in left_out)


def test_a_finalist_that_fails_with_another_seed_is_no_winner(night: Driver) -> None:
    first = ranked(night)[0]
    params = next(job.params for job in _jobs(night) if job.number == first)

    def diverges(job: Job) -> Outcome | None:
        mine = all(job.params[name] == value for name, value in params.items())
        return Outcome(TrialStatus.DIVERGED, 1.0, "FAIL") if mine and job.params["SEED"] == 44 else None

    ended = confirm(night, Trainings(diverges))
    assert ended.verdict is not None
    finalist = next(each for each in ended.verdict.finalists if each.number == first)
    assert not finalist.confirmed
    assert finalist.rejected
    assert finalist.doubts == ("did not complete with seed 44: diverged",)
    assert ended.verdict.winner is not None
    assert ended.verdict.winner.number != first


def test_a_crash_is_tried_again_and_a_second_one_costs_a_pair(night: Driver) -> None:
    first = ranked(night)[0]
    params = next(job.params for job in _jobs(night) if job.number == first)

    def crashes(job: Job) -> Outcome | None:
        mine = all(job.params[name] == value for name, value in params.items())
        return Outcome(TrialStatus.CRASHED, 1.0, "ValueError") if mine and job.params["SEED"] == 43 else None

    trainings = Trainings(crashes)
    ended = confirm(night, trainings)
    assert ended.verdict is not None
    finalist = next(each for each in ended.verdict.finalists if each.number == first)
    assert finalist.pairs == 2
    assert finalist.confirmed
    assert any("seed 43: crashed" in doubt for doubt in finalist.doubts)
    healthy = Trainings()
    again = confirm(night, healthy)  # the world may have been mended since
    assert [job.params["SEED"] for job in healthy.jobs][:1] == [43]
    assert again.verdict is not None
    assert next(each for each in again.verdict.finalists if each.number == first).pairs == 3


def test_the_winner_is_measured_on_the_other_validation_text(night: Driver) -> None:
    trainings = Trainings()
    ended = confirm(night, trainings)
    other = [job for job in trainings.jobs if job.params["VAL_SPLIT"] == 1]
    assert len(other) == 2
    assert all("VAL_SPLIT = 1" in job.files["train.py"] for job in other)
    assert ended.verdict is not None
    assert any("VAL_SPLIT = 1" in line for line in ended.verdict.lines)


def test_a_larger_budget_compares_the_order_of_eight(night: Driver) -> None:
    night.set(limits=replace_total(night, 60.0))
    trainings = Trainings()
    ended = confirm(night, trainings, scale=2)
    longer = [job for job in trainings.jobs if job.params["TIME_BUDGET"] == 200]
    assert len(longer) == 8
    assert all("TIME_BUDGET = 200" in job.files["train.py"] for job in longer)
    assert {job.limits.total_s for job in longer} == {120.0}
    assert {job.limits.total_s for job in trainings.jobs if job not in longer} == {60.0}
    assert ended.verdict is not None
    assert any("the order of 8 configurations: Kendall's tau" in line for line in ended.verdict.lines)
    again = Trainings()
    confirm(night, again, scale=2)
    assert again.jobs == []


def replace_total(driver: Driver, total_s: float) -> object:
    from dataclasses import replace

    return replace(driver.settings.limits, total_s=total_s)


def test_too_few_trials_and_no_constants_are_a_line_each(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED.replace("VAL_SPLIT = 0\nTIME_BUDGET = 100\n", ""))
    driver.run(Trainings(), trials=6)
    ended = confirm(driver, Trainings(), scale=2)
    assert ended.verdict is not None
    assert any("no constant VAL_SPLIT" in line for line in ended.verdict.lines)
    assert any("--scale: left out, the workload has no budget" in line for line in driver.said)
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    driver.set(study="t")
    driver.run(Trainings(), trials=6)
    confirm(driver, Trainings(), scale=2)
    assert any("an order needs 8" in line for line in driver.said)


def test_the_literal_seed_of_calls_is_written_where_there_is_no_constant(driver: Driver) -> None:
    text = SCRIPT.replace("import sys\n", "import random\nimport sys\nrandom.seed(42)\n")
    (driver.folder / "workload" / "train.py").write_text(text)
    driver.run(Trainings(), trials=5)
    jobs: list[Job] = []

    def run(job: Job) -> Outcome:
        jobs.append(job)
        seed = int(str(job.params["manual_seed"]))
        params = {name: job.params[name] for name in ("X", "Y", "PAIR")}
        return Outcome(TrialStatus.COMPLETE, 1.0, summary=Trainings().summary({**params, "SEED": seed}))

    assert confirm(driver, run, finalists=1).verdict is not None
    assert {
        job.files["train.py"].count(f"random.seed({seed})") for job in jobs for seed in (job.params["manual_seed"],)
    } == {1}
    assert {job.params["manual_seed"] for job in jobs} == {43, 44, 45}


def test_a_named_seed_constant_is_used(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED.replace("SEED", "LUCK"))
    (driver.folder / "workload" / "workload.toml").write_text('seed = "LUCK"\n')
    driver.run(Trainings(), trials=5)
    seen: list[object] = []

    def run(job: Job) -> Outcome:
        seen.append(job.params["LUCK"])
        return Outcome(
            TrialStatus.COMPLETE, 1.0, summary=Trainings().summary({**job.params, "SEED": job.params["LUCK"]})
        )

    assert confirm(driver, run, finalists=1).verdict is not None
    assert set(seen) == {43, 44, 45}


@pytest.mark.parametrize(
    ("script", "toml", "says"),
    [
        (SCRIPT, "", "no seed: it has no constant SEED and no manual_seed"),
        (SEEDED, 'seed = "LUCK"', "LUCK: the script has no such constant"),
        (SEEDED.replace("SEED = 42", "SEED = None"), "", "no seed"),
        (SCRIPT.replace("X = 4", "random.seed(1)\ntorch.manual_seed(2)\nX = 4"), "", "several seeds"),
    ],
)
def test_a_script_without_a_seed_is_one_line_before_anything(driver: Driver, script: str, toml: str, says: str) -> None:
    (driver.folder / "workload" / "train.py").write_text(script)
    if toml:
        (driver.folder / "workload" / "workload.toml").write_text(toml)
    driver.run(Trainings(), trials=3)
    with pytest.raises(WorkloadError, match=says) as caught:
        confirm(driver, Trainings())
    assert len(caught.value.problems) == 1
    with driver.database() as database:
        assert database.study_names() == ["s"]


def test_a_seed_that_is_tuned_is_refused(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    (driver.folder / "space.toml").write_text(SPACE.replace("[parameters]", "[parameters]\nSEED = [42, 43]"))
    with pytest.raises(WorkloadError, match="the seed is a parameter"):
        confirm(driver, Trainings())


def test_another_seed_that_changes_nothing_is_said_and_nothing_is_confirmed(night: Driver) -> None:
    def same(job: Job) -> Outcome:
        value = val_bpb({name: job.params[name] for name in ("X", "Y", "PAIR")})
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": value})

    ended = confirm(night, same)
    assert ended.verdict is not None
    assert ended.verdict.winner is None
    assert any("another SEED changes nothing" in line for line in ended.verdict.lines)


def test_nothing_better_than_the_baseline_is_one_line(night: Driver) -> None:
    night.set(study="flat")
    night.run(lambda job: Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 1.0}), trials=4)
    with pytest.raises(StudyError, match="nothing to confirm"):
        confirm(night, Trainings())
    night.set(study="none")
    with pytest.raises(StudyError, match="there is none of that name"):
        confirm(night, Trainings())


def test_flags_that_make_no_sense_are_told_together(night: Driver) -> None:
    with pytest.raises(SettingsError) as caught:
        confirm(night, Trainings(), finalists=0, seeds=1, scale=11)
    assert len(caught.value.problems) == 3


def test_a_study_that_is_driven_is_refused_and_left_alone(night: Driver) -> None:
    with night.open(), pytest.raises(StudyBusyError):
        confirm(night, Trainings())
    with night.database() as database:
        assert database.study_names() == ["s"]


def test_a_study_cannot_be_driven_while_its_winners_are_confirmed(night: Driver) -> None:
    tried: list[str] = []

    def drive(job: Job) -> Outcome | None:
        if not tried:
            with pytest.raises(StudyBusyError) as caught, night.open():
                pass
            tried.append(str(caught.value))
        return None

    assert confirm(night, Trainings(drive)).verdict is not None
    assert tried


def test_other_data_or_scripts_are_refused(night: Driver) -> None:
    with pytest.raises(StudyMismatchError, match="data"):
        confirm(night, Trainings(), data="other")


def test_stopping_the_study_stops_its_confirmation_which_goes_on_later(night: Driver) -> None:
    trainings = Trainings()

    def stop(job: Job) -> Outcome | None:
        if trainings.done == 4:
            night.ask_to_stop(now=False)
        return None

    trainings.ends = stop
    ended = confirm(night, trainings)
    assert ended.verdict is None
    assert "stopped by optimize stop" in ended.reason
    rest = Trainings()
    assert confirm(night, rest).verdict is not None
    done = [record for record in records(night, "s/confirm") if record.state == "COMPLETE"]
    assert len(trainings.jobs) + len(rest.jobs) == len(done)


def test_replicates_are_no_study_of_their_own_to_whoever_looks(night: Driver) -> None:
    confirm(night, Trainings())
    with night.database() as database:
        assert sorted(database.study_names()) == ["s", "s/confirm"]
        assert main_studies(database) == ["s"]
        assert [line.name for line in overview(database)] == ["s"]
        assert find_study(database, None, night.settings.runs).name == "s"
        child = find_study(database, "s/confirm", night.settings.runs)
        assert child.best() is None
        written = child.write_views()
        assert {path.name for path in written} == {"results.tsv", "trials.csv"}
        assert not child.paths.best.exists()
        find_study(database, "s", night.settings.runs).delete()
        assert database.study_names() == []


def test_the_sampler_never_sees_a_replicate(night: Driver) -> None:
    confirm(night, Trainings())
    told: list[int] = []

    def run(job: Job) -> Outcome:
        told.append(job.number)
        assert "SEED" not in job.params
        return Trainings()(job)

    night.run(run, trials=12)
    assert told == [10, 11]
    assert len(records(night, "s")) == 12


def test_a_later_and_better_trial_takes_the_place_of_the_winner_unconfirmed(night: Driver) -> None:
    confirm(night, Trainings())

    def better(job: Job) -> Outcome:
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 0.5}, log="a log\n")

    night.run(better, trials=11)
    with night.database() as database:
        find_study(database, "s", night.settings.runs).write_views()
    assert best(night)["trial"] == 10
    assert best(night)["confirmed"] is False
    assert "came after trial" in str(best(night)["confirmation"])
    ended = confirm(night, Trainings())
    assert ended.verdict is not None
    assert 10 in {each.number for each in ended.verdict.finalists}


def test_finalists_of_earlier_calls_count_and_what_was_queued_for_them_is_withdrawn(night: Driver) -> None:
    few = confirm(night, Trainings(), finalists=1).verdict
    killed = Trainings()

    def dies(job: Job) -> Outcome | None:
        raise Killed

    killed.ends = dies
    with pytest.raises(Killed):
        confirm(night, killed, finalists=5)
    last = Trainings()
    many = confirm(night, last, finalists=1).verdict
    assert few is not None
    assert many is not None
    assert last.jobs == []
    assert [record.state for record in records(night, "s/confirm") if record.state in ("WAITING", "RUNNING")] == []
    confirm(night, Trainings(), finalists=4)
    counted = confirm(night, Trainings(), finalists=1).verdict
    assert counted is not None
    assert counted.finalists[0].low < few.finalists[0].low  # four have been looked at by now


def test_a_metric_that_is_to_grow_is_confirmed_the_same_way(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text(SEEDED)
    (driver.folder / "workload" / "workload.toml").write_text('direction = "maximize"\n')
    driver.run(Trainings(), trials=10)
    ended = confirm(driver, Trainings(), finalists=1)
    assert ended.verdict is not None
    assert ended.verdict.finalists[0].gain > 0
    values = [record.value for record in records(driver, "s") if record.value is not None]
    assert records(driver, "s")[ended.verdict.finalists[0].number].value == max(values)


def test_doubts_are_said_beside_a_finalist(night: Driver) -> None:
    script = Trainings()

    def suspicious(job: Job) -> Outcome | None:
        if (job.params["X"], job.params["Y"]) == (4, 0.5):
            return None
        summary = {**script.summary(job.params), "training_seconds": 150.0, "epochs": 1.5, "dtype": "float16"}
        return Outcome(TrialStatus.COMPLETE, 1.0, summary=summary, device="another GPU")

    ended = confirm(night, Trainings(suspicious))
    assert ended.verdict is not None
    doubts = ended.verdict.finalists[0].doubts
    assert "saw its data 1.5 times" in doubts
    assert "training_seconds 150, its budget is 100" in doubts
    page = io.StringIO()
    Console(file=page, width=200).print(verdict_table(ended.verdict, night.plan.workload.metric))
    assert "but: saw its data 1.5 times" in page.getvalue()


def test_several_slots_train_the_same(night: Driver) -> None:
    one = confirm(night, Trainings()).verdict
    with night.database() as database:
        from storage import Artifacts

        Artifacts(night.paths.artifacts, database).delete_study("s/confirm")
    assert confirm(night, Trainings(), slots=5).verdict == one


def test_artifacts_of_a_replicate_are_kept(night: Driver, tmp_path: Path) -> None:
    confirm(night, Trainings())
    with night.database() as database:
        child = find_study(database, "s/confirm", night.settings.runs)
        texts = child.texts(child.record(0))
    assert "SEED = 43" in texts["train.py"]
    assert "SEED = 43" in texts["params.toml"]
