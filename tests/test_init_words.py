"""What `optimize init` says at its end, and at the head of what it writes."""

from __future__ import annotations

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
