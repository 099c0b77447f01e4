"""What a trial left can be read again, by us, by Optuna and by its dashboard; names from scripts are only names."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta, upload_artifact
from optuna.trial import TrialState

from storage import Artifacts, Database, StorageError, open_database
from tests.databases import CHOICES, PARAMS, empty_database
from tests.forked import Forked

ROOT = Path(__file__).parent.parent
FILES = {
    "train.py": "DEPTH = 3\n",
    "train.patch": "--- a/train.py\n+++ b/train.py\n",
    "log.txt": "step 1\rstep 2\n\x1b[31mred\n",
    "curve.csv": "fraction,train_loss\n0.5,3.25\n",
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(empty_database(tmp_path))) as database:
        database.create_study("cpu", "minimize", "val_bpb")
        yield database


@pytest.fixture
def artifacts(database: Database, tmp_path: Path) -> Artifacts:
    found = Artifacts(tmp_path / "artifacts", database)
    found.create()
    return found


@pytest.fixture
def trial_id(database: Database) -> int:
    return database.create_trial(1, state="RUNNING", params=PARAMS, choices=CHOICES).trial_id


def save(artifacts: Artifacts, trial_id: int, files: Mapping[str, str | bytes]) -> None:
    artifacts._database.finish_trial(trial_id, "FAIL", artifacts=artifacts.write(files))


def test_what_was_saved_is_read_again(artifacts: Artifacts, trial_id: int) -> None:
    save(artifacts, trial_id, FILES)
    assert artifacts.names(trial_id) == list(FILES)
    assert {name: artifacts.read(trial_id, name) for name in FILES} == FILES


def test_an_ending_brings_its_artifacts_along(database: Database, artifacts: Artifacts, trial_id: int) -> None:
    assert database.finish_trial(trial_id, "FAIL", artifacts=artifacts.write(FILES))
    assert artifacts.read(trial_id, "log.txt") == FILES["log.txt"]


def test_optuna_knows_them_with_types_that_its_dashboard_shows(
    database: Database, artifacts: Artifacts, trial_id: int
) -> None:
    database.finish_trial(trial_id, "FAIL", artifacts=artifacts.write(FILES))
    (trial,) = optuna.load_study(study_name="cpu", storage=database.storage).trials
    metas = get_all_artifact_meta(trial, storage=database.storage)
    assert {meta.filename: meta.mimetype for meta in metas} == {
        "train.py": "text/x-python",
        "train.patch": "text/x-diff",
        "log.txt": "text/plain",
        "curve.csv": "text/csv",
    }
    for meta in metas:
        with artifacts.store.open_reader(meta.artifact_id) as file:
            assert file.read().decode() == FILES[meta.filename]


def test_what_optuna_uploaded_is_ours_too(
    database: Database, artifacts: Artifacts, trial_id: int, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("theirs")
    (trial,) = optuna.load_study(study_name="cpu", storage=database.storage).get_trials()
    upload_artifact(
        artifact_store=artifacts.store,
        file_path=str(tmp_path / "note.txt"),
        study_or_trial=trial,
        storage=database.storage,
    )
    assert artifacts.names(trial_id) == ["note.txt"]
    assert artifacts.read(trial_id, "note.txt") == "theirs"


@pytest.mark.parametrize("name", ["../../evil.py", "/etc/evil", "a/b.py", "..", "x\0y", "con\ntrol"])
def test_a_name_from_a_script_never_names_a_file(
    artifacts: Artifacts, trial_id: int, tmp_path: Path, name: str
) -> None:
    save(artifacts, trial_id, {name: "data"})
    (file,) = artifacts.folder.iterdir()
    assert uuid.UUID(file.name)
    (shown,) = artifacts.names(trial_id)
    assert shown.isprintable()
    assert artifacts.read(trial_id, shown) == "data"
    beside = sorted(each.name for each in tmp_path.iterdir() if not each.name.startswith("optuna"))
    assert beside == [".artifacts.databases", "artifacts"]


@pytest.mark.parametrize("artifact_id", ["../secret", "/etc/passwd", "nothing"])
def test_an_id_from_a_strange_database_never_leaves_the_folder(
    database: Database, artifacts: Artifacts, trial_id: int, tmp_path: Path, artifact_id: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    meta = f'{{"artifact_id": "{artifact_id}", "filename": "x.txt", "mimetype": "text/plain", "encoding": null}}'
    database.finish_trial(trial_id, "FAIL", artifacts={"artifacts:x": meta})
    with pytest.raises(StorageError, match="missing or unreadable"):
        artifacts.read(trial_id, "x.txt")
    artifacts.delete_study("cpu")
    assert (tmp_path / "secret").read_text() == "secret"


def test_metadata_that_is_none_is_passed_over(database: Database, artifacts: Artifacts, trial_id: int) -> None:
    database.finish_trial(
        trial_id, "FAIL", artifacts={"artifacts:1": "no json", "artifacts:2": "[]", "artifacts:3": '{"filename": 1}'}
    )
    assert artifacts.names(trial_id) == []
    assert not artifacts.dangling()


def test_an_artifact_that_is_not_there_is_one_line(artifacts: Artifacts, trial_id: int) -> None:
    with pytest.raises(StorageError, match=r"has no artifact 'train\.py'"):
        artifacts.read(trial_id, "train.py")


def test_a_log_that_is_not_text_is_kept(artifacts: Artifacts, trial_id: int) -> None:
    save(artifacts, trial_id, {"log.txt": b"\xff\xfe\n", "other.txt": "lone \udc80 surrogate"})
    assert artifacts.read(trial_id, "log.txt") == "\ufffd\ufffd\n"
    assert artifacts.read(trial_id, "other.txt") == "lone ? surrogate"


def test_what_does_not_fit_together_is_found_and_only_orphans_are_removed(
    database: Database, artifacts: Artifacts, trial_id: int
) -> None:
    save(artifacts, trial_id, FILES)
    assert not artifacts.dangling()
    lost, *kept = artifacts.folder.iterdir()
    name = next(name for name in FILES if artifacts.read(trial_id, name).encode() == lost.read_bytes())
    lost.unlink()
    artifacts.write({"orphan.txt": "left by a kill"})
    assert artifacts.dangling().files == ()  # it is young: somebody may be just saving it
    found = artifacts.dangling(now=time.time() + 3601)
    assert [path.read_text() for path in found.files] == ["left by a kill"]
    assert found.metadata == ((trial_id, name),)
    assert artifacts.remove_orphans(found) == 1
    assert sorted(artifacts.folder.iterdir()) == sorted(kept)


def test_a_deleted_study_takes_its_artifacts_along_and_no_others(
    database: Database, artifacts: Artifacts, trial_id: int
) -> None:
    other = database.create_study("other", "minimize", "val_bpb")
    kept = database.create_trial(other, state="RUNNING", params=PARAMS, choices=CHOICES).trial_id
    save(artifacts, trial_id, FILES)
    save(artifacts, kept, {"log.txt": "kept"})
    artifacts.delete_study("cpu")
    assert database.study_names() == ["other"]
    assert [path.read_text() for path in artifacts.folder.iterdir()] == ["kept"]
    assert artifacts.read(kept, "log.txt") == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_one_line(artifacts: Artifacts, trial_id: int) -> None:
    artifacts.folder.chmod(0o500)
    with pytest.raises(StorageError, match="not writable"):
        save(artifacts, trial_id, FILES)
    artifacts.folder.chmod(0o700)


WRITER = """
import sys
from pathlib import Path
from storage import Artifacts, open_database
database = open_database(sys.argv[1])
artifacts = Artifacts(Path(sys.argv[1]).parent / "artifacts", database)
files = {name: name * 5000 for name in ("train.py", "train.patch", "log.txt", "curve.csv")}
while True:
    trial = database.create_trial(1, state="RUNNING", params={}, choices={})
    database.finish_trial(trial.trial_id, "COMPLETE", 1.0, artifacts=artifacts.write(files))
    print(trial.number, flush=True)
"""


@pytest.mark.slow
def test_a_complete_trial_has_all_its_artifacts_whenever_the_driver_was_killed(
    database: Database, artifacts: Artifacts
) -> None:
    path = database.path
    assert path is not None
    for seed in range(8):
        with Forked(["-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.Random(seed).random() / 4)
            process.send_signal(signal.SIGKILL)
        for trial in (trial for trial in database.trials(1) if trial.state is TrialState.COMPLETE):
            assert len(artifacts.names(trial._trial_id)) == 4
            assert artifacts.read(trial._trial_id, "log.txt") == "log.txt" * 5000
    found = artifacts.dangling(now=time.time() + 3601)
    assert found.metadata == ()
    artifacts.remove_orphans(found)
    assert not artifacts.dangling(now=time.time() + 3601)
