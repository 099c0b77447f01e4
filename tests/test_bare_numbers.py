"""A result without a word, `print(sloss[-1])`, is found beside other lines without words, where those are surely no numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.bare_numbers import (
    bare_number_named,
    bare_numbers_offered,
    likely_metrics,
    why_not_taken,
)
from optimize.script.load_workload import load_workload
from optimize.script.printed import printed_lines
from tests.counting import calls

TRAINED = """\
LR, STEPS = 0.1, 3
hist, letters = [], 'abc'
def train():
    for i in range(STEPS):
        hist.append(0.25)
train()
print(hist[-1])
"""
SAMPLES = """\
for i in range(10):
    out = [i % 3]
    print(''.join(letters[s] for s in out))
"""
TEXTS = (
    "print(''.join(out))", "print(decode(out))", "print(tokenizer.decode(out))", "out = ''\nout += 'a'\nprint(out)",
    "print([1, 2])", "print('=' * 50)", "model = Net()\nprint(model)", "print(x.shape)", "print(type(x))",
    "decode = lambda l: ''.join(l)\nprint(decode(x))", "def say(x):\n    return ''.join(x)\nprint(say(x))",
    "print(df.describe())", "print(df.columns.tolist())", "print(d.keys())", "print(''.join(x).strip())",
    "text = ''.join(x)\nprint(f'{text}')",
)  # fmt: skip
MAY_BE_NUMBERS = (
    "print(x)", "print(x[0])", "print(x.tolist())", "print(f'{x:.3f}')", "print(sum(x))",
    "print(''.join(str(i) for i in x))", "print(torch.Tensor(x))",
    "def f(x):\n    return x\nprint(f(x))", "for x in y:\n    print(x)", "x = ''\nx = 3\nprint(x)", "print([x])",
)  # fmt: skip


@pytest.mark.parametrize("code", [*TEXTS, *MAY_BE_NUMBERS])
def test_what_is_surely_no_number_is_known_by_its_text(code: str) -> None:
    assert printed_lines({"train.py": code})[-1].is_text is (code in TEXTS)


@pytest.mark.parametrize("after", [SAMPLES, "print('saved')\n", "print('saved to', path)\n" + SAMPLES])
def test_a_number_without_a_word_is_offered_before_lines_that_are_none(after: str) -> None:
    (guess,) = likely_metrics({"train.py": TRAINED + after})
    assert (guess.name, guess.where, guess.shown) == ("hist", "train.py:7", "hist[-1]")


@pytest.mark.parametrize(
    "after",
    [
        "for i in range(3):\n    train()\n",
        "for i in range(3):\n    train()\n    print(''.join(hist))\n",
        "for i in range(3):\n    print(i)\n",
    ],
)
def test_one_that_more_training_or_another_number_may_follow_is_not(after: str) -> None:
    assert likely_metrics({"train.py": TRAINED + after}) == []


def test_one_that_is_named_is_taken_before_lines_that_are_none() -> None:
    for after in (SAMPLES, "for i in range(3):\n    train()\n", "print('score', 3.0)\n"):
        guess = bare_number_named({"train.py": TRAINED + after}, "hist")
        assert guess is not None
        assert guess.where == "train.py:7"


@pytest.mark.parametrize("after", ["print(letters[0])\n", "print(len(hist))\n"])
def test_one_that_a_number_may_follow_is_refused_with_both_places(after: str) -> None:
    files = {"train.py": TRAINED + after}
    assert bare_number_named(files, "hist") is None
    assert "train.py:7 prints hist without a word, and train.py:8 may print a number so as well" in why_not_taken(
        files, "hist"
    )
    assert why_not_taken(files, "loss") == ""


def test_one_that_is_no_likely_metric_is_named_to_a_person() -> None:
    files = {"train.py": TRAINED + "for i in range(3):\n    train()\n"}
    assert [guess.name for guess in bare_numbers_offered(files)] == ["hist"]


@pytest.mark.parametrize("log", ["num=3\n0.25\nanna\nbo\n", "0.25\nsaved to 3.pt\n", "3\n0.25\n\nnan\nanna\n"])
def test_a_log_offers_its_last_number_without_a_word(log: str) -> None:
    assert [(each.name, each.shown) for each in likely_metrics({"train.py": "main()"}, log)] == [("result", "0.25")]
    assert [each.name for each in likely_metrics({"train.py": TRAINED + "train()\n"}, log)] == ["hist"]


def test_init_says_what_can_be_taken_and_why_a_name_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = Path("train.py")
    script.write_text(TRAINED + "for i in range(3):\n    train()\n")
    assert run(["init", "train.py", "--direction", "minimize"]) != 0
    assert "--metric hist takes the one of train.py:7" in capsys.readouterr().err
    script.write_text(TRAINED + "print(letters[0])\n")
    assert run(["init", "train.py", "--metric", "hist", "--direction", "minimize"]) == 0
    said = capsys.readouterr().err
    assert "metric: train.py:7 prints hist without a word" in said
    assert "Print it with one: print('hist:', hist[-1])" in said


def test_a_probe_takes_the_number_without_a_word_for_the_name_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    code = "import sys\nLR = 0.25\nfor line in (LR, 'anna'):\n    sys.stdout.write(str(line) + chr(10))\n"
    Path("train.py").write_text(code)
    assert run(["init", "train.py", "--metric", "val_loss", "--probe", "--trust"]) == 0
    metric = load_workload("./").metric
    assert (metric.name, metric.direction, "{number}" in metric.regex) == ("val_loss", "minimize", True)
    Path("workload.toml").write_text('metric = "sloss"\nprogress = false\n')
    capsys.readouterr()
    run(["init", "train.py", "--probe", "--trust"])
    assert 'metric = { name = "sloss", regex = ' in capsys.readouterr().err


def test_a_text_that_is_put_together_in_many_lines_takes_no_more_work_than_its_lines() -> None:
    once, twice = ("out = ''\n" + "out = out + '<tr>'\n" * lines + "print(out)\nprint(loss)\n" for lines in (20, 40))
    assert likely_metrics({"train.py": "out = ''\nprint(out)\nprint(loss)\n"})[0].name == "loss"
    works = [calls(lambda text=text: likely_metrics({"train.py": text})) for text in (once, twice)]  # type: ignore[misc]
    assert works[1] < 3 * works[0]


def test_many_numbers_without_a_word_are_looked_at_once() -> None:
    few, many = ("".join(f"print(loss_{number})\n" for number in range(count)) for count in (40, 80))
    works = [calls(lambda text=text: bare_numbers_offered({"train.py": text})) for text in (few, many)]  # type: ignore[misc]
    assert works[1] < 3 * works[0]
    assert [guess.name for guess in bare_numbers_offered({"train.py": many})] == ["loss_79"]
