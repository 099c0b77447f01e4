"""A script that trains for ever is told before any trial, with the option that would end it."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.endless import endless_note
from tests.test_init import folder_with

FLAG = (
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--max-steps', type=int, default=-1)\n"
    "p.add_argument('--lr', type=float, default=0.5)\nargs = p.parse_args()\n"
)
LOOP = "while True:\n    step += 1\n    loss.backward()\n    if {}:\n        break\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FLAG + LOOP.format("args.max_steps >= 0 and step >= args.max_steps"), "since --max-steps is -1"),
        (FLAG + LOOP.format("args.max_steps > 0 and step > args.max_steps"), "since --max-steps is -1"),
        (FLAG + LOOP.format("step == args.max_steps"), "since --max-steps is -1"),
        (LOOP.format("step > args.max_steps").replace("while True", FLAG + "for step in itertools.count()"), ""),
        ("c.max_iters = None\n" + LOOP.format("c.max_iters is not None and step >= c.max_iters"), "since max_iters is None"),
        ("MAX_TIME = float('inf')\n" + LOOP.format("now() > MAX_TIME"), "since MAX_TIME is inf"),
        ("max_epochs = 0\n" + LOOP.format("max_epochs and step >= max_epochs"), "since max_epochs is 0"),
        ("while True:\n    loss.backward()\n", "this loop has no end: "),
        ("for i in itertools.count(1):\n    loss.backward()\n", "this loop has no end: "),
        ("while 1:\n    for b in x:\n        loss.backward()\n        break\n", "this loop has no end: "),
        ("while True:\n    try:\n        opt.step()\n    except KeyboardInterrupt:\n        break\n", "this loop has no end: "),
        ("max_iters = 0\n" + LOOP.format("step > max_iters"), ""),
        ("max_iters = 9\n" + LOOP.format("max_iters is not None and step > max_iters"), ""),
        (LOOP.format("done"), ""),
        ("def f():\n    while True:\n        yield loss\n", ""),
        ("def f():\n    while True:\n        opt.step()\n        if a > b:\n            return\n", ""),
        ("while True:\n    opt.step()\n    if a > b:\n        sys.exit()\n", ""),
        ("while True:\n    input()\n", ""),
        ("for i in range(9):\n    loss.backward()\n", ""),
    ],
)  # fmt: skip
def test_a_training_loop_without_an_end_is_named_with_its_option(text: str, says: str) -> None:
    note = endless_note({"train.py": text})
    assert says in note
    assert bool(note) == bool(says)


def test_init_says_it_until_the_option_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = "step = 0\n" + LOOP.format("args.max_steps >= 0 and step >= args.max_steps")
    monkeypatch.chdir(folder_with(tmp_path, {"train.py": f"{FLAG}{loop}print(f'loss: {{args.lr}}')\n"}))
    assert run(["init", "train.py"]) == 0
    said = capsys.readouterr().err
    assert (
        "note: train.py:7: this loop has no end, since --max-steps is -1: a trial would run into its time limit" in said
    )
    assert 'Write it into `command` in workload.toml, such as "--max-steps=1000"' in said
    for name in ("workload.toml", "space.toml"):
        Path(name).unlink()
    assert run(["init", "train.py", "--", "--max-steps", "50"]) == 0
    assert "no end" not in capsys.readouterr().err
