"""Workloads: a folder becomes jobs; an untouched autoresearch checkout needs no settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import RenderError, WorkloadError
from optimize.trial import Limits, Suggestion
from optimize.workload import load_workload

TRAIN = "from prepare import MAX_SEQ_LEN\nDEPTH = 8  # layers\nTOTAL_BATCH_SIZE = 2**19\nBETAS = (0.8, 0.95)\nNOW = DEPTH * 2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "a folder with 'quotes'"
    where.mkdir()
    (where / "train.py").write_text(TRAIN)
    (where / "prepare.py").write_text("MAX_SEQ_LEN = 2048\nDEPTH_OF_DATA = 1\nprint('---\\ndata_fingerprint: abc')\n")
    return where


def test_a_folder_without_settings_follows_autoresearch(folder: Path) -> None:
    workload = load_workload(f"{folder}/")
    assert workload.command == ("{python}", "train.py")
    assert workload.prepare_command == ("{python}", "prepare.py")
    assert (workload.metric.name, workload.metric.direction) == ("val_bpb", "minimize")


def test_constants_are_read_from_every_file_and_arithmetic_is_understood(folder: Path) -> None:
    constants = load_workload(str(folder)).constants()
    assert constants == {
        "DEPTH": 8,
        "TOTAL_BATCH_SIZE": 2**19,
        "BETAS": (0.8, 0.95),
        "MAX_SEQ_LEN": 2048,
        "DEPTH_OF_DATA": 1,
    }


def test_a_job_carries_both_scripts_with_constants_and_params(folder: Path) -> None:
    workload = load_workload(str(folder))
    job = workload.prepare(Suggestion(3, {"DEPTH": 4}), {"MAX_SEQ_LEN": 256, "DEPTH": 2}, {"A": "b"}, Limits())
    assert "DEPTH = 4  # layers" in job.files["train.py"]
    assert "MAX_SEQ_LEN = 256" in job.files["prepare.py"]
    assert job.env == {"A": "b"}
    assert (folder / "train.py").read_text() == TRAIN


def test_every_name_that_cannot_be_written_is_reported(folder: Path) -> None:
    with pytest.raises(RenderError) as caught:
        load_workload(str(folder)).render({"MISSING": 1, "NOW": 2})
    assert len(caught.value.problems) == 2
    assert "not a literal" in caught.value.problems[1]


def test_the_fingerprint_ignores_comments_but_not_code(folder: Path) -> None:
    before = load_workload(str(folder)).fingerprint()
    (folder / "train.py").write_text(TRAIN.replace("# layers", "# deep"))
    assert load_workload(str(folder)).fingerprint() == before
    (folder / "train.py").write_text(TRAIN.replace("2**19", "2**18"))
    assert load_workload(str(folder)).fingerprint() != before


def test_data_is_prepared_by_the_workloads_own_command_with_the_constants_written_in(folder: Path) -> None:
    (folder / "prepare.py").write_text(
        "import sys\nSIZE = 1\nprint('size', SIZE, sys.argv[1:])\nprint('---')\nprint('data_fingerprint: f', SIZE, sep='')\n"
    )
    said: list[str] = []
    assert load_workload(str(folder)).prepare_data({"SIZE": 5}, ["--num-shards", "4"], {}, said.append) == "f5"
    assert said[0] == "size 5 ['--num-shards', '4']"


def test_a_failing_preparation_is_one_line(folder: Path) -> None:
    (folder / "prepare.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(WorkloadError, match="exit code 3"):
        load_workload(str(folder)).prepare_data({}, [], {}, lambda line: None)


def test_a_script_that_prepares_nothing_has_no_prepare_command(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("X = 1\n")
    assert load_workload(str(tmp_path)).prepare_command == ()


def test_mistakes_in_workload_toml_are_reported_together(folder: Path) -> None:
    (folder / "workload.toml").write_text(
        "script = 'main.py'\nfiles = ['../*.py', 'train.py']\nmetrik = 'x'\ndirection = 'down'\n"
    )
    with pytest.raises(WorkloadError) as caught:
        load_workload(str(folder))
    assert len(caught.value.problems) == 4


def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("SECRET = 1\n")
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    assert "link.py" not in load_workload(str(folder)).files


def test_an_unknown_name_lists_ours() -> None:
    with pytest.raises(WorkloadError, match="gpt"):
        load_workload("nothing")


def test_line_endings_survive(folder: Path) -> None:
    (folder / "train.py").write_bytes(b"DEPTH = 8\r\nB = 1\r\n")
    assert load_workload(str(folder)).render({"DEPTH": 2})["train.py"] == "DEPTH = 2\r\nB = 1\r\n"
