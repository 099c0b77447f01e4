"""A study that began with an earlier version of our own scripts, search space or profile goes on with its own, and says so."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimize.commands.plans import plan_of_flags
from optimize.config.plan import Plan
from optimize.errors import StudyAborted, StudyMismatchError
from optimize.reporting.check import plan_lines
from optimize.reporting.files import write_views
from optimize.reporting.status_json import document
from optimize.script.constants import PYTHONS, read_constants, syntax_fingerprint
from optimize.script.load_workload import load_workload
from optimize.study.begun import opened_to_go_on
from optimize.study.comparable import ABOUT
from optimize.study.earlier import plan_to_move
from optimize.transfer.copy import migrate
from optimize.trial import Job, Outcome, Suggestion, TrialStatus
from storage import TrialRecord, open_database
from tests.shipped import Shipped, copy_ours, patch
from tests.test_earlier_release import WINNER, folder, opened, said, tells  # noqa: F401

SMALL = {"profile": "small", "workload": "small", "search_space": "small", "study": "small"}
LINE = (
    "study small: it began with an earlier version of {}, and goes on with that. Begin another one with its best trials: "
    "`optimize run --from small --study small-2`. Or take its trials to today's choices: `optimize migrate small --to small-2`"
)


def really(job: Job) -> Outcome:
    """Run the script of `data/612ce2a`, which needs no process of its own."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(job.files["train.py"], "train.py", "exec"), {})
    except SystemExit as error:
        return Outcome(TrialStatus.CRASHED, 1.0, str(error))
    found = dict(line.split(": ") for line in printed.getvalue().partition("---\n")[2].splitlines())
    return Outcome(TrialStatus.COMPLETE, 1.0, summary={name: float(value) for name, value in found.items()})


def by_its_text(job: Job) -> Outcome:
    """A value that depends on every character of the scripts."""
    digest = hashlib.sha256(repr(sorted(job.files.items())).encode()).digest()
    return Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 1 + digest[0] / 256, "num_steps": 4.0})


@pytest.fixture
def small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shipped:  # noqa: F811
    """The study of 612ce2a, as if its script had been ours."""
    ours = folder / "ours"
    for kind in ("workloads/small", "search_spaces", "profiles"):
        (ours / kind).mkdir(parents=True)
    shutil.copy(folder / "workload/train.py", ours / "workloads/small")
    (ours / "workloads/small/workload.toml").write_text("script = 'train.py'\n")
    shutil.copy(folder / "workload/space.toml", ours / "search_spaces/small.toml")
    (ours / "profiles/small.toml").write_text("[slots]\ndevice = 'cpu'\n")
    patch(ours, monkeypatch)
    with opened(folder / "runs") as stored:
        about = stored.database.study_attrs(stored.study_id)[ABOUT]
        stored.database.set_study_attr(stored.study_id, ABOUT, {**about, "workload": "small"})
    shipped = Shipped(ours, {**SMALL, "runs": folder / "runs"}, really, "Intel(R) Xeon(R) Processor")
    shipped.release()
    return shipped


def told(records: Sequence[TrialRecord]) -> list[object]:
    return [(each.number, each.state, each.value, each.params) for each in records]


CHANGES: Mapping[str, tuple[str, tuple[str, str]]] = {
    "our scripts": ("workloads/small/train.py", ("RATE = 0.04\n", "RATE = 0.04\nNEW = 1\n")),
    "profile small": ("profiles/small.toml", ("[slots]", "[constants]\nDEPTH = 5\n[slots]")),
    "search space small": ("search_spaces/small.toml", ("RATE = [", "RATE = [0.16, ")),
}


def change(small: Shipped, what: str) -> None:
    path, how = CHANGES[what]
    small.edit(path, how)


def copied(small: Shipped, name: str) -> Path:
    return shutil.copytree(small.flags["runs"], small.folder.parent / name)  # type: ignore[call-overload, no-any-return]


def test_a_study_of_612ce2a_goes_on_with_its_own(small: Shipped) -> None:
    unchanged = told(small.run(13, runs=copied(small, "unchanged")))
    assert small.said == []
    for number, what in enumerate(CHANGES, 1):  # one more each time
        small.said.clear()
        change(small, what)
        small.release()
        assert told(small.run(13, runs=copied(small, f"copy {number}"))) == unchanged
        changed = list(CHANGES)[:number]
        assert small.said == [LINE.format(" and ".join([", ".join(changed[:-1]), changed[-1]][-number:]))]
    with opened(Path(str(small.flags["runs"]))) as stored:
        stored.database.create_study("small-2", "minimize", "val_bpb", {})
    line = LINE.format("our scripts, profile small and search space small").replace("small-2", "small-3")
    assert line in plan_lines(small.plan(), ())


def test_its_winner_is_confirmed_with_its_own_scripts(small: Shipped) -> None:
    change(small, "our scripts")
    small.release()
    verdict = small.confirm(seeds=3, finalists=2)
    assert verdict is not None
    assert verdict.winner is not None
    assert (verdict.winner.number, verdict.winner.pairs) == (WINNER, 3)
    with opened(Path(str(small.flags["runs"])), "small/confirm") as stored:
        scripts = [stored.texts(record)["train.py"] for record in stored.records()]
    assert len(scripts) > 6
    assert not any("NEW" in script for script in scripts)


@pytest.mark.parametrize("what", CHANGES)
def test_what_somebody_has_edited_is_not_passed_over(small: Shipped, what: str) -> None:
    why = {
        "our scripts": "the scripts have",
        "profile small": "the profile's constants",
        "search space small": "choices or",
    }
    change(small, what)
    with pytest.raises(StudyMismatchError, match=why[what]):
        small.run(13)
    assert "earlier" not in " ".join(small.said)


def test_a_space_of_ones_own_stays_with_the_earlier_scripts(small: Shipped) -> None:
    own = small.folder.parent / "own.toml"
    own.write_text("[parameters]\nDEPTH = [3, 4]\nRATE = { low = 0.01, high = 0.1, steps = 4 }\n")
    small.flags |= {"search_space": str(own), "study": "ranged"}
    before = told(small.run(2))
    change(small, "our scripts")
    small.release()
    assert told(small.run(3))[: len(before)] == before
    assert small.said == [LINE.format("our scripts").replace("small", "ranged")]
    own.write_text("[parameters]\nDEPTH = [3, 4, 5]\nRATE = [0.01, 0.04]\n")
    with pytest.raises(StudyMismatchError, match="the choices or rules have changed"):
        small.run(4)


def test_who_only_looks_needs_none_of_our_files(small: Shipped) -> None:
    runs = Path(str(small.flags["runs"]))
    before = (runs / "small/best/train.py").read_text()
    shutil.rmtree(small.folder)
    shutil.rmtree(runs / "small/best")
    with opened(runs) as stored:
        write_views(stored)
        assert tells(json.loads(json.dumps(document("runs/optuna.db", [stored], 20))), said(runs.parent))
    assert (runs / "small/best/train.py").read_text() == before


def began_on(small: Shipped, python: str) -> None:
    """Give the study the fingerprint that another Python has for its script."""
    workload = load_workload("small")
    script = {path: syntax_fingerprint(text, path, python) for path, text in workload.files.items()}
    digest = hashlib.sha256(repr((workload.command, workload.prepare_command)).encode())
    digest.update("".join(f"{path}\0{tree}\0" for path, tree in script.items()).encode())
    with contextlib.closing(open_database(Path(str(small.flags["runs"])) / "optuna.db")) as database:
        for name in ("small", "small/confirm"):
            study_id = database.find_study(name) or 0
            began = database.study_attrs(study_id)["fingerprint"]
            assert began["script"] == workload.fingerprint()
            database.set_study_attr(study_id, "fingerprint", {**began, "script": digest.hexdigest()[:16]})


def test_a_study_goes_on_under_another_python(small: Shipped) -> None:
    here = f"3.{min(sys.version_info.minor, 13)}"
    began_on(small, next(python for python in PYTHONS if python != here))
    small.run(13)
    assert small.said == []
    small.run(1, study="s-2", start_from="small")
    assert any("--from small: 13 trials copied" in line for line in small.said)
    change(small, "our scripts")
    small.release()
    small.run(14)
    assert LINE.format("our scripts") in small.said


def test_commands_take_what_the_study_began_with(small: Shipped) -> None:
    change(small, "our scripts")
    small.release()

    def planned(**how: Any) -> Plan:
        return plan_of_flags({**small.flags, "study": how.pop("study", "small")}, **how)

    assert "NEW" not in planned().workload.files["train.py"]
    assert "NEW" not in planned(study="new", moves="small").workload.files["train.py"]
    assert "NEW" in planned(study="new").workload.files["train.py"]
    assert "NEW" in planned(of_today=True).workload.files["train.py"]  # `optimize prepare` is about no study


def test_scripts_that_we_never_shipped_are_not_taken_from_a_database(small: Shipped) -> None:
    shutil.rmtree(small.folder / "released")
    change(small, "our scripts")
    small.release()
    with pytest.raises(StudyMismatchError, match="the scripts have changed"):
        small.run(13)


def test_without_the_scripts_of_any_trial_a_line_says_how_to_go_on(small: Shipped) -> None:
    change(small, "our scripts")
    small.release()
    shutil.rmtree(small.folder.parent / "runs/artifacts")
    with pytest.raises(StudyMismatchError) as caught:
        small.plan()
    assert caught.value.problems == (
        f"study small: our scripts have changed since it began, and {small.flags['runs']}/artifacts has not kept its own. Put that "
        "folder back, or begin another study with its best trials: `optimize run --from small --study small-2`",
    )


def test_a_trial_that_lacks_a_file_is_not_the_only_one(small: Shipped) -> None:
    change(small, "our scripts")
    small.release()
    with opened(Path(str(small.flags["runs"]))) as stored:
        artifacts = stored.artifacts()
        for record in stored.records()[:5]:
            (artifacts.folder / artifacts.ids(record.trial_id)["train.py"]).unlink()
    assert small.plan().earlier == (LINE.format("our scripts"),)


def test_a_study_without_a_value_goes_on_with_the_scripts_of_today(small: Shipped) -> None:
    small.flags["study"] = "young"
    small.train = lambda job: Outcome(TrialStatus.CRASHED, 1.0, "it broke")
    with pytest.raises(StudyAborted):
        small.run(1)
    change(small, "our scripts")
    small.release()
    small.train = really
    small.run(1)
    assert any("no trial has a value yet, so the study goes on with it" in line for line in small.said)
    with opened(Path(str(small.flags["runs"])), "young") as stored:
        assert "NEW = 1" in stored.texts(stored.records()[-1])["train.py"]


# --- gpt itself: everything changes at once -----------------------------------------------------------------------------


@pytest.fixture
def gpt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shipped:
    """Ours, but for what no trial runs here: of the scripts only the constants are left."""
    copy_ours(tmp_path / "ours")
    patch(tmp_path / "ours", monkeypatch)
    for path in (tmp_path / "ours/workloads/gpt").glob("*.py"):
        constants = read_constants(path.read_text(), path.name).values()
        path.write_text(
            "".join(f"{each.name} = {each.expression}\n" for each in constants if "\n" not in each.expression)
        )
    flags = {"profile": "cpu", "study": "s", "runs": tmp_path / "runs", "sampler": "random"}
    shipped = Shipped(tmp_path / "ours", flags, by_its_text)
    shipped.release()
    return shipped


def next_version(gpt: Shipped) -> None:
    """Constants, a parameter, a rule, a start, derived quantities and limits that the earlier scripts know nothing of."""
    gpt.edit("workloads/gpt/train.py", ("FINAL_LR_FRAC = 0.0\n", "FINAL_LR_FRAC = 0.0\nMOMENTUM = 0.95\n"))
    gpt.edit("workloads/gpt/prepare.py", ("VAL_SPLIT = 0", "NEW_OF_DATA = 1\nVAL_SPLIT = 0"))
    gpt.edit(
        "workloads/gpt/workload.toml",
        ('DEPTH * model_dim"', 'DEPTH * model_dim * MOMENTUM"'),
        ('preload = ["torch", ', "preload = ["),
    )
    gpt.edit(
        "search_spaces/cpu.toml",
        ("DEPTH = [1,", "MOMENTUM = [0.9, 0.95]\nDEPTH = [1, 6,"),
        ("<= 256", "<= 256 * MOMENTUM"),
    )
    start = "\n[[start]]\nparams = { MOMENTUM = 0.9, DEPTH = 3 }\nsource = 'us'\n"
    with (gpt.folder / "search_spaces/cpu.toml").open("a") as file:
        file.write(start)
    gpt.edit(
        "profiles/cpu.toml",
        ("VOCAB_SIZE = 2048", "VOCAB_SIZE = 4096\nMOMENTUM = 0.9"),
        ("DEPTH = 2", "DEPTH = 3"),
        ("total_s = 300", "total_s = 900"),
    )
    gpt.release()


def test_everything_of_gpt_may_change_at_once(gpt: Shipped) -> None:
    gpt.run(2)
    before = gpt.plan()
    next_version(gpt)
    own = gpt.plan()
    assert own.earlier == (LINE.format("our scripts, profile cpu and search space cpu").replace("small", "s"),)
    without_prior = replace(before, space=replace(before.space, priors=()))  # the study keeps what it knows itself
    assert replace(own, earlier=(), settings=before.settings) == without_prior
    assert replace(own.settings, origins=before.settings.origins) == before.settings
    last = gpt.run(3)[-1]
    job = before.job(Suggestion(last.number, before.space.decode(last.params)))
    assert last.value == by_its_text(job).summary["val_bpb"]


def test_its_trials_are_taken_to_the_choices_of_today_or_its_best_are_tried(gpt: Shipped) -> None:
    best = min(gpt.run(2), key=lambda each: each.value or 9)
    next_version(gpt)
    settings = gpt.settings(study="new")
    with opened_to_go_on(settings, "s") as old:
        plan = plan_to_move(settings, old)
    assert plan.earlier == (
        "study new: it keeps the earlier scripts and constants of study s; without MOMENTUM, which they do not have",
    )
    with contextlib.closing(open_database(gpt.folder.parent / "runs/optuna.db")) as database:
        assert migrate("s", plan, database)[0] == "study new: 2 finished trials of study s, which stays as it is"
    assert [each.number for each in gpt.run(1, study="new")] == [0, 1, 2]
    assert "it began with an earlier version of our scripts, profile cpu and search space cpu," in gpt.said[0]
    with opened(gpt.folder.parent / "runs", "new") as stored:
        assert 6 in stored.choices()["DEPTH"]
    records = gpt.run(2, study="s-2", start_from="s")
    assert any(line.startswith("--from s: the scripts have changed") for line in gpt.said)
    assert records[0].params["MOMENTUM"] == 0.9
    assert records[1].source.startswith(f"study s, trial {best.number}")
