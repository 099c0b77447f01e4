"""Winners trained again with other seeds, driven inline: what is trained, what comes of it, nothing lost, nothing done twice."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from optimize.confirm.table import verdict_line, verdict_table
from optimize.study.stored import find_study
from optimize.trial import Job, Outcome, TrialStatus
from tests.conftest import Driver, val_bpb
from tests.replicating import LUCK, Killed, Trainings, best, confirm, jobs_of, ranked, records, verdict
from tests.zoo import eventually


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
    one, two, three = (f"trial {number}" for number in ranked(night)[:3])
    told = f"confirmation: the baseline, {one}, {two} and {three} are trained with the same 3 other seeds; 14 trainings at most"
    assert told in night.said


def test_what_is_being_trained_is_shown_by_the_name_of_what_it_repeats(night: Driver) -> None:
    screen = io.StringIO()

    def drawn(job: Job) -> None:  # the picture is renewed four times a second, and a training here takes no time
        assert eventually(lambda: any(f", seed {job.params['SEED']}" in line for line in starting()), 120.0)

    def starting() -> list[str]:
        return [line for line in screen.getvalue().splitlines() if "starting" in line]

    confirm(night, Trainings(drawn), slots=2, console=Console(file=screen, force_terminal=True, width=160))
    assert all(", seed 4" in line for line in starting())


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
    assert best(night)["trial"] == ranked(night)[3]  # the best that is not known to be luck
    assert best(night)["verdict"] == "candidate"
    assert verdict_line(ended.verdict, night.plan.workload.metric).startswith(("candidate", "luck"))


def test_gains_are_paired_by_seed_and_the_first_seed_does_not_count(night: Driver) -> None:
    ended = confirm(night, Trainings(), finalists=1, seeds=2)
    assert ended.verdict is not None
    (finalist,) = ended.verdict.finalists
    script = Trainings()
    params = next(job.params for job in jobs_of(night) if job.number == finalist.number)
    base = {"X": 4, "Y": 0.5, "PAIR": (0.8, 0.95)}
    gains = [
        float(script.summary({**base, "SEED": seed})["val_bpb"])
        - float(script.summary({**params, "SEED": seed})["val_bpb"])
        for seed in (43, 44)
    ]
    assert finalist.gain == pytest.approx(sum(gains) / 2)
    assert finalist.pairs == 2


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
    params = next(job.params for job in jobs_of(night) if job.number == first)

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


def test_finalists_that_all_fail_with_other_seeds_leave_a_verdict_without_a_winner(night: Driver) -> None:
    def fails(job: Job) -> Outcome | None:
        baseline = (job.params["X"], job.params["Y"], job.params["PAIR"]) == (4, 0.5, (0.8, 0.95))
        return None if baseline else Outcome(TrialStatus.DIVERGED, 1.0, "FAIL")

    ended = confirm(night, Trainings(fails))
    assert ended.verdict is not None
    assert ended.verdict.finalists == ()
    assert "with 0 other seeds, too few for a verdict" in ended.verdict.lines[0]
    assert verdict(night) == ended.verdict
    assert best(night)["confirmation"] == "too few trainings completed with other seeds"
    page = io.StringIO()
    Console(file=page, width=200).print(verdict_table(ended.verdict, night.plan.workload.metric))
    assert "no verdict: too few" in page.getvalue()


def test_a_crash_is_tried_again_and_a_second_one_costs_a_pair(night: Driver) -> None:
    first = ranked(night)[0]
    params = next(job.params for job in jobs_of(night) if job.number == first)

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
    night.set(limits=replace(night.settings.limits, total_s=60.0))
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


def test_another_seed_that_changes_nothing_is_said_and_nothing_is_confirmed(night: Driver) -> None:
    def same(job: Job) -> Outcome:
        value = val_bpb({name: job.params[name] for name in ("X", "Y", "PAIR")})
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": value})

    ended = confirm(night, same)
    assert ended.verdict is not None
    assert ended.verdict.winner is None
    assert any("another SEED changes nothing" in line for line in ended.verdict.lines)


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


def test_several_slots_train_the_same(night: Driver) -> None:
    one = confirm(night, Trainings()).verdict
    with night.database() as database:
        find_study(database, "s/confirm", night.settings.runs).delete()
    assert confirm(night, Trainings(), slots=5).verdict == one
