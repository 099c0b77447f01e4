"""Folders and files of data: a script finds them, and nothing of ours writes, counts or removes through them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from optimize.errors import WorkloadError
from optimize.runner.prepare import Preparation, run_preparation
from optimize.runner.process import run_job
from optimize.runner.workdir import (
    FILES,
    MOST_ENTRIES,
    fingerprint,
    folder_bytes,
    link_data,
    prepare_folder,
    remove_folder,
)
from optimize.script.load_workload import load_workload
from optimize.trial import Limits, Slot, TrialStatus
from tests.zoo import zoo_job


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "the data" / "shakespeare"
    folder.mkdir(parents=True)
    (folder / "train.bin").write_bytes(b"to be or not to be" * 100_000)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_work_folder_shows_the_data_and_its_removal_leaves_it(data: Path, tmp_path: Path) -> None:
    before, work = contents(data), tmp_path / "work"
    job = replace(zoo_job("ok"), links={"data/shakespeare": str(data)})
    prepare_folder(job, work).close()
    assert (work / FILES / "data" / "shakespeare" / "train.bin").read_bytes() == before[str(data / "train.bin")]
    assert folder_bytes(work) < 1_000_000 < sum(map(len, before.values()))
    assert remove_folder(work)
    assert contents(data) == before


def test_removing_a_work_folder_that_fights_back_leaves_the_data_and_its_modes(data: Path, tmp_path: Path) -> None:
    before, work = contents(data), tmp_path / "work"
    (data / "locked").mkdir(mode=0o500)
    prepare_folder(replace(zoo_job("ok"), links={"data": str(data)}), work).close()
    shut = work / FILES / "shut"
    shut.mkdir()
    (shut / "file").touch()
    (shut / "way to the data").symlink_to(data)
    shut.chmod(0)
    assert remove_folder(work)
    assert contents(data) == before
    assert (data / "locked").stat().st_mode & 0o777 == 0o500


def test_what_is_left_by_force_is_removed_without_following_a_link(data: Path, tmp_path: Path) -> None:
    """The commands that `remove_folder` falls back on, as they are on this machine."""
    before, work = contents(data), tmp_path / "work"
    work.mkdir()
    (work / "data").symlink_to(data)
    mode = (data / "train.bin").stat().st_mode
    subprocess.run(["chmod", "-R", "u+rwx", "--", work], check=False)
    subprocess.run(["rm", "-rf", "--", work], check=True)
    assert contents(data) == before
    assert (data / "train.bin").stat().st_mode == mode


@pytest.mark.skipif(sys.platform != "linux", reason="paths are shorter elsewhere")
def test_a_deep_folder_whose_name_begins_with_a_dash_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deep = "-runs"
    for _ in range(1_500):  # deeper than Python's own removal goes
        os.mkdir(deep)  # noqa: PTH102  (Path folds no names, but takes its time)
        deep += "/d"
    try:
        assert remove_folder(Path("-runs"))
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["rm", "-rf", "./-runs"], check=True)  # pytest could not


def test_a_link_that_leads_nowhere_ends_the_trial_as_a_matter_of_the_machine(tmp_path: Path) -> None:
    job = replace(zoo_job("ok"), links={"data": str(tmp_path / "not here")})
    outcome = run_job(job, tmp_path / "work", Slot("a"))
    assert outcome.status is TrialStatus.ENVIRONMENT
    assert "not here" in outcome.reason
    assert "\n" not in outcome.reason


@pytest.mark.parametrize("name", ["../outside", "/outside", "data/inside", "data/deep/inside"])
def test_a_link_lies_in_the_trials_own_folder(name: str, data: Path, tmp_path: Path) -> None:
    before = contents(data)
    (tmp_path / "work").mkdir()
    with pytest.raises(ValueError, match="would lie"):
        link_data(tmp_path / "work", {"data": str(data), name: str(data)})
    assert contents(data) == before
    assert [path.name for path in data.iterdir()] == ["train.bin"]


def without(data: Path) -> None:
    (data / "train.bin").unlink()


def another(data: Path) -> None:
    (data / "val.bin").touch()


def longer(data: Path) -> None:
    with (data / "train.bin").open("ab") as file:
        file.write(b"!")


@pytest.mark.parametrize("change", [without, another, longer])
def test_other_data_has_another_fingerprint(change: Callable[[Path], None], data: Path) -> None:
    before = fingerprint({"data": str(data)})
    assert fingerprint({"data": str(data)}) == before
    change(data)
    assert fingerprint({"data": str(data)}) != before


def test_what_is_hidden_and_what_python_caches_is_no_data(data: Path) -> None:
    before = fingerprint({"data": str(data)})
    (data / ".lock").touch()
    (data / "__pycache__").mkdir()
    (data / "__pycache__" / "prepare.pyc").touch()
    (data / "nowhere").symlink_to("/not/there")
    (data / "round").symlink_to(data)
    assert fingerprint({"data": str(data)}) == before


def test_a_linked_folder_counts_like_a_copy_of_it(data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "more.bin").write_bytes(b"1234")
    before = fingerprint({"data": str(data)})
    (data / "part").symlink_to(elsewhere)
    linked = fingerprint({"data": str(data)})
    assert linked != before
    (elsewhere / "more.bin").write_bytes(b"12345")
    changed = fingerprint({"data": str(data)})
    assert changed != linked
    (data / "part").unlink()
    shutil.copytree(elsewhere, data / "part")
    assert fingerprint({"data": str(data)}) == changed


def test_links_that_lead_in_circles_are_counted_once_and_come_to_an_end(tmp_path: Path) -> None:
    folders = [tmp_path / "data" / f"{i:02}" for i in range(12)]  # there are 12! ways through them
    for folder in folders:
        folder.mkdir(parents=True)
        for other in folders:
            (folder / f"to {other.name}").symlink_to(other)
    (tmp_path / "data" / "self").symlink_to("self")
    links = {"data": str(tmp_path / "data")}
    before = fingerprint(links)
    (folders[0] / "train.bin").touch()
    assert fingerprint(links) != before


def test_of_a_corpus_in_very_many_pieces_the_first_are_looked_at(data: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(MOST_ENTRIES + 10):
        (corpus / f"{number:06}").touch()
    (data / "corpus").symlink_to(corpus)
    before = fingerprint({"data": str(data)})
    (corpus / f"{MOST_ENTRIES + 5:06}").write_text("unseen")
    assert fingerprint({"data": str(data)}) == before
    (corpus / "000005").write_text("seen")
    assert fingerprint({"data": str(data)}) != before


def test_a_preparation_looks_that_the_data_is_there(data: Path, tmp_path: Path) -> None:
    links = {"data": str(data)}
    assert run_preparation(Preparation({}, (), links), {}, print) == fingerprint(links)
    with pytest.raises(WorkloadError, match="not here: no such folder or file on this machine"):
        run_preparation(Preparation({}, (), {"data": str(tmp_path / "not here")}), {}, print)


def test_a_preparation_finds_the_data_and_its_own_fingerprint_counts_too(data: Path) -> None:
    before, links = contents(data), {"data": str(data)}
    script = "import os\nprint('---')\nprint('data_fingerprint: f%d' % os.path.getsize('data/train.bin'))\n"
    preparation = Preparation({"prepare.py": script}, ("{python}", "prepare.py"), links)
    assert run_preparation(preparation, {}, print) == f"f1800000-{fingerprint(links)}"
    assert contents(data) == before


def test_a_preparation_gets_the_bytes_of_a_file_that_is_not_utf_8() -> None:
    script = "print('---')\nprint('data_fingerprint: x' + open('words.txt', 'rb').read().hex())\n"
    files = {"prepare.py": script, "words.txt": b"caf\xe9".decode("utf-8", "surrogateescape")}
    assert run_preparation(Preparation(files, ("{python}", "prepare.py")), {}, print) == "x636166e9"


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "folder/../../outside.txt"])
def test_a_preparation_writes_no_file_outside_of_its_folder(name: str, tmp_path: Path) -> None:
    name = f"{tmp_path}{name}" if name.startswith("/") else name
    with pytest.raises(ValueError, match="would lie outside"):
        run_preparation(Preparation({name: "x"}, ("{python}", "-c", "")), {}, print)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_script_reads_its_data_and_the_disk_limit_is_not_about_it(data: Path, tmp_path: Path) -> None:
    script = (
        "import os, time\nprint('step 1 (50%)', flush=True)\ntime.sleep(3)\n"
        "print('---')\nprint('val_bpb:', float(os.path.getsize('data/train.bin')))\n"
    )
    job = replace(zoo_job("ok", limits=Limits(disk_mb=1.0, total_s=120.0)), files={"train.py": script})
    outcome = run_job(replace(job, links={"data": str(data)}), tmp_path / "work", Slot("a"))
    assert outcome.status is TrialStatus.COMPLETE, outcome.reason
    assert outcome.summary["val_bpb"] == 1_800_000


def test_what_studies_have_left_in_the_folder_is_none_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.py").write_text("DEPTH = 1\n")
    (folder / "workload.toml").write_text('files = ["**/*.py"]\n')
    (folder / "more").mkdir()
    for name in ("more/net.py", "more/results.tsv"):
        (folder / name).write_text("WIDTH = 1\n")
    before = load_workload(str(folder)).fingerprint()
    for left in ("runs/optuna.db", "mine/s/results.tsv", "mine/s/settings.json"):  # of a database elsewhere, the second
        (folder / left).parent.mkdir(parents=True, exist_ok=True)
        (folder / left).write_text("")
    for script in ("runs/s/best/train.py", "mine/s/best/train.py"):
        (folder / script).parent.mkdir(parents=True)
        (folder / script).write_text("DEPTH = 99\n")
    workload = load_workload(str(folder))
    assert workload.fingerprint() == before
    assert {*workload.files} == {"train.py", "more/net.py"}


def test_a_single_file_is_linked_fingerprinted_and_left(data: Path, tmp_path: Path) -> None:
    before, work = contents(data), tmp_path / "work"
    links = {"train.bin": str(data / "train.bin")}
    prepare_folder(replace(zoo_job("ok"), links=links), work).close()
    assert (work / FILES / "train.bin").read_bytes() == before[str(data / "train.bin")]
    assert remove_folder(work)
    assert contents(data) == before
    known = fingerprint(links)
    with (data / "train.bin").open("ab") as file:
        file.write(b"!")
    assert fingerprint(links) != known
