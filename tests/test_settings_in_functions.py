"""Settings inside functions: defaults of parameters, and what calls take by its place."""

from __future__ import annotations

from optimize.script.settings_in_functions import settings_in_functions


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
