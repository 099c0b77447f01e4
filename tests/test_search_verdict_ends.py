"""What a verdict beside a search survives: drivers that die, scripts and seeds that will not do, and other programs."""

from __future__ import annotations

import optuna
import pytest

from optimize.confirm.campaign import FEWEST_TRIALS, VerdictState
from optimize.errors import StudyAborted
from optimize.executors.simulated import SimulatedExecutor
from optimize.script.seeding import DIFFERS
from optimize.study.comparable import FINGERPRINT
from optimize.trial import Job, Outcome, TrialStatus
from tests.conftest import SCRIPT, Driver
from tests.replicating import SEEDED, Killed, Noisy, by_clock_of, end, is_baseline, records, search, trained, verdict


@pytest.mark.parametrize("at", [12, 18])
def test_a_driver_that_dies_in_the_middle_trains_nothing_twice_and_finds_the_same(searched: Driver, at: int) -> None:
    whole = verdict(searched)
    searched.set(study="t")

    def dies(job: Job) -> Outcome | None:
        if len(killed.jobs) == at:
            raise Killed
        return None

    killed, rest = Noisy(ends=dies), Noisy()
    with pytest.raises(Killed):
        search(searched, killed)
    ended = search(searched, rest)
    assert ended.reason == "15 trials and 5 repeats are done"
    assert trained(killed.jobs.pop()) == trained(rest.jobs[0])  # what was lost comes first
    assert len({*map(trained, killed.jobs), *map(trained, rest.jobs)}) == len(killed.jobs) + len(rest.jobs) == 20
    if at == 18:  # all trials had ended
        assert ended.verdict == whole


@pytest.mark.parametrize("trials", [20, None])
def test_a_study_that_had_ended_trains_nothing_by_surprise(unrepeated: Driver, trials: int | None) -> None:
    unrepeated.set(trials=trials)
    if trials is None:  # it ends with its space
        search(unrepeated, Noisy(), verdict=False)
    again = Noisy()
    ended = search(unrepeated, again)
    assert again.jobs == []
    assert len(ended.records) == (trials or 24)
    assert "be sure:" in end(unrepeated, ended)
    assert "optimize confirm --study s" in end(unrepeated, ended)


@pytest.mark.parametrize(
    ("noisy", "says"),
    [
        (Noisy(deviation=0.0), "another seed changes nothing (SEED): repeating confirms nothing"),
        (Noisy(deviation=5.0), "candidate: gain"),
    ],
)
def test_a_seed_that_changes_nothing_or_everything_confirms_nothing(seeded: Driver, noisy: Noisy, says: str) -> None:
    ended = search(seeded, noisy)
    assert len(noisy.jobs) == 20
    assert ended.verdict is not None
    assert ended.verdict.winner is None
    assert says in end(seeded, ended)


@pytest.mark.parametrize(
    ("script", "trials", "says"),
    [
        (SCRIPT, 20, "no verdict: WORKLOAD/train.py: no seed: it has no constant SEED"),
        (f"import torch\n{SCRIPT}", 20, f"no verdict: WORKLOAD/train.py: no seed: it sets no seed, so {DIFFERS}"),
        (SEEDED, 15, f"no verdict: of 15 trainings none is kept for repeats; {FEWEST_TRIALS} are needed"),
    ],
)
def test_where_nothing_can_be_repeated_one_line_says_why(seeded: Driver, script: str, trials: int, says: str) -> None:
    (seeded.folder / "workload" / "train.py").write_text(script)
    seeded.set(trials=trials)
    noisy = Noisy()
    ended = search(seeded, noisy)
    assert len(noisy.searched) == len(noisy.jobs) == trials
    page = end(seeded, ended).replace(str(seeded.folder / "workload"), "WORKLOAD")
    assert page.count("no verdict") == 1
    assert page.count(DIFFERS) == says.count(DIFFERS)
    assert says in page
    with seeded.database() as database:
        assert database.study_names() == ["s"]


def test_a_configuration_that_fails_with_another_seed_is_luck_and_a_crash_is_tried_once_more(seeded: Driver) -> None:
    def ends(job: Job) -> Outcome | None:
        if job.number < 0 and not is_baseline(job):
            return Outcome(TrialStatus.DIVERGED, 1.0, "FAIL")
        if job.number < 0 and trained(job) not in map(trained, noisy.jobs[:-1]):
            return Outcome(TrialStatus.CRASHED, 1.0, "Traceback")
        return None

    noisy = Noisy(ends=ends)
    ended = search(seeded, noisy)
    assert ended.reason == "15 trials and 5 repeats are done"
    assert len(noisy.repeated) == 5 + 2  # each of the baseline's crashed once
    assert ended.verdict is not None
    assert {(each.state, each.pairs) for each in ended.verdict.finalists} == {(VerdictState.LUCK, 0)}
    assert ended.verdict.finalists[0].doubts == ("did not complete with seed 43: diverged",)


def test_repeats_that_cannot_run_here_end_the_study_as_a_trial_would(seeded: Driver) -> None:
    def ends(job: Job) -> Outcome | None:
        return Outcome(TrialStatus.ENVIRONMENT, 1.0, "no space left on device") if job.number < 0 else None

    with pytest.raises(StudyAborted) as told:
        search(seeded, Noisy(ends=ends))
    assert "no space left on device" in str(told.value)
    assert "optimize show 0 --study s/confirm" in str(told.value)
    ended = search(seeded, Noisy())
    assert ended.reason == "15 trials and 5 repeats are done"


def test_a_repeat_that_is_stopped_is_trained_later(seeded: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(job: Job) -> Outcome | None:
        if job.number < 0:
            seeded.ask_to_stop(now=True)
        return None

    with monkeypatch.context() as clock:
        executor = SimulatedExecutor(Noisy(ends=stops, curve=((0.5, 3.0),)))
        by_clock_of(executor, clock)
        assert search(seeded, executor).stopped
    states = [record.state for record in records(seeded, "s/confirm")]
    assert states == ["FAIL", "WAITING"]
    rest = Noisy()
    assert search(seeded, rest).reason == "15 trials and 5 repeats are done"
    assert len(rest.repeated) == 5
    assert is_baseline(rest.jobs[0])


def test_what_others_put_into_the_studies_meanwhile_breaks_nothing(seeded: Driver) -> None:
    added: list[int] = []

    def adds(job: Job) -> Outcome | None:
        if job.number >= 0 or added:
            return None
        added.append(job.number)
        with seeded.database() as database:
            study, child = (optuna.load_study(study_name=name, storage=database.storage) for name in ("s", "s/confirm"))
            choices = {"X": study.trials[0].distributions["X"]}
            study.add_trial(optuna.trial.create_trial(value=0.1, params={"X": 1}, distributions=choices))
            study.add_trial(study.trials[1])
            child.add_trial(optuna.trial.create_trial(value=0.1, params={"X": 1}, distributions=choices))
            child.add_trial(child.trials[0]) if child.trials[0].state.is_finished() else None
            child.enqueue_trial({"X": 2})
        return None

    ended = search(seeded, Noisy(ends=adds))
    assert ended.reason == "15 trials and 5 repeats are done"
    assert ended.verdict is not None
    assert ended.verdict.winner is not None
    seeded.set(trials=24)
    rest = Noisy()
    ended = search(seeded, rest)
    assert ended.verdict is not None
    assert ended.verdict.winner is not None
    assert all(trained(job) != (2, 0.5, (0.8, 0.95), 43) for job in rest.repeated)


def test_a_child_study_that_cannot_be_gone_on_with_costs_the_verdict_and_no_trial(searched: Driver) -> None:
    with searched.database() as database:
        child = database.find_study("s/confirm")
        assert child is not None
        database.set_study_attr(child, FINGERPRINT, {"script": "another"})
    searched.set(trials=24)
    noisy = Noisy()
    ended = search(searched, noisy)
    assert ended.reason == "24 trials are done"
    assert noisy.repeated == []
    assert any(line.startswith("no verdict: study s/confirm") for line in searched.said)
