"""Settings inside functions: defaults of parameters, and what calls take by its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.same_settings import DEFAULT, TWIN, UNREAD
from optimize.script.settings_in_functions import AT_TIMES, OF_OTHERS, SWITCHES, settings_in_functions
from optimize.script.settings_in_modules import CONDITIONAL, LISTS, entries_of_tables
from optimize.script.settings_in_modules import SEVERAL as CHANGED
from search_spaces import load_space
from tests.test_draft_space import planned


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
        "momentum": CHANGED,
        "warmup": AT_TIMES,
    }
    assert len(found) == len(told)


STATE = """\
t = 1.0
start = 0.0
best_loss = 1e9
epsilon = 1.0
def fit(model, temperature=1.5, lr=0.1, weight_decay=0.1):
    best_loss, total_loss = 1e9, 2.0
    noise_scale = clip = 2.0
    momentum = 0.9
    warmup = 100
    for epoch in range(3):
        total_loss += 1
        momentum *= 0.99
        temperature *= 0.5
        cooldown = 3
    def step():
        global optimizer
        nonlocal warmup
        warmup, optimizer = 50, "adam"
    dropout = 0.3
    if dropout: hidden = 5
for i in range(9):
    t += 1
    epsilon *= 0.9
print('loss:', fit(None))
"""


def test_what_a_script_changes_itself_is_state_and_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(STATE)
    monkeypatch.chdir(tmp_path)
    assert run(["init", "train.py"]) == 0
    left = (tmp_path / "space.toml").read_text().partition("# Left as they are")[2]
    assert set(load_space("./space.toml").names) == {"lr", "weight_decay", "dropout"}
    assert f"#   {CHANGED}\n#     epsilon, fit.momentum, fit.warmup\n" in left
    assert f"#   {OF_OTHERS}\n#     fit.step.warmup, fit.step.optimizer\n" in left
    assert f"#   {AT_TIMES}\n#     fit.cooldown, fit.hidden\n" in left
    assert "one can vary" not in left  # since none of these can


BLOCKS = """\
import contextlib
if True:
    MOMENTUM = 0.9
try:
    import torch
except ImportError:
    CLIP = 0.5
try:
    DROPOUT = 0.1
finally:
    ALPHA = 0.3
with contextlib.nullcontext():
    WARMUP_STEPS = 100
if False:
    GAMMA = 0.95
else:
    BETA = 0.99
match MOMENTUM:
    case 0.9:
        SMOOTHING = 0.1
for i in range(2):
    PATIENCE = 5
if __name__ == "__main__":
    EPS, width, depth = 1e-8, 128, 2 * 2
    NESTEROV, SEED, x = True, 1, 3.5
    temperature = 1.0
    temperature *= 0.5
    heads = int("4")
    config = {"alpha": 0.3, "size": 3}
    print(f"loss: {MOMENTUM + DROPOUT + ALPHA + WARMUP_STEPS + BETA + EPS + width + NESTEROV + config['alpha']}")
else:
    LAMBDA = 0.1
"""
VARIABLES = ("MOMENTUM", "DROPOUT", "ALPHA", "WARMUP_STEPS", "BETA", "EPS", "width", "depth", "NESTEROV")
IN_BLOCKS = {**{name: ("local", name) for name in VARIABLES}, "alpha": ("entry", "config.alpha")}


def test_what_blocks_of_a_module_set_is_read_and_written_as_its_constants_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(BLOCKS)
    monkeypatch.chdir(tmp_path)
    assert run(["init", "train.py"]) == 0
    space = load_space("./space.toml")
    assert {
        each.name: (each.location.kind, each.location.path) for each in space.parameters if each.location
    } == IN_BLOCKS
    left = (tmp_path / "space.toml").read_text().partition("# Left as they are")[2]
    assert f"#   {CONDITIONAL}\n#     CLIP, GAMMA, SMOOTHING, PATIENCE, LAMBDA\n" in left
    assert f"#   {CHANGED}\n#     temperature\n" in left
    assert left.count("temperature") == left.count("GAMMA") == left.count("SEED") == left.count("heads") == 1
    placed = planned(".", tmp_path / "space.toml", tmp_path).workload
    for parameter in space.parameters:
        value = next(each for each in parameter.choices if each != placed.places.default(parameter.name))
        written = placed.render({parameter.name: value})["train.py"]
        assert written != BLOCKS
        assert repr(value) in written


TWINS = """\
import argparse
batch_size, n_layer, dropout, lr = 32, 4, 0.1, 3e-4
BETA = 0.9
WARMUP = 5
p = argparse.ArgumentParser()
p.add_argument("--beta", type=float, default=BETA)
args = p.parse_args()
class Model:
    def __init__(self, n_layer=4, n_head=4, dropout=0.1):
        self.loss = n_layer
def get_batch(split, batch_size=8):
    return batch_size
def main(warmup=10):
    generator = Adam([], lr=lr)
    discriminator = Adam([], lr=1e-4)
    model = Model(n_layer=n_layer)
    head = Head(dropout=0.1)
    for i in range(batch_size):
        x = get_batch("train")
    return dropout * args.beta
print(f"val_loss: {main()}")
"""


def test_of_several_places_of_one_name_one_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(TWINS)
    monkeypatch.chdir(tmp_path)
    assert run(["init", "train.py"]) == 0
    names = {"batch_size", "n_layer", "dropout", "lr", "beta", "n_head", "discriminator_lr", "warmup"}
    assert set(load_space("./space.toml").names) == names
    left = (tmp_path / "space.toml").read_text().partition("# Left as they are")[2]
    for reason, places in {
        TWIN: "main.Head.dropout, get_batch.batch_size, Model.__init__.dropout",
        UNREAD: "WARMUP",
        DEFAULT: "BETA",
    }.items():
        assert f"#   {reason}\n#     {places}\n" in left


def test_what_data_are_drawn_with_is_no_setting() -> None:
    text = (
        "import numpy as np\nfrom sklearn.datasets import make_moons\n"
        "x = np.random.normal(loc=2.0, scale=0.5, size=9)\nw = np.random.normal(scale=0.25, size=9)\n"
        "p, q = make_moons(noise=0.3)\nm = Net(scale=0.5)\n"
        "def f():\n    y = np.random.normal(loc=2.0, scale=0.5)\n    z = make_moons(noise=0.3)\n"
    )
    found = {*entries_of_tables(text, "train.py", ""), *settings_in_functions({"train.py": text}, "train.py")}
    assert {each.place for each in found} == {"w.scale", "m.scale"}
