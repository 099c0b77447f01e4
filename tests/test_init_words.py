"""What `optimize init` says at its end, and at the head of what it writes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from optimize.cli import run


def test_all_numbers_that_could_be_the_metric_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    letters = "abcdefghijklmnop"
    Path("train.py").write_text("LR = 0.5\n" + "".join(f"print('{each}_loss:', LR)\n" for each in letters))
    assert run(["init", "train.py", "--metric", "a_loss"]) == 0
    said = capsys.readouterr().err
    assert "metric: it prints p_loss, o_loss, " in said
    assert ", e_loss and 3 more as well; --metric takes another" in said


def test_the_head_of_both_files_has_the_command_with_its_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("LR = 0.5\nprint('a b:', LR)\n")
    words = ["--metric", "a b", "--direction", "minimize", "--total", "90", "--", "--steps", "3"]
    assert run(["init", "train.py", *words]) == 0
    made = "`optimize init train.py --metric 'a b' --direction minimize --total 90 -- --steps 3`"
    for name in ("workload.toml", "space.toml"):
        assert made in Path(name).read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--total", "90"], "; a trial may take 90 s\n"),
        ([], "; a trial may take 300 s; else write `limits = { total_s = 600 }` there\n"),
    ],
)
def test_init_says_how_long_a_trial_may_take(
    tmp_path: Path,
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("LR = 0.5\nprint('loss:', LR)\n")
    assert run(["init", "train.py", *words]) == 0
    assert said in capsys.readouterr().err


def test_a_person_is_asked_with_the_limit_that_the_profile_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("optimize.commands.init.is_asked", lambda: True)
    answers = io.StringIO("\n\n")
    monkeypatch.setattr("sys.stdin", answers)
    Path("train.py").write_text("LR = 0.5\nprint('loss:', LR)\n")
    assert run(["init", "train.py"]) == 0
    assert "How many seconds may a trial take? Nothing: 300, as the profile says" in capsys.readouterr().err
    assert "limits" not in Path("workload.toml").read_text()


def test_after_a_probe_none_is_proposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("LR = 0.5\nprint('loss:', LR)\n")
    assert run(["init", "train.py", "--metric", "acc", "--probe", "--trust"]) == 0
    said = capsys.readouterr().err
    assert "metric: neither its text nor its output has acc. Correct `metric` in workload.toml" in said
    assert "--probe` runs it" not in said
