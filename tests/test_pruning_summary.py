"""Pruning in a study: what is cut and told, what never is, what a restart remembers, and what is said about it afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from scipy.stats import beta

from optimize.executors.local import LocalExecutor
from optimize.executors.simulated import SimulatedExecutor
from optimize.reporting.status import pruning_lines
from optimize.search import pruner
from optimize.search.pruner import PruningSummary, summarize_pruning, upper_bound
from optimize.study.loop import Loop
from optimize.study.stopping import Budget, StopSignals
from optimize.study.study import Study
from optimize.trial import Job, Metric, Outcome, Progress, Slot, Suggestion, TrialStatus
from storage import TrialRecord, read_records
from tests.conftest import Driver, complete, val_bpb

PERCENTS = (10, 15, 20, 30, 40, 50, 65, 85)


def losses(value: float) -> tuple[tuple[float, float], ...]:
    """A curve that tells how it will end."""
    return tuple((percent / 100, 4 + value - percent / 50) for percent in range(5, 101, 5))


def informative(job: Job) -> Outcome:
    value = val_bpb(job.params)
    return Outcome(TrialStatus.COMPLETE, 100.0, summary={"val_bpb": value}, log="a log\n", curve=losses(value))


@pytest.fixture
def pruned(driver: Driver) -> Driver:
    """A study with pruning over 120 configurations, whose values are spread evenly."""
    choices = ", ".join(str(1 / 2 + i / 40) for i in range(20))
    text = (driver.folder / "space.toml").read_text()
    (driver.folder / "space.toml").write_text(text.replace("[0.125, 0.25, 0.5, 1.0]", f"[{choices}]"))
    driver.set(pruning=True)
    return driver


def records(driver: Driver) -> list[TrialRecord]:
    with driver.database() as database:
        return read_records(database, database.find_study("s") or 0)


def report_badly(study: Study, number: int) -> str:
    """The whole curve of a trial that will be far worse than all others; what the study says to it."""
    said = [study.report(Progress(number, fraction, loss=loss)) for fraction, loss in losses(9.0)]
    return next(filter(None, said), "")


def worst_suggestion(driver: Driver, study: Study, kind: str) -> Suggestion:
    if kind != "sampler":
        study.enqueue({"X": 4, "Y": 0.975, "PAIR": (0.9, 0.95)}, kind)
    return study.ask()


# --- cut and told -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hopeless_trials_are_cut_early_told_pruned_and_the_best_is_found_all_the_same(pruned: Driver) -> None:
    pruned.run(informative, trials=100)
    told = records(pruned)
    cut = [record for record in told if record.status == TrialStatus.HOPELESS]
    assert len(cut) > 20
    assert all((record.state, record.value) == ("PRUNED", None) for record in cut)
    assert all((record.seconds or 0) < 100 and max(record.curve) < 85 for record in cut)
    assert all(record.reason == record.condemned and "the top quarter is below" in record.reason for record in cut)
    values = {record.number: val_bpb(_decoded(record)) for record in told}
    quarter = sorted(values.values())[len(told) // 4]
    assert min(values[record.number] for record in cut) > quarter


@pytest.mark.slow
def test_halving_cuts_at_the_rung_from_the_fifth_trial_on_also_after_a_restart(pruned: Driver) -> None:
    pruned.set(pruner="halving")
    pruned.run(informative, trials=20)
    pruned.run(informative, trials=40)
    told = records(pruned)
    cut = [record for record in told if record.status == TrialStatus.HOPELESS]
    assert {max(record.curve) for record in cut} == {15}
    assert all("train loss" in record.reason and "best third" in record.reason for record in cut)
    assert any(record.number < 16 for record in cut)  # where the regression still waits
    assert any(record.number >= 20 for record in cut)
    assert len(cut) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 5])
def test_the_condemned_that_were_spared_are_complete_and_counted(pruned: Driver, slots: int) -> None:
    pruned.run(informative, trials=110, slots=slots)
    told = records(pruned)
    cuts = summarize_pruning(told, Metric())
    spared = [record for record in told if record.condemned and record.state == "COMPLETE"]
    assert cuts.ran_on == len(spared) > 0
    assert cuts.missed == 0
    assert cuts.cut == sum(record.status == TrialStatus.HOPELESS for record in told)
    assert cuts.saved_s == pytest.approx(sum(100 - (r.seconds or 0) for r in told if r.status == TrialStatus.HOPELESS))


@pytest.mark.slow
def test_without_pruning_everything_runs_to_its_end(pruned: Driver) -> None:
    pruned.set(pruning=False)
    pruned.run(informative, trials=60)
    assert {record.state for record in records(pruned)} == {"COMPLETE"}


@pytest.mark.slow
def test_a_script_that_prints_no_loss_is_never_cut(pruned: Driver) -> None:
    pruned.run(lambda job: Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": val_bpb(job.params)}), trials=60)
    assert {record.state for record in records(pruned)} == {"COMPLETE"}


@pytest.mark.slow
def test_a_curve_that_ends_early_still_completes(pruned: Driver) -> None:
    """The script's shares of the budget may stop at 12 %: then there is nothing to compare at twice."""

    def short(job: Job) -> Outcome:
        value = val_bpb(job.params)
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": value}, curve=losses(value)[:2])

    pruned.run(short, trials=60)
    assert {record.state for record in records(pruned)} == {"COMPLETE"}


@pytest.mark.slow
def test_being_hopeless_is_no_failure(pruned: Driver) -> None:
    kept = []

    class Watching(SimulatedExecutor):
        def forget(self, number: int, keep: bool = False) -> None:
            kept.append((number, keep))

    with pruned.open() as study, StopSignals() as stop_signals:
        budget = Budget(trials=60, max_consecutive_failures=1)
        Loop(study, Watching(informative), pruned.job, budget, (), stop_signals, keep_failed=True, tick_s=0).run()
        assert any(record.status == TrialStatus.HOPELESS for record in study.records())
    assert len(kept) == 60
    assert not any(keep for _, keep in kept)


# --- never cut, and remembered ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "hopeless"), [("sampler", True), ("advisor", True), ("baseline", False), ("start", False)]
)
def test_only_what_was_proposed_is_cut(pruned: Driver, kind: str, hopeless: bool) -> None:
    pruned.run(informative, trials=40)
    pruned.set(seed=_seed_that_spares(pruned, False))
    with pruned.open() as study:
        suggestion = worst_suggestion(pruned, study, kind)
        assert bool(report_badly(study, suggestion.number)) == hopeless


@pytest.mark.slow
def test_a_restart_forgets_nothing_that_verdicts_are_made_of(pruned: Driver) -> None:
    pruned.run(informative, trials=60)
    pruned.set(seed=_seed_that_spares(pruned, False))
    said = []
    for _ in range(2):
        with pruned.open() as study:
            said.append(report_badly(study, study.ask().number))
    assert said[0] == said[1] != ""


@pytest.mark.slow
def test_a_spared_trial_is_remembered_as_condemned_and_judged_once(
    pruned: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned.run(informative, trials=40)
    monkeypatch.setattr(pruner, "SPARED", 1.0)
    with pruned.open() as study:
        suggestion = study.ask()
        assert report_badly(study, suggestion.number) == ""
        job = pruned.job(suggestion)
        study.tell(job, complete(job))
    record = records(pruned)[suggestion.number]
    assert (record.state, list(record.curve)) == ("COMPLETE", list(PERCENTS))
    assert record.condemned.startswith("train loss ")
    assert " at 15 %: " in record.condemned


@pytest.mark.slow
def test_a_trial_that_a_person_told_in_the_dashboard_while_it_ran_is_left_alone(pruned: Driver) -> None:
    pruned.run(informative, trials=40)
    with pruned.open() as study:
        suggestion = study.ask()
        with pruned.database() as database:
            trial = database.find_trial(database.find_study("s") or 0, suggestion.number)
            assert trial is not None
            database.finish_trial(trial._trial_id, "FAIL")
        assert report_badly(study, suggestion.number) == ""


SLEEPER = """\
import time
X = 4
Y = 0.5
PAIR = (0.8, 0.95)
SIZE = 8
value = 1.0 + abs(X - 2) / 10 + abs(Y - 0.25) + PAIR[0] / 100
for percent in (10, 15, 20, 30):
    print(f"step {percent:05d} ({percent}.0%) | loss: {3 + value:.6f} | remaining: 9s", flush=True)
if value > 1.7:
    time.sleep(60)
print(f"---\\nval_bpb: {value:.6f}")
"""


@pytest.mark.slow
def test_the_process_of_a_hopeless_trial_is_ended(pruned: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bad ones would sleep for a minute each; none of those that run before the pruner knows enough is among them."""
    monkeypatch.setattr(pruner, "SPARED", 0.0)
    (pruned.folder / "workload" / "train.py").write_text(SLEEPER)
    with pruned.open() as study, StopSignals() as stop_signals:
        for i in range(pruner.FINISHED + 4):
            study.enqueue({"X": (1, 2)[i % 2], "Y": 0.5 + i // 2 / 40, "PAIR": (0.8, 0.95)}, "start")
        executor = LocalExecutor((Slot("a"),), pruned.paths.work)
        Loop(study, executor, pruned.job, Budget(trials=40), (), stop_signals).run()
        told = {record.number: record.status for record in study.records()}
    assert TrialStatus.HOPELESS in told.values()
    assert set(told.values()) == {TrialStatus.HOPELESS, TrialStatus.COMPLETE}
    assert all((val_bpb(_decoded(each)) > 1.7) <= (each.status == TrialStatus.HOPELESS) for each in records(pruned))


# --- said afterwards --------------------------------------------------------------------------------------------------


def _record(number: int, value: float | None, **more: object) -> TrialRecord:
    state, status = ("COMPLETE", "complete") if value is not None else ("PRUNED", "hopeless")
    return TrialRecord(number, number, state, status, value=value, **more)  # type: ignore[arg-type]


@pytest.fixture
def told() -> list[TrialRecord]:
    """Ten complete ones of 100 s, of which two were condemned; two that were cut, at 20 % and at 50 %."""
    done = [_record(n, 1.0 + n / 10, seconds=100.0, condemned="bad" if n in (1, 9) else "") for n in range(10)]
    cut = [_record(10, None, seconds=22.0, curve={10: 5.0, 20: 5.0}), _record(11, None, seconds=50.0, curve={50: 5.0})]
    crashed = TrialRecord(12, 12, "FAIL", "crashed", seconds=5.0)
    return [*done, *cut, crashed]


def test_what_was_cut_what_it_saved_and_what_was_missed(told: list[TrialRecord]) -> None:
    cuts = summarize_pruning(told, Metric())
    assert cuts == PruningSummary(cut=2, saved_s=pytest.approx(78 + 50), ran_on=2, missed=1)
    assert summarize_pruning(told, Metric("accuracy", "maximize")).missed == 1
    assert summarize_pruning(told[2:], Metric()).missed == 0


def test_a_trial_that_ran_slowly_saves_no_more_than_the_usual_time(told: list[TrialRecord]) -> None:
    slow = [
        *told[:10],
        _record(10, None, seconds=95.0, curve={10: 5.0}),
        _record(11, None, seconds=300.0, curve={10: 5.0}),
    ]
    assert summarize_pruning(slow, Metric()).saved_s == pytest.approx(5)


def test_the_figures_are_one_line_and_none_where_nothing_was_hopeless(told: list[TrialRecord]) -> None:
    (line,) = pruning_lines(told, Metric())
    assert line.startswith("pruning: 2 trials cut, about 2 min 08 s saved; 2 more were hopeless and ran on, 1 of them")
    assert pruning_lines(told[2:9], Metric()) == []
    assert pruning_lines([], Metric()) == []


@pytest.mark.parametrize(("hits", "of"), [(0, 1), (0, 10), (1, 65), (3, 40), (40, 2000)])
def test_the_upper_bound_is_clopper_and_pearsons(hits: int, of: int) -> None:
    assert upper_bound(hits, of) == pytest.approx(beta.ppf(0.95, hits + 1, of - hits), abs=1e-6)


def test_from_no_trial_nothing_follows() -> None:
    assert upper_bound(0, 0) == 1.0
    assert upper_bound(2, 2) == 1.0


def _decoded(record: TrialRecord) -> dict[str, object]:
    return {**record.params, "PAIR": (0.8, 0.95) if "0.8" in str(record.params["PAIR"]) else (0.9, 0.95)}


def _seed_that_spares(driver: Driver, spares: bool) -> int:
    """One with which the next trials are (not) spared."""
    numbers = range(len(records(driver)), len(records(driver)) + 4)

    def spared(seed: int) -> Iterator[bool]:
        return (random.Random(f"{seed} spares {number}").random() < pruner.SPARED for number in numbers)

    return next(seed for seed in range(10_000) if all(each is spares for each in spared(seed)))


def test_trials_that_were_cut_make_the_top_quarter_larger() -> None:
    spared = TrialRecord(1, 1, "COMPLETE", "complete", value=2.0, condemned="why")
    complete = [TrialRecord(n, n, "COMPLETE", "complete", value=float(n)) for n in (1, 3, 4)]
    cut = [TrialRecord(n, n, "PRUNED", "hopeless") for n in range(10, 14)]
    assert summarize_pruning([spared, *complete], Metric()).missed == 0
    assert summarize_pruning([spared, *complete, *cut], Metric()).missed == 1
