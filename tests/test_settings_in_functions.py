"""Settings inside functions: defaults of parameters, and what calls take by its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.settings_in_functions import AT_TIMES, SWITCHES, settings_in_functions
from optimize.script.settings_in_modules import LISTS


def test_a_function_with_many_telling_defaults_trains_so_its_others_are_settings_too() -> None:
    for head, found in (("ppo", {"clip_ratio", "pi_lr", "vf_lr", "lam", "target_kl"}), ("evaluate", set())):
        text = f"def {head}(a, clip_ratio=0.2, pi_lr=3e-4, vf_lr=1e-3, lam=0.97, target_kl=0.01, n=10):\n    pass\n{head}(1)\n"
        assert {each.name for each in settings_in_functions({"train.py": text}, "train.py") if not each.aside} == found
    few = "def f(x, clip_ratio=0.2, lam=0.97):\n    pass\nf(1)\n"
    assert {each.name for each in settings_in_functions({"train.py": few}, "train.py")} == {"clip_ratio"}


def test_what_some_calls_take_by_its_place_is_found() -> None:
    text = (
        "class Net(nn.Module):\n    def __init__(self):\n"
        "        self.drop = nn.Dropout(0.25)\n        self.drop2 = nn.Dropout(0.5)\n"
        "net = Net()\nopt = SGD(net.parameters(), 0.1)\nsched = StepLR(opt, 30, 0.5)\n"
    )
    found = {each.place: each.value for each in settings_in_functions({"train.py": text}, "train.py") if not each.aside}
    places = {"Net.__init__.drop.0": 0.25, "Net.__init__.drop2.0": 0.5, "SGD.1": 0.1, "StepLR.1": 30, "StepLR.2": 0.5}
    assert found == places


LOCALS = """\
def main():
    lr = 0.01
    max_epoch = 2000
    seed = 3
    eval_every = 100
    optimizer = "adam"
    dropout = 0.0
    betas = [0.9, 0.999]
    momentum = 0.9
    momentum = 0.8
    count, loss, hidden = 0, 0.0, lr * 2
    if count:
        warmup = 5
def evaluate():
    max_epoch, dropout = 3, 0.0
main()
"""


def test_what_stays_as_it_is_in_a_function_is_told_with_why() -> None:
    found = [*settings_in_functions({"train.py": LOCALS}, "train.py")]
    told = {each.place.removeprefix("main."): each.aside for each in found}
    assert told == {
        "lr": "",
        "max_epoch": "the budget, since what is compared has to cost the same",
        "seed": "chance, since a lucky seed is no setting",
        "eval_every": "what the metric is measured on",
        "optimizer": SWITCHES,
        "dropout": SWITCHES,
        "betas": LISTS,
        "momentum": "",
        "warmup": AT_TIMES,
    }
    assert len(found) == len(told)


def test_a_number_that_a_function_gives_a_name_twice_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(f"{LOCALS}x = 0.5\nprint('loss:', x)\n")
    monkeypatch.chdir(tmp_path)
    assert run(["init", "train.py"]) == 0
    space = (tmp_path / "space.toml").read_text()
    assert "bound 2 times in main() (lines 9, 10). Leave exactly one.\n#     main.momentum\n" in space
