"""The report: one page that needs nothing else, true to the study, whatever the study is and whoever named its parameters."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pytest

from optimize.confirm.verdict import Finalist, Verdict, verdict_attrs
from optimize.reporting.html import write_report
from optimize.reporting.html.facts import gather
from optimize.reporting.html.page import render_page
from optimize.study.stored import StoredStudy, find_study
from storage import Database, StorageError, open_database
from tests.databases import empty_database
from tests.studies import CHOICES, DEFAULT, many_trials, stored_study, whole_trial

pytestmark = pytest.mark.slow  # each draws figures
VOID = {"meta", "br", "hr", "img", "link"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload='alert(3)"
ALLOWED_TAGS = {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "p", "div", "span", "b",
                "figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "pre", "code",
                "svg", "g", "path", "use", "defs", "clippath", "rect", "image"}  # fmt: skip


class Page(HTMLParser):
    """What a browser would make of it, as far as a test asks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "runs").mkdir()
    with closing(open_database(empty_database(tmp_path / "runs"))) as database:
        yield database


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def page_of(study: StoredStudy) -> Page:
    """Made, sound, and in need of nothing."""
    html = write_report(study)[0].read_text()
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert (page.unbalanced, page.open) == ([], [])
    assert set(page.tags) <= ALLOWED_TAGS
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name, value)
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value[:80])
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    assert wanted | set(re.findall(r"url\(#([^)]*)\)", html)) <= set(ids)
    assert "@import" not in html
    assert "url(http" not in html
    return page


def text_of(study: StoredStudy) -> str:
    """The page's words, without the time that drawing takes."""
    return Page(render_page(gather(study), {})).text


def test_a_study_is_told_on_one_page(database: Database, runs: Path) -> None:
    study = stored_study(database, runs, many_trials(60))
    page, shown = page_of(study), study.best()
    assert shown is not None
    best = shown.record
    assert f"{best.value:.6f}" in page.text
    assert f"trial {best.number}" in page.text
    assert "2.000000" in page.text  # the baseline
    assert f"{2.0 - (best.value or 0):.6g}" in page.text  # the gain
    assert "A candidate: it was trained once, with one seed" in page.text
    assert "MAX_SEQ_LEN = 256" in page.text
    assert "because it is out_of_memory" in page.text
    assert page.tags["svg"] == 2 + 1 + len(CHOICES) + 2 + 1  # progress and curves in two forms
    for heading in ("Best so far", "Which parameters mattered", "One parameter at a time", "Learning curves", "What it cost",
                    "The best trials", "What was tuned", "Settings", "Machine and versions"):  # fmt: skip
        assert heading in page.texts


def test_the_pictures_lie_beside_it_and_old_ones_go(database: Database, runs: Path) -> None:
    written = write_report(stored_study(database, runs, many_trials(40)))
    assert [path.relative_to(runs / "s").as_posix() for path in written] == [
        "report.html", "plots/progress.png", "plots/importance.png", "plots/slices.png", "plots/curves.png", "plots/cost.png",
    ]  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written[1:])
    mine = runs / "s" / "plots" / "my own.png"
    mine.write_bytes(b"mine")
    database.delete_study("s")
    assert [path.name for path in write_report(stored_study(database, runs, []))] == ["report.html"]
    assert [path.name for path in (runs / "s" / "plots").iterdir()] == ["my own.png"]


def test_choices_are_in_the_order_of_the_search_space(database: Database, runs: Path) -> None:
    text = text_of(stored_study(database, runs, many_trials(30)))
    assert "BATCH 128, 16, 32" in text
    assert "(0.8, 0.95), (0.9, 0.95)" in text


def test_an_empty_study_is_a_page_of_single_lines(database: Database, runs: Path) -> None:
    page = page_of(stored_study(database, runs, []))
    assert page.tags["svg"] == 0
    for line in ("The study has no trial yet.", "No trial has completed yet.", "No trial has told a loss on its way",
                 "No trial has ended here yet.", "There is no settings.json of this study here."):  # fmt: skip
        assert line in page.text


def test_a_study_with_failures_alone_says_why_they_failed(database: Database, runs: Path) -> None:
    page = page_of(stored_study(database, runs, [whole_trial(i, "crashed", None, reason="no GPU") for i in range(3)]))
    assert "No trial has completed yet." in page.text
    assert "no GPU" in page.text
    assert "0 trials have completed" in page.text  # why there is no importance
    assert page.tags["svg"] == 3  # cost, and curves in two forms


@pytest.mark.parametrize(
    ("direction", "values"),
    [
        ("minimize", [1.0]),
        ("maximize", [1.0, 1.0]),
        ("minimize", [0.0, -0.0]),
        ("maximize", [1e300, -1e300]),
        ("minimize", [1e300, -1e300]),
        ("maximize", [1e-300, 2e-300]),
        ("minimize", [5.0, 5.0 + 1e-15]),
    ],
)
def test_numbers_that_no_axis_likes_are_drawn_all_the_same(
    database: Database, runs: Path, values: list[float], direction: str
) -> None:
    trials = [whole_trial(i, "complete", value) for i, value in enumerate(values)]
    assert page_of(stored_study(database, runs, trials, direction=direction)).tags["svg"] > 0


def test_hostile_text_stays_text(database: Database, runs: Path) -> None:
    names: dict[str, list[object]] = {HOSTILE: [HOSTILE, "b"], "$x_{1}$": ["\u202e", "日本"], "a" * 300: [1, 2]}
    trials = [
        whole_trial(
            i,
            "complete" if i % 3 else "hopeless",
            i / 10 if i % 3 else None,
            {name: choices[i % 2] for name, choices in names.items()},
            names,  # type: ignore[arg-type,misc]
            reason=HOSTILE,
            slot=HOSTILE,
            device=HOSTILE,
            summary={HOSTILE: HOSTILE, "epochs": 3.0},
        )
        for i in range(30)
    ]
    about = {"constants": {HOSTILE: HOSTILE}, "baseline": {HOSTILE: "b"}, "fingerprint": {}}
    study = stored_study(database, runs, trials, name=HOSTILE, metric=HOSTILE, about=about)
    study.paths.create()
    kept = {
        "origins": {HOSTILE: HOSTILE, "constants": HOSTILE},
        HOSTILE: HOSTILE,
        "constants": {HOSTILE: HOSTILE},
        "machine": {HOSTILE: HOSTILE},
    }
    study.paths.settings_json.write_text(json.dumps(kept))
    page = page_of(study)  # which knows which tags and attributes there may be
    assert HOSTILE in page.text
    assert "\u202e" not in page.text


def test_an_ending_of_another_release_is_shown_by_its_name(database: Database, runs: Path) -> None:
    assert "<b>vanished" in text_of(stored_study(database, runs, [whole_trial(0, "<b>vanished", None)]))


def test_spoilt_attributes_and_settings_are_no_reason_to_fail(database: Database, runs: Path) -> None:
    about = {"constants": [1], "baseline": {}, "confirmation": {"finalists": 7}}
    study = stored_study(database, runs, many_trials(5), about=about)
    study.paths.create()
    for text in (
        '{"origins": [1]}',
        "[]",
        "{",
        "[" * 9999,
        '{"origins": {"gpus_per_trial": 1}, "gpus_per_trial": "x"}',
    ):
        study.paths.settings_json.write_text(text)
        assert "There is no settings.json" in text_of(study) or "gpus_per_trial x" in text_of(study)


def test_what_was_confirmed_is_told(database: Database, runs: Path) -> None:
    study = stored_study(database, runs, many_trials(30))
    best = study.best()
    assert best is not None
    first = Finalist(best.record.number, 4, 0.031, 0.012, 0.05, True, doubts=("saw its data 2 times",))
    other = Finalist(5, 2, -0.004, -0.03, 0.02, False, rejected=True)
    verdict = Verdict((first, other), 0.95, 0.0071, 0.0093, ("rank agreement at twice the budget: 0.8",))
    for key, value in verdict_attrs(verdict).items():
        database.set_study_attr(study.study_id, key, value)
    text = text_of(study)
    for told in ("confirmed", "+0.031", "+0.012 to +0.05", "0.03 to +0.02", "luck", "saw its data 2 times", "0.0071", "0.0093",
                 "rank agreement at twice the budget: 0.8"):  # fmt: skip
        assert told in text


def test_a_verdict_without_a_winner_is_no_success(database: Database, runs: Path) -> None:
    study = stored_study(database, runs, many_trials(30))
    verdict = Verdict((Finalist(3, 4, 0.01, -0.01, 0.03, False),), 0.95, 0.01, 0.02)
    for key, value in verdict_attrs(verdict).items():
        database.set_study_attr(study.study_id, key, value)
    assert "Of 1 others, repeated with other seeds, none was surely better than the baseline." in text_of(study)


def test_a_confirmation_in_which_too_little_completed_says_so(database: Database, runs: Path) -> None:
    study = stored_study(database, runs, many_trials(30))
    for key, value in verdict_attrs(Verdict((), 0.95, 0.0, 0.0, ("trial 3 failed with every other seed",))).items():
        database.set_study_attr(study.study_id, key, value)
    text = text_of(study)
    assert "too few trainings completed with other seeds" in text
    assert "trial 3 failed with every other seed" in text
    assert "0 repetitions" not in text
    assert "Noise between seeds" not in text


def test_the_settings_are_shown_with_their_origins_and_no_address(database: Database, runs: Path) -> None:
    study = stored_study(database, runs, many_trials(3))
    study.paths.create()
    kept = {"sampler": "tpe", "limits": {"total_s": 300}, "storage": "postgresql://me:secret@host/db", "device": "cuda",
            "gpus_per_trial": 2, "trials_per_gpu": 1, "machine": {"torch": "2.13.0"},
            "origins": {"sampler": "flag", "limits": "profile cpu", "storage": "environment OPTIMIZE_STORAGE_URL"}}  # fmt: skip
    study.paths.settings_json.write_text(json.dumps(kept))
    text = text_of(study)
    assert "sampler tpe flag" in text
    assert "limits.total_s 300 profile cpu" in text
    assert "secret" not in text
    assert "2.13.0" in text
    assert "30 GPU-minutes in all" in text  # three trials of five minutes on two GPUs


def test_a_study_of_another_program_is_told_as_well(runs: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'foreign.db'}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(study_name="my study / 7", storage=url, direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        rate, layers = trial.suggest_float("lr", 1e-5, 1.0, log=True), trial.suggest_int("layers", 1, 40)
        for step in (0, 100, 200):
            trial.report(rate + step, step)
        if trial.number % 5 == 1:
            raise optuna.TrialPruned
        return -rate * layers

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study.optimize(objective, n_trials=30)
    with closing(open_database(url)) as database:
        found = find_study(database, None, runs)
        page = page_of(found)
        assert found.paths.folder.parent == runs
    assert "my study / 7" in page.text
    assert f"{study.best_value:.6g}"[:6] in page.text
    assert "lr a range" in page.text
    assert "pruned" in page.text


def test_trials_that_run_are_counted_and_the_driver_is_named(database: Database, runs: Path) -> None:
    from storage import acquire

    study = stored_study(database, runs, many_trials(4))
    database.create_trial(study.study_id, state="RUNNING", params=DEFAULT, choices=CHOICES)
    study.paths.create()
    lease = acquire(database, study.study_id, lock=study.paths.lock)
    text = text_of(study)
    lease.release()
    assert "1 running" in text
    assert f"process {os.getpid()} on" in text


def test_many_trials_are_one_page_below_3_mb(database: Database, runs: Path) -> None:
    study = stored_study(database, runs, many_trials(600))
    page = page_of(study)
    assert study.paths.report.html.stat().st_size < 3_000_000
    assert "600 trials" in page.text


def test_it_may_go_elsewhere_and_a_place_that_cannot_be_is_one_line(
    database: Database, runs: Path, tmp_path: Path
) -> None:
    study = stored_study(database, runs, many_trials(3))
    assert write_report(study, tmp_path / "a" / "b")[0] == tmp_path / "a" / "b" / "report.html"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="file"):
        write_report(study, tmp_path / "file")
    assert not (runs / "s").exists()
