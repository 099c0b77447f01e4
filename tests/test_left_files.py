"""Script, profile, search: each step has its own patch. Only what can be trained lies in best/, whoever told it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from optimize.confirm.replicates import ranked
from optimize.reporting.dashboard import DashboardWriter
from optimize.reporting.files import write_views
from optimize.reporting.html.facts import gather
from optimize.reporting.html.page import render_page
from optimize.reporting.shown_study import ShownStudy
from optimize.reporting.status import best_lines
from optimize.search import stored_space
from optimize.search.whole import RULES
from optimize.study.left_files import BaselineFiles, to_take_away
from optimize.study.stored import StoredStudy, find_study
from storage import Database, TrialRecord, make_patch
from tests.conftest import SCRIPT, Driver
from tests.test_dashboard_notes import study_note, trial_note

CHOICES = {"X": (1, 2, 3, 4), "Y": (0.125, 0.25, 0.5, 1.0), "PAIR": ("(0.8, 0.95)", "(0.9, 0.95)")}
PROFILE = {"SIZE": 16, "Y": 1.0}


def put(database: Database, value: float, **params: object) -> None:
    """As another program does that knows the study."""
    study = optuna.load_study(study_name="s", storage=database.storage)
    distributions = {name: CategoricalDistribution(CHOICES[name]) for name in params}
    study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))


def test_the_profile_and_the_search_have_a_patch_each_and_both_lead_to_the_best_script(
    driver: Driver, tmp_path: Path
) -> None:
    driver.set(constants=PROFILE)
    driver.run(trials=4)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        baseline, best = stored.record(0), stored.best()
        assert best is not None
        assert best.record.number
        mine = stored.texts(baseline)
        assert [line for line in mine["profile.patch"].splitlines() if line[:1] == "+"][1:] == [
            "+Y = 1.0",
            "+SIZE = 16",
        ]
        assert mine["train.patch"] == ""
        write_views(stored)
        told = stored.texts(best.record)["train.patch"]
        assert "SIZE = 16" not in [line[1:] for line in told.splitlines() if line[:1] in "+-"]
        (tmp_path / "train.py").write_text(SCRIPT)
        for name in ("profile.patch", "train.patch"):
            text = (stored.paths.best / name).read_bytes()
            subprocess.run(["patch", "-p1"], input=text, cwd=tmp_path, check=True, capture_output=True)
        assert (tmp_path / "train.py").read_text() == (stored.paths.best / "train.py").read_text()
        DashboardWriter(ShownStudy(stored, stored.finished, print)).write()
        page = render_page(gather(stored), {})
        for text in (study_note(stored), trial_note(stored, 0), page):
            assert "the script with the profile's constants" in text.replace("&#x27;", "'").replace("&#39;", "'")
            assert "the script as it is" not in text
        assert "What the profile changed: the baseline against the script." in page


def test_where_the_profile_sets_nothing_the_baseline_is_the_script_as_it_is(driver: Driver) -> None:
    driver.run(trials=2)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        assert "profile.patch" not in stored.texts(stored.record(0)).keys() | stored.texts(stored.record(1)).keys()
        DashboardWriter(ShownStudy(stored, stored.finished, print)).write()
        assert "the script as it is" in study_note(stored)
        assert "The script ran unchanged." in trial_note(stored, 0)


def test_the_one_patch_of_an_earlier_release_is_taken_apart() -> None:
    script, before, after = "A = 1\nB = 1\n", "A = 2\nB = 1\n", "A = 2\nB = 3\n"
    left = {"train.py": before, "train.patch": make_patch({"train.py": script}, {"train.py": before})}
    baseline = BaselineFiles(TrialRecord(0, 1, "COMPLETE", kind="baseline"), left)
    found = baseline.patched({"train.py": after, "train.patch": make_patch({"train.py": script}, {"train.py": after})})
    assert found["train.patch"] == make_patch({"train.py": before}, {"train.py": after})
    assert found["profile.patch"] == left["train.patch"]
    assert to_take_away(found, TrialRecord(1, 2, "COMPLETE"))["train.patch"].endswith(found["train.patch"])
    assert BaselineFiles().patched(left) == left  # whose baseline has not completed


@pytest.fixture
def told(driver: Driver) -> Driver:
    """A study to which another program has added four trials, each better than the one before."""
    driver.run(trials=3)
    with driver.database() as database:
        put(database, 0.4, X=2, Y=0.125, PAIR="(0.9, 0.95)")
        put(database, 0.3, X=3, Y=0.125, PAIR="(0.9, 0.95)")
        put(database, 0.2, X=2, PAIR="(0.9, 0.95)")
    return driver


def stored_of(driver: Driver, database: Database) -> StoredStudy:
    return find_study(database, "s", driver.settings.runs)


def test_only_a_whole_configuration_is_the_best_and_a_better_one_is_named_beside_it(told: Driver) -> None:
    aside = "the best single value, 0.200000, is that of trial 5, which cannot be trained: it lacks Y"
    with told.database() as database:
        stored = stored_of(told, database)
        for best in (stored.best(), stored.best(stored.records())):
            assert best is not None
            assert (best.record.number, best.luckiest.number, best.aside) == (3, 5, aside)
        assert [each.number for each in ranked(told.plan, stored.records())][:1] == [3]
        assert best_lines(best, stored.metric)[-1] == aside
        write_views(stored)
        files = {path.name: path.read_text() for path in stored.paths.best.iterdir()}
        assert f'beside = "{aside}"' in files["summary.toml"]
        DashboardWriter(ShownStudy(stored, stored.finished, print)).write()
        assert aside in study_note(stored)
        assert aside in render_page(gather(stored), {})


def test_the_script_of_a_whole_configuration_that_another_program_told_is_rendered(told: Driver) -> None:
    expected = SCRIPT.replace("X = 4", "X = 2").replace("Y = 0.5", "Y = 0.125").replace("(0.8,", "(0.9,")
    with told.database() as database:
        stored = stored_of(told, database)
        texts = stored.texts(stored.record(3))
        assert texts["train.py"] == expected
        assert texts["train.patch"] == make_patch({"train.py": SCRIPT}, {"train.py": expected})
        assert stored.texts(stored.record(5)) == {}


def test_rules_are_known_to_studies_that_this_release_has_driven(told: Driver) -> None:
    with told.database() as database:
        stored = stored_of(told, database)
        attrs = database.study_attrs(stored.study_id)
        broken = stored.record(4)
        assert stored_space(attrs).why_not(broken) == "it breaks the rule SIZE % X == 0"
        del attrs[RULES]
        assert stored_space(attrs).why_not(broken) == ""
        assert stored_space({}).why_not(stored.record(5)) == ""  # of an imported study nothing is known
        assert stored_space({**attrs, RULES: 7}).why_not(stored.record(5)) == "it lacks Y"
