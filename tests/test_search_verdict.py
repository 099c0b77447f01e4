"""A search ends with a verdict: its best trials are trained again beside it, in a study of their own."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from optimize.confirm.campaign import VerdictState, share
from optimize.confirm.ledger import Ledger
from optimize.confirm.policy import decide
from optimize.confirm.replicates import child_plan, variation_of
from optimize.executors.simulated import SimulatedExecutor
from optimize.reporting.four_facts import four_facts
from optimize.reporting.standing import read_standing
from optimize.study.best import find_best
from optimize.study.stored import done_so_far, find_study
from optimize.trial import Job, Outcome, Slot, TrialStatus
from storage import StudyPaths, TrialRecord
from tests.conftest import SPACE, Driver
from tests.replicating import Noisy, best, by_clock_of, confirm, end, is_baseline, records, search, trained, verdict


def test_the_last_quarter_of_a_short_study_is_kept_for_repeats(seeded: Driver) -> None:
    seeded.set(log=("tensorboard",))
    noisy = Noisy()
    ended = search(seeded, noisy)
    assert ended.reason == "15 trials and 5 repeats are done"
    assert len([*seeded.paths.tensorboard.iterdir()]) == 15  # a tracker hears of trials alone
    assert not StudyPaths(seeded.settings.runs, "s/confirm").tensorboard.exists()
    assert (len(noisy.searched), len(noisy.repeated)) == (15, 5)
    study, child = records(seeded, "s"), records(seeded, "s/confirm")
    assert [record.number for record in study] == [*range(15)]
    assert {record.kind for record in child} == {"repeat"}
    assert {job.params["SEED"] for job in noisy.repeated} == {43, 44, 45}
    found = verdict(seeded)
    assert found is not None
    assert found.beside
    assert found.noise > 0
    assert found.winner is not None
    assert found.winner.state is VerdictState.CONFIRMED
    assert best(seeded)["trial"] == found.winner.number
    assert best(seeded)["confirmed"] is True
    assert "confirmed: gain" in end(seeded, ended)
    assert seeded.paths.folder.joinpath("confirm", "results.tsv").exists()
    assert search(seeded, noisy).reason == ended.reason
    assert len(noisy.jobs) == 20  # the same call again trains nothing
    assert done_so_far(seeded.paths.database, "s") == 20
    assert "verdict: the last 5 of 20 trainings repeat the best with other seeds (--confirm 0: none)" in seeded.said


def test_what_a_search_proposes_does_not_depend_on_repeats(seeded: Driver) -> None:
    alone, beside = Noisy(), Noisy()
    seeded.set(sampler="tpe")
    search(seeded, beside)
    seeded.set(study="t", trials=15)
    ended = search(seeded, alone, verdict=False)
    assert [job.params for job in beside.searched] == [job.params for job in alone.jobs]
    assert (ended.reason, ended.no_verdict, ended.verdict) == ("15 trials are done", "", None)


def test_without_an_end_repeats_are_a_tenth_and_an_exhausted_space_ends_with_a_verdict(seeded: Driver) -> None:
    seeded.set(trials=None)
    noisy = Noisy()
    ended = search(seeded, noisy)
    assert "all 24 feasible configurations have been tried" in ended.reason
    beside = [job.number < 0 for job in noisy.jobs][: noisy.jobs.index(noisy.searched[-1])]
    assert all(sum(beside[: k + 1]) <= (k + 2) // 10 for k in range(len(beside)))
    shown = end(seeded, ended)
    assert re.search(r"once its space has more choices: optimize migrate s .*--to s-2", shown)
    assert "go on:" not in shown
    with seeded.database() as database:
        steps = four_facts(read_standing(find_study(database, "s", seeded.settings.runs)))
    assert "Every configuration has been tried: only more choices can find more" in steps.next.more
    assert not any(command.startswith("optimize run") for _, command in steps.commands)
    assert sum(beside) == 2
    assert len(noisy.repeated) == share(29) == 5
    assert ended.verdict is not None
    assert ended.verdict.winner is not None
    trainings = len(noisy.jobs)
    search(seeded, noisy)
    assert len(noisy.jobs) == trainings


def test_no_slot_is_idle_while_there_is_something_to_train(seeded: Driver) -> None:
    seeded.set(trials=24)
    executor = SimulatedExecutor(noisy := Noisy(), 3)
    running: list[int] = []
    submit = executor.submit

    def counted_submit(job: Job) -> Slot:
        slot = submit(job)
        running.append(len(executor.running))
        return slot

    executor.submit = counted_submit  # type: ignore[method-assign]
    search(seeded, executor)
    begun = [trained(job) for job in noisy.jobs]
    assert len(begun) == 24
    last_search = max(k for k, job in enumerate(noisy.jobs) if job.number >= 0)
    assert set(running[3:last_search]) == {3}  # the first trial, the baseline, is alone


def test_hours_leave_time_for_repeats_and_end_with_a_last_look(seeded: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = Noisy()
    executor = SimulatedExecutor(noisy)
    by_clock_of(executor, monkeypatch)
    seeded.set(trials=None, hours=196 / 3600)  # of trainings of 10 s: the last begins at 190 s, and is a repeat
    ended = search(seeded, executor)
    assert ended.reason == "0.0544444 hours are over"
    assert [job.number < 0 for job in noisy.jobs] == [False] * 10 + [True] * 2 + [False] * 5 + [True] * 3
    assert executor.now_s == 200.0
    assert ended.verdict is not None
    assert ended.verdict.winner is not None


def test_luck_is_called_luck_and_makes_room_for_the_next_candidate(seeded: Driver) -> None:
    console = Console(file=io.StringIO(), width=200)
    ended = search(seeded, Noisy(gain=0.0), console=console)
    found = ended.verdict
    assert found is not None
    assert found.winner is None
    assert {each.state for each in found.finalists} == {VerdictState.LUCK}
    assert len(found.finalists) >= 2
    shown = find_best(ended.records, "minimize", found)
    assert shown is not None
    assert shown.state is VerdictState.CANDIDATE
    assert shown.record.number not in {each.number for each in found.finalists}
    assert best(seeded)["verdict"] == "candidate"
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"^again +\d\.\d+ +10 s +trial \d+, seed 43: luck$", text, re.MULTILINE)
    assert re.search(r"^again +\d\.\d+ +10 s +the baseline, seed 44$", text, re.MULTILINE)


def test_a_search_and_a_confirmation_know_of_each_others_trainings(searched: Driver) -> None:
    seeded, found = searched, verdict(searched)
    assert found is not None
    assert found.winner is not None
    confirmed, noisy = found.winner.number, Noisy()
    before = {tuple(sorted(r.params.items())) for r in records(seeded, "s/confirm") if r.state == "COMPLETE"}
    after = confirm(seeded, noisy, finalists=1, seeds=3).verdict
    assert after is not None
    assert not after.beside
    assert confirmed in {each.number for each in after.finalists}
    assert len(noisy.jobs) < 3 * 2 + 2
    kept = {tuple(sorted(r.params.items())) for r in records(seeded, "s/confirm") if r.state == "COMPLETE"}
    assert before < kept
    seeded.set(trials=25)
    assert search(seeded, Noisy()).verdict == after  # no repeat is due, so it stands


def test_where_no_end_is_known_a_study_that_catches_up_searches_as_well(unrepeated: Driver) -> None:
    unrepeated.set(trials=None)
    noisy = Noisy()
    search(unrepeated, noisy)
    kinds = [job.number < 0 for job in noisy.jobs[:6]]
    assert kinds == [False, True, False, True, False, False]


def test_a_winner_that_loses_at_twice_the_budget_is_scale_bound(seeded: Driver) -> None:
    (seeded.folder / "space.toml").write_text(SPACE.replace("Y = [", "Y = [0.3, 0.35, 0.6, 0.7, 0.8, 0.9, 0.95, "))
    seeded.set(trials=60)

    def longer(job: Job) -> Outcome | None:
        if job.params.get("TIME_BUDGET") != 200:
            return None
        value = 1.5 if is_baseline(job) else 1.6
        return Outcome(TrialStatus.COMPLETE, 20.0, summary={"val_bpb": value, "training_seconds": 200.0}, log="a log\n")

    noisy, console = Noisy(deviation=0.002, ends=longer), Console(file=io.StringIO(), width=200)
    ended = search(seeded, noisy, console=console)
    checks = [job for job in noisy.repeated if job.params["TIME_BUDGET"] == 200]
    assert [is_baseline(job) for job in checks] == [True, False]
    assert all(job.limits.total_s is None for job in checks)
    assert len(noisy.jobs) + len(checks) == 60  # each counts as two
    assert ended.reason.endswith(f"trials and {60 - len(noisy.searched)} repeats are done")
    found = ended.verdict
    assert found is not None
    assert found.winner is not None
    bound = "scale-bound: with 2 x TIME_BUDGET it loses to the baseline by +0.100000, one seed"
    assert found.winner.doubts == (bound,)
    assert f"but: {bound}" in end(seeded, ended)
    assert best(seeded)["but"] == bound
    assert "seed 43, 2 x TIME_BUDGET: confirmed" in console.file.getvalue()  # type: ignore[attr-defined]
    trainings = len(noisy.jobs)
    assert search(seeded, noisy).verdict == found
    assert len(noisy.jobs) == trainings


def test_what_a_winner_gains_at_twice_the_budget_is_told_as_well(seeded: Driver) -> None:
    plan = seeded.plan
    variation = variation_of(plan)
    space = child_plan(plan, variation).space
    ledger, better = Ledger(plan, variation, space), {**plan.baseline, "X": 2}
    for number, params in enumerate((plan.baseline, better)):
        ledger.add_trial(TrialRecord(number, number, "COMPLETE", params=plan.space.encode(params), value=2.0 - number))
    values = [(plan.baseline, 1, 1, 2.01), (plan.baseline, 2, 1, 1.99), (better, 1, 1, 1.01), (better, 2, 1, 1.0)]
    values += [(plan.baseline, 1, 2, 1.5), (better, 1, 2, 1.1)]
    for number, (params, seed, scale, value) in enumerate(values):
        replicate = space.encode(variation.of(params, seed, scale=scale))
        ledger.add_repeat(
            TrialRecord(number, number, "COMPLETE", params=replicate, value=value, kind="repeat"), again=False
        )
    assert ledger.spent == ledger.done == 4 + 2 * 2
    found = ledger.verdict(decide(ledger.campaign(20, 28, 1, None, over=True)), None)
    assert found is not None
    assert found.winner is not None
    assert (found.winner.number, found.winner.doubts) == (1, ())
    assert found.lines == ("with 2 x TIME_BUDGET trial 1 gains +0.400000, one seed",)
