"""Whoever shows a best trial shows the same one: the confirmed winner, and the best single value as what it is."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from optimize.reporting.html.facts import gather
from optimize.reporting.html.page import render_page
from optimize.reporting.notes import StudyFacts, study_note
from optimize.reporting.run_end import RunResult, end_report
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.status import best_lines, overview_table, study_table
from optimize.reporting.status_json import document
from optimize.reporting.terminal import LiveView
from optimize.study.start_from import describe_start_from
from optimize.study.stopping import Budget
from optimize.study.stored import StoredStudy, find_study, overview
from optimize.transfer.bundle import readme_text
from optimize.trial import Job, Outcome, Slot, TrialStatus
from tests.conftest import Driver
from tests.replicating import Trainings, best, confirm, jobs_of, ranked

pytestmark = pytest.mark.slow  # a whole confirmation each
WIDE = 300


@pytest.fixture
def lucky(night: Driver) -> Driver:
    """The study whose best value was luck: with other seeds that trial is worse than the one after it."""
    first = next(job for job in jobs_of(night) if job.number == ranked(night)[0])

    def fades(job: Job) -> Outcome | None:
        if any(job.params[name] != value for name, value in first.params.items()):
            return None
        value = 1.9 + int(str(job.params["SEED"])) / 10_000
        return Outcome(TrialStatus.COMPLETE, 10.0, summary={"val_bpb": value, "training_seconds": 100.0}, log="a log\n")

    found = confirm(night, Trainings(fades)).verdict
    assert found is not None
    assert found.winner is not None
    assert found.winner.number != ranked(night)[0]
    return night


@contextmanager
def opened(driver: Driver) -> Iterator[StoredStudy]:
    with driver.database() as database:
        yield find_study(database, "s", driver.settings.runs)


def printed(*what: object) -> str:
    page = Console(file=io.StringIO(), width=WIDE)
    page.print(*what)
    return page.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_everybody_shows_the_confirmed_winner(lucky: Driver) -> None:
    with opened(lucky) as stored:
        verdict, luckiest, baseline = stored.verdict(), stored.record(ranked(lucky)[0]), stored.record(0)
        assert verdict is not None
        assert verdict.winner is not None
        winner = stored.record(verdict.winner.number)
        value, single, gain = f"{winner.value:.6f}", f"{luckiest.value:.6f}", f"{verdict.winner.gain:+.6f}"
        shown, finished = stored.best(), stored.records()
        assert shown == stored.best(finished)
        assert shown is not None
        assert (shown.record, shown.luckiest, shown.confirmed) == (winner, luckiest, True)
        assert best(lucky)["trial"] == winner.number

        rows = printed(study_table(finished, shown, stored.metric, stored.baseline)).splitlines()
        assert [row.split()[0] for row in rows if "  best  " in row] == [str(winner.number)]
        assert [row.split()[0] for row in rows if "best single value" in row] == [str(luckiest.number)]
        words = " ".join(best_lines(shown, stored.metric))
        assert f"best val_bpb {value} in trial {winner.number}, confirmed: gain {gain}" in words
        assert f"the best single value, {single}, is that of trial {luckiest.number}" in words

        assert value in printed(overview_table(overview(stored.database, lucky.settings.runs)))
        (told,) = json.loads(json.dumps(document("here", [stored], 3)))["studies"]
        assert (told["best"]["number"], told["best_confirmed"]) == (winner.number, True)
        assert told["best_single_value"]["number"] == luckiest.number

        end = printed(end_report(lucky.plan, RunResult("its end", finished, verdict)))
        assert f"best val_bpb {value} in trial {winner.number}" in end
        assert f"the best single value, {single}" in end
        assert "be sure:" not in end
        live = LiveView(Console(), ShownStudy(stored, lambda: finished, print), Budget(20), (Slot("a"),))
        assert f"best val_bpb {value} (trial {winner.number}, confirmed)" in live._headline().plain
        live.on_trial_end(better := replace(winner, number=30, value=0.5))
        assert f"{value} (trial {winner.number}, confirmed), 0.500000 (trial 30, candidate)" in live._headline().plain
        assert stored.best([*finished, better]).record == winner  # type: ignore[union-attr]

        facts = StudyFacts("s", stored.metric, stored.database.study_attrs(stored.study_id), finished)
        note = " ".join(study_note(facts).split())
        assert f"| **best, confirmed** | **{value}** | {winner.number} |" in note
        assert f"| gain | {gain} |" in note
        assert f"| best single value | {single} | {luckiest.number} |" in note

        page = render_page(gather(stored), {})
        card = page[page.index('<span class="soft">best val_bpb') :].partition("</div>")[0]
        assert f"<b>{value}</b>" in card
        assert f"trial {winner.number};" in card
        assert f"the best single value, {single}" in card
        assert f"{verdict.winner.gain:.6g}" in page.partition("better than the baseline, the mean over 3 pairs")[0]
        assert "confirmed: the best" in page

        text = readme_text(stored, stored.database.counts(stored.study_id), datetime.now(UTC), all_artifacts=False)
        assert f"best: {value} in trial {winner.number}" in text
        assert f".trials[{winner.number}])" in text
        assert baseline.kind == "baseline"


def test_the_winner_is_the_first_that_another_study_begins_with(lucky: Driver) -> None:
    winner = best(lucky)["trial"]
    (lucky.folder / "workload" / "train.py").write_text(
        (lucky.folder / "workload" / "train.py").read_text().replace("SIZE = 8", "SIZE = 8\nMORE = 1")
    )
    lucky.set(study="t", start_from="s")
    lines = [line for line in describe_start_from(lucky.plan) if "study s, trial" in line]
    assert f"study s, trial {winner} " in lines[0]


def test_the_winner_stays_a_finalist_when_others_have_better_values(lucky: Driver) -> None:
    winner, luckiest = best(lucky)["trial"], ranked(lucky)[0]

    def lucky_once(job: Job) -> Outcome:
        return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 0.5 + job.number / 100}, log="a log\n")

    lucky.run(lucky_once, trials=11)
    again = confirm(lucky, Trainings(gain=0.0, ends=lambda job: None), finalists=1)
    assert again.verdict is not None
    assert {each.number for each in again.verdict.finalists} == {10, winner}
    assert again.verdict.winner is not None
    assert again.verdict.winner.number == winner
    assert best(lucky)["trial"] == winner
    assert luckiest in again.verdict.repeated  # of the earlier call: it did not come after the winner
