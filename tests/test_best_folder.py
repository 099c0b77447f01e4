"""`best/` can be trained again, its patch applies to the original, and its TOML reads back as it was written."""

from __future__ import annotations

import hashlib
import math
import shutil
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimize.reporting.files import write_views
from optimize.study.stored import find_study
from storage import StorageError, TrialRecord, make_patch, params_text, revert_patch, write_best
from storage.exports import summary_text
from storage.toml import toml_text
from tests.conftest import Driver

RECORD = TrialRecord(
    number=7, trial_id=107, state="COMPLETE", status="complete", kind="sampler", value=0.1 + 0.2, seconds=12.5,
    slot='"gpu 0"', script="0123456789abcdef", started=datetime(2026, 1, 1, tzinfo=UTC),
    finished=datetime(2026, 1, 1, 0, 5, tzinfo=UTC), summary={"peak_vram_mb": 1024.5, "mfu percent": "n/a"},
)  # fmt: skip
ORIGINAL = "# setup\n" + "".join(f"line {n}\n" for n in range(20)) + "DEPTH = 2  # layers\nprint(DEPTH)\n"
RENDERED = ORIGINAL.replace("DEPTH = 2", "DEPTH = 3")


def test_best_holds_what_the_trial_left_and_what_it_gave(tmp_path: Path) -> None:
    files = {"train.py": RENDERED, "train.patch": "", "params.toml": params_text({"DEPTH": 3}, 7)}
    write_best(tmp_path / "best", files, RECORD)
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [
        "params.toml", "summary.toml", "train.patch", "train.py",
    ]  # fmt: skip
    assert (tmp_path / "best" / "train.py").read_text() == RENDERED
    assert tomllib.loads((tmp_path / "best" / "summary.toml").read_text()) == {
        "trial": 7,
        "val_bpb": 0.1 + 0.2,
        "status": "complete",
        "kind": "sampler",
        "started": RECORD.started,
        "finished": RECORD.finished,
        "seconds": 12.5,
        "slot": '"gpu 0"',
        "script": "0123456789abcdef",
        "summary": {"peak_vram_mb": 1024.5, "mfu percent": "n/a"},
    }


def test_best_is_replaced_by_a_better_one(tmp_path: Path) -> None:
    write_best(tmp_path / "best", {"train.py": "1", "old.py": "1"}, RECORD)
    write_best(tmp_path / "best", {"train.py": "2"}, RECORD, metric="loss")
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["summary.toml", "train.py"]
    assert "loss = 0.30000000000000004\n" in (tmp_path / "best" / "summary.toml").read_text()


def test_a_record_that_knows_little_has_a_short_summary() -> None:
    assert tomllib.loads(summary_text(TrialRecord(0, 1, "FAIL"), "val_bpb")) == {"trial": 0, "summary": {}}


def test_parameters_are_literals_of_toml() -> None:
    params = {"DEPTH": 3, "LR": 1e-05, "BETAS": (0.8, 0.95), "TIED": True, "WINDOW": 'S"S\\L', "NESTED": ((1,), ())}
    read = tomllib.loads(params_text(params, 7))
    assert read == {**params, "BETAS": [0.8, 0.95], "NESTED": [[1], []]}
    assert type(read["DEPTH"]) is int
    assert params_text({"NOTHING": None}, 7) == "# parameters of trial 7\n# NOTHING = None\n"


literals = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.mark.slow
@given(st.dictionaries(texts, literals, max_size=4), st.dictionaries(texts, literals, max_size=3), st.text())
def test_any_toml_reads_back_as_it_was_written(
    values: dict[str, object], table: dict[str, object], comment: str
) -> None:
    values = {**values, "table": table}
    assert tomllib.loads(toml_text(values, comment)) == values


def test_toml_knows_what_is_no_number() -> None:
    read = tomllib.loads(toml_text({"a": math.inf, "b": -math.inf, "c": math.nan}))
    assert (read["a"], read["b"]) == (math.inf, -math.inf)
    assert math.isnan(read["c"])


def test_an_object_has_no_form_in_toml() -> None:
    with pytest.raises(TypeError, match="no form in TOML"):
        toml_text({"x": object()})


def test_a_patch_shows_what_changed_and_nothing_else() -> None:
    assert make_patch({"train.py": ORIGINAL, "prepare.py": "x\n"}, {"train.py": RENDERED, "prepare.py": "x\n"}) == (
        "--- a/train.py\t\n+++ b/train.py\t\n@@ -19,5 +19,5 @@\n line 17\n line 18\n line 19\n"
        "-DEPTH = 2  # layers\n+DEPTH = 3  # layers\n print(DEPTH)\n"
    )
    assert make_patch({"train.py": ORIGINAL}, {"train.py": ORIGINAL}) == ""


CASES = {
    "plain": ({"train.py": ORIGINAL}, {"train.py": RENDERED}),
    "no newline at the end": ({"train.py": "A = 1\nB = 2"}, {"train.py": "A = 1\nB = 3"}),
    "newline added": ({"train.py": "A = 1"}, {"train.py": "A = 1\n"}),
    "newline removed": ({"train.py": "A = 1\n"}, {"train.py": "A = 1"}),
    "windows line ends": ({"train.py": "A = 1\r\nB = 2\r\n"}, {"train.py": "A = 1\r\nB = 3\r\n"}),
    "form feed and unicode": (
        {"train.py": "A = 1\x0c\u2028 'ü'\nB = 2\n"},
        {"train.py": "A = 2\x0c\u2028 'ü'\nB = 2\n"},
    ),
    "several files and folders": (
        {"train.py": ORIGINAL, "models/my model.py": "X = 1\n", "same.py": "1\n"},
        {"train.py": RENDERED, "models/my model.py": "X = 2\n", "same.py": "1\n"},
    ),
    "a new file": ({"train.py": ORIGINAL}, {"train.py": ORIGINAL, "new.py": "X = 1\n"}),
    "everything gone": ({"train.py": ORIGINAL}, {"train.py": ""}),
}


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs the command patch")
@pytest.mark.parametrize("case", CASES)
def test_the_command_patch_applies_it(tmp_path: Path, case: str) -> None:
    originals, rendered = CASES[case]
    for name, text in originals.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8", newline="")
    answer = subprocess.run(
        ["patch", "-p1", "--binary"],
        cwd=tmp_path,
        input=make_patch(originals, rendered).encode(),
        capture_output=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout
    for name, text in rendered.items():
        path = tmp_path / name
        assert (path.read_bytes() if path.exists() else b"") == text.encode()  # patch removes a file that became empty


def test_a_new_file_is_new_in_a_patch() -> None:
    assert make_patch({}, {"new.py": "X = 1\n"}) == "--- /dev/null\t\n+++ b/new.py\t\n@@ -0,0 +1 @@\n+X = 1\n"


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs the command patch")
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_a_script_keeps_its_byte_order_mark_and_its_line_ends(driver: Driver, tmp_path: Path, bom: bytes) -> None:
    script = driver.folder / "workload" / "train.py"
    before = driver.plan.workload.fingerprint()
    original = bom + script.read_bytes().replace(b"\n", b"\r\n")
    script.write_bytes(original)
    assert driver.plan.workload.fingerprint() == before  # a study that began before goes on
    driver.run(trials=4)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        write_views(stored)
        best = stored.best()
    assert best is not None
    assert best.record.kind != "baseline"
    trained = (driver.paths.best / "train.py").read_bytes()
    assert trained.startswith(bom)
    assert trained.count(b"\xef\xbb\xbf") == len(bom) // 3
    assert trained.count(b"\r\n") == trained.count(b"\n") == original.count(b"\n")
    assert trained != original
    patch = ["patch", "--binary", "-p1", "-s", str(script)]
    subprocess.run(patch, input=(driver.paths.best / "train.patch").read_bytes(), check=True, cwd=tmp_path)
    assert script.read_bytes() == trained
    files = [("train.py", trained.decode("utf-8-sig"))]
    assert best.record.script == hashlib.sha256(repr(files).encode()).hexdigest()[:16]  # as before


@pytest.mark.parametrize("case", CASES)
def test_a_patch_is_reverted(case: str) -> None:
    originals, rendered = CASES[case]
    assert revert_patch(rendered, make_patch(originals, rendered)) == originals


MARKS = ["a\n", "b\n", "-- x\n", "++ x\n", "@@ -1 +1 @@\n", "\n", "\\ No newline at end of file\n", "c\r\n"]
LINES = st.lists(st.sampled_from(MARKS))
TEXTS = st.builds(lambda lines, end: "".join(lines) + end, LINES, st.sampled_from(["", "end"]))


@settings(max_examples=60)
@given(TEXTS, TEXTS)
def test_any_patch_is_reverted(before: str, after: str) -> None:
    originals, rendered = {"train.py": before, "same.py": before}, {"train.py": after, "same.py": before}
    assert revert_patch(rendered, make_patch(originals, rendered)) == originals


@pytest.mark.parametrize(
    "patch",
    [
        make_patch({"other.py": "A = 1\n"}, {"other.py": "A = 2\n"}),
        make_patch({"train.py": "A = 1\n"}, {"train.py": "A = 3\n"}),
        make_patch({"train.py": "A = 1\n"}, {"train.py": "A = 2\n"})[:-2],
    ],
    ids=["of another file", "of another text", "cut"],
)
def test_a_patch_of_other_files_is_not_reverted(patch: str) -> None:
    with pytest.raises(StorageError, match="does not fit"):
        revert_patch({"train.py": "A = 2\n"}, patch)
