"""Import as a user types it, and every command on what came of it: real processes, what they print, how they exit."""

from __future__ import annotations

import json
import subprocess
import urllib.request
import zipfile

import pytest

from optimize.study.stored import find_study
from optimize.transfer.bundle import write_bundle
from tests.conftest import Driver
from tests.imports import optuna_4, results_tsv, written
from tests.test_cli import ROOT, environment, optimize, run
from tests.test_dashboard import dashboard, fetch
from tests.transfers import nothing_changes, records

pytestmark = pytest.mark.slow


def has_imported(driver: Driver) -> None:
    """A table and a database, as studies `by-hand` and `old`."""
    written(driver.folder, "results.tsv", results_tsv())

    def bring_in() -> None:
        optuna_4(driver.folder)
        for words in (
            ["results.tsv", "--study", "by-hand"],
            ["optuna4.db", "--study", "old", "--source-study", "night"],
        ):
            ended = optimize(driver, "import", *words)
            assert ended.returncode == 0, ended.stderr
            assert "300 trials" in ended.stderr

    driver.once("imported", bring_in)


def test_a_study_that_was_brought_in_can_be_looked_at_in_every_way(driver: Driver) -> None:
    has_imported(driver)
    shown = optimize(driver, "status", "--study", "by-hand", "--last", "300")
    assert shown.returncode == 0, shown.stderr
    assert "increase LR to 0.04" in shown.stdout
    told = json.loads(optimize(driver, "status", "--json").stdout)
    assert [(study["name"], sum(study["states"].values())) for study in told["studies"]] == [
        ("by-hand", 300),
        ("old", 300),
    ]
    assert told["studies"][0]["baseline"]["value"] == 0.9979
    page = optimize(driver, "show", "10", "--study", "by-hand").stdout
    assert "copied from: results.tsv line 12" in page
    assert "train it again" not in page
    for name in ("by-hand", "old"):
        assert optimize(driver, "export", "--study", name).returncode == 0
        bundle = optimize(driver, "export", "--study", name, "--bundle", "--to", f"{name}.zip")
        assert bundle.returncode == 0, bundle.stderr
        assert (driver.folder / f"{name}.zip").exists()
        tsv = (driver.folder / "runs" / name / "results.tsv").read_text()
        assert len(tsv.splitlines()) == 301
        if name == "by-hand":  # the last column, as it came
            assert [line.split("\t")[-1] for line in tsv.splitlines()] == [
                line.split("\t")[-1] for line in results_tsv().splitlines()
            ]
    assert optimize(driver, "show", "7", "--study", "old").returncode == 0


def test_the_dashboard_shows_what_was_brought_in(driver: Driver) -> None:
    has_imported(driver)
    with dashboard(driver) as url:
        studies = json.loads(fetch(f"{url}/api/studies"))
        names = {each["study_name"]: each["study_id"] for each in studies["study_summaries"]}
        for name in ("by-hand", "old"):
            with urllib.request.urlopen(f"{url}/api/studies/{names[name]}?after=0", timeout=60) as answer:
                trials = json.loads(answer.read())["trials"]
            assert len(trials) == 300


def test_a_study_that_was_brought_in_is_not_gone_on_with(driver: Driver) -> None:
    has_imported(driver)
    with nothing_changes(driver):
        ended = run(driver, "--study", "by-hand")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("study by-hand: it was")]
    assert "--from by-hand" in line


def test_a_new_study_begins_with_one_that_was_brought_in(driver: Driver) -> None:
    table = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\na\t1.2\t1\tkeep\tX=2\nb\t1.1\t1\tkeep\tX=1, Y=0.25\n"
    written(driver.folder, "results.tsv", table)
    assert optimize(driver, "import", "results.tsv", "--study", "by-hand").returncode == 0
    ended = run(driver, "--study", "new", "--from", "by-hand", "--trials", "3", "--slots", "1")
    assert ended.returncode == 0, ended.stderr
    assert "imported or made by another program" in ended.stderr
    assert "the metric or its direction is another" not in ended.stderr
    found = records(driver, "new")
    assert [record.kind for record in found] == ["baseline", "start", "start"]
    assert (found[1].params["X"], found[1].params["Y"]) == (1, 0.25)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["nothing.tsv", "--study", "new"], "does not exist"),
        (["--study", "new"], "import: no source"),
        (["spoilt.tsv", "--study", "new"], "not UTF-8"),
        (["results.tsv"], "--study: missing"),
        (["results.tsv", "--study", "s"], "has one of this name"),
        (["results.tsv", "--study", "s/confirm"], "Leave the / out"),
        (["results.tsv", "--study", "..."], "not a name for a study"),
        (["postgresql://me:secret@host/x", "--study", "new"], "OPTIMIZE_IMPORT_URL"),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_in_is_one_line_and_makes_nothing(driver: Driver, words: list[str], what: str) -> None:
    driver.run(trials=1)
    written(driver.folder, "results.tsv", results_tsv(3))
    written(driver.folder, "spoilt.tsv", b"\xff\xfe\0\0")
    with nothing_changes(driver):
        ended = optimize(driver, "import", *words)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert what in ended.stderr
    assert "secret" not in ended.stderr


def test_a_bundle_without_pyarrow_lacks_one_file_and_says_so(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.run(trials=1)
    monkeypatch.setattr("optimize.transfer.bundle.find_spec", lambda name: None)
    with driver.database() as database:
        archive = write_bundle(find_study(database, "s", driver.settings.runs), None, False, driver.said.append)
    assert "trials.csv" in (names := " ".join(zipfile.ZipFile(archive).namelist()))
    assert "trials.parquet" not in names
    assert any("trials.parquet: left out" in line for line in driver.said)


def test_make_export_makes_a_bundle(driver: Driver) -> None:
    calls = {
        (): "export",
        ("BUNDLE=1",): "export --bundle",
        ("BUNDLE=x.zip", "ARTIFACTS=1"): "export --bundle --to x.zip --artifacts",
        ("STUDY=s", "BUNDLE=a b.zip"): "export --study s --bundle --to a b.zip",
    }
    for given, wanted in calls.items():
        told = subprocess.run(
            ["make", "-n", "-o", ".venv/.installed", "export", *given],
            cwd=ROOT, env=environment(driver), capture_output=True, text=True, check=True,
        )  # fmt: skip
        line = next(line for line in told.stdout.splitlines() if "optimize export" in line)
        assert " ".join(line.replace("'", "").split()).endswith(f"optimize {wanted}")


def test_a_bad_file_makes_no_database(driver: Driver) -> None:
    written(driver.folder, "spoilt.tsv", "loss\n1\n")
    ended = optimize(driver, "import", "spoilt.tsv", "--study", "new")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert not (driver.folder / "runs").exists()
