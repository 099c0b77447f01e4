"""Flags of click, typer, absl and of libraries that make them of classes: each library that is installed is asked itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typer.main import get_command

from optimize.script.parsers import find_flag, read_flags
from optimize.script.process_parameters import flag_default, flag_words
from optimize.trial import Value
from tests.init_config_kinds import BASE_CONFIG, CONFIG_FLAGS, GET_CONFIG
from tests.test_parsers import other, plain, words

CLICK = """
import click
from click import option

DEPTH = 4

@click.command()
@click.option("--lr", "-l", default=1e-3, help="the rate")
@click.option("--batch-size", "batch", type=int, default=32)
@option("--depth", default=DEPTH, show_default=True)
@click.option("--scale", type=click.FloatRange(0, 2), default=1)
@click.option("--opt", type=click.Choice(["sgd", "adam"]), default="adam")
@click.option("--amp/--no-amp", default=True)
@click.option("-f/-F", "--fuse/--apart", default=False)
@click.option("--nesterov", is_flag=True, help="or not")
@click.option("--ema", default=False)
@click.option("--betas", nargs=2, type=float, default=(0.9, 0.95))
@click.option("--layer", multiple=True, type=int, default=[64, 32])
@click.option("-v", "--verbose", count=True)
@click.option("--name", default="x")
@click.option("--key", type=str)
@click.argument("data", default="input.txt")
def main(**values):
    return values
"""
TYPER = """
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, Optional
import typer

class Kind(str, Enum):
    sgd = "sgd"
    adam = "adamw"

app = typer.Typer()

@app.command()
def main(
    data: Path,
    lr: float = 1e-3,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", help="of a step")] = 32,
    depth: int = typer.Option(4, "--depth", "-d"),
    kind: Kind = Kind.adam,
    amp: bool = True,
    fuse: bool = typer.Option(False, "--fuse"),
    ema: Annotated[bool, typer.Option("--ema/--plain")] = False,
    clip: Optional[float] = None,
    betas: tuple[float, float] = (0.9, 0.95),
    layers: list[int] = typer.Option([64, 32]),
    name: str = "x",
):
    return dict(locals())
"""


def command_of(text: str, make: Callable[[dict[str, Any]], Any]) -> Any:
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script", "exec", dont_inherit=True), names)
    return make(names)


@pytest.mark.parametrize(
    ("text", "make", "first"),
    [(CLICK, lambda names: names["main"], []), (TYPER, lambda names: get_command(names["app"]), ["d"])],
    ids=["click", "typer"],
)
def test_click_and_typer_get_every_flag_default_and_style_that_they_would_get_themselves(
    text: str, make: Callable[[dict[str, Any]], Any], first: list[str]
) -> None:
    command, found = command_of(text, make), read_flags(text, "train.py")
    options = [each for each in command.params if each.name not in ("install_completion", "show_completion", "help")]
    spelled = {word for each in options for word in (*each.opts, *each.secondary_opts)}
    assert {n for flag in found for n in flag.names} <= spelled
    assert len(found) == len(options)
    given = command.main(list(first), standalone_mode=False)
    for flag in found:
        assert flag.readable, flag
        if flag.names[0] != "data" and flag.style != "other":
            assert flag.default == _plain_enum(given[flag.dest]), flag
            changed = command.main([*words(flag, other(flag)), *first], standalone_mode=False)
            assert _plain_enum(changed[flag.dest]) == other(flag), flag
    assert [flag.names[0] for flag in found if flag.positional] == ["data"]
    assert [flag.required for flag in found if flag.positional] == [bool(first)]


def _plain_enum(value: object) -> object:
    return plain(getattr(value, "value", value))


def test_commands_of_a_group_are_told_and_a_lone_one_needs_no_word() -> None:
    text = TYPER + "\n@app.command('look')\ndef show_all(top: int = 3):\n    pass\n"
    assert {(f.dest, f.command) for f in read_flags(text, "x.py") if f.dest in ("lr", "top")} == {
        ("lr", "main"),
        ("top", "look"),
    }
    run = "import typer\ndef main(lr: float = 0.1):\n    pass\ntyper.run(main)\n"
    assert [(f.names, f.default, f.command) for f in read_flags(run, "x.py")] == [(("--lr",), 0.1, "")]
    group = "import click\n@click.group()\ndef cli(): pass\n@cli.command()\n@click.option('--lr')\ndef fit_it(): pass\n"
    assert [(f.names, f.command) for f in read_flags(group, "x.py")] == [(("--lr",), "fit-it")]


ABSL = """
from absl import flags

flags.DEFINE_float("lr", 1e-3, "the rate", short_name="l")
flags.DEFINE_integer(name="steps", default=10, help="how many")
flags.DEFINE_bool("amp", True, "half")
flags.DEFINE_enum("opt", "adam", ["sgd", "adam"], "which")
flags.DEFINE_list("sizes", ["1", "2"], "several")
flags.DEFINE_multi_float("betas", [0.9, 0.95], "both")
flags.DEFINE_multi_integer("one", 3, "one")
flags.DEFINE_string("name", None, "a name", required=True)
"""


def test_absl_gets_every_flag_default_and_style_that_it_would_get_itself() -> None:
    absl = pytest.importorskip("absl.flags")
    found = {flag.dest: flag for flag in read_flags(ABSL, "train.py")}

    def parsed(*given: str) -> Any:
        holder = absl.FlagValues()
        for line in ABSL.strip().splitlines()[2:]:
            name = line.partition("(")[0].removeprefix("flags.")
            exec(
                f"absl.{name}({line.partition('(')[2].rstrip(')')}, flag_values=holder)",
                {"absl": absl, "holder": holder},
            )
        holder(["train.py", "--name=x", *given])
        return holder

    for dest, flag in found.items():
        if dest != "name":
            told = getattr(parsed(), dest)
            assert flag.default == (",".join(told) if dest == "sizes" else plain(told)), flag
            changed = getattr(parsed(*words(flag, other(flag))), dest)
            assert plain(changed) == (("x",) if dest == "sizes" else other(flag)), flag
    assert found["name"].required
    assert found["lr"].names == ("--lr", "-lr", "--l", "-l")


CLASSES = """
from dataclasses import dataclass, field
from typing import Literal, Optional

@dataclass
class Base:
    seed: int = 1

@dataclass
class Optim:
    weight_decay: float = 0.1
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])

@dataclass
class Config(Base):
    data: str
    lr: float = field(default=1e-3, metadata={"help": "the rate"})
    n_heads: Optional[int] = None
    kind: Literal["a", "b"] = "a"
    amp: bool = False
    optim: Optim = field(default_factory=Optim)
    made: float = field(init=False, default=0.0)
    count: int = field(default_factory=len)
"""
HF = "from transformers import HfArgumentParser, TrainingArguments\nHfArgumentParser((Config, TrainingArguments))\n"


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (HF, {"--lr": 1e-3, "--n_heads": None, "--kind": "a", "--amp": False, "--learning_rate": 5e-5, "--n-heads": None}),
        ("import tyro\ntyro.cli(Config)", {"--lr": 1e-3, "--n-heads": None, "--optim.weight-decay": 0.1, "--amp": False}),
        ("from tyro import cli\ncli(Config)", {"--lr": 1e-3, "--optim.betas": (0.9, 0.95)}),
        ("import simple_parsing as sp\nsp.ArgumentParser().add_arguments(Config, 'c')", {"--lr": 1e-3, "--weight_decay": 0.1}),
        ("import pyrallis\n@pyrallis.wrap()\ndef main(cfg: Config): pass", {"--lr": 1e-3, "--optim.weight_decay": 0.1}),
        ("from jsonargparse import CLI\nCLI(Config)", {"--lr": 1e-3, "--optim.weight_decay": 0.1}),
        ("import fire\ndef go(lr=0.1, amp=False): pass\nfire.Fire(go)", {"--lr": 0.1, "--amp": False}),
    ],
)  # fmt: skip
def test_classes_and_functions_become_flags_as_each_library_makes_them(calls: str, expected: dict[str, Value]) -> None:
    found = {name: flag for flag in read_flags(f"{CLASSES}\n{calls}\n", "train.py") for name in flag.names}
    assert {name: found[name].default for name in expected} == expected
    assert "--made" not in found
    if "--count" in found:
        assert (found["--count"].readable, found["--count"].expression) == (False, "len()")
    if "--data" in found:
        assert found["--data"].required
    if "--amp" in found:
        style = {"tyro": ("pair", "--no-amp"), "fire": ("literal", "")}.get(found["--amp"].parser, ("text", ""))
        assert (found["--amp"].style, found["--amp"].off) == style


FIRE = "import fire\ndef train(lr=0.1, opt='adam'): pass\ndef show(path): pass\n"
TAGGER = "import fire\nclass Tagger:\n    size = 3\n    def __init__(self, lr=0.1): pass\n    def train(self, betas=[0.9]): pass\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{FIRE}fire.Fire(train)", [("--lr", ""), ("--opt", "")]),
        (f"{FIRE}fire.Fire()", [("--lr", "train"), ("--opt", "train"), ("--path", "show")]),
        (f"{FIRE}fire.Fire({{'fit': train, 'look': show}})", [("--lr", "fit"), ("--opt", "fit"), ("--path", "look")]),
        (f"{TAGGER}fire.Fire(Tagger)", [("--lr", ""), ("--betas", "train")]),
        (f"{TAGGER}fire.Fire(Tagger(lr=0.3))", [("--lr", ""), ("--betas", "train")]),
    ],
)
def test_fire_makes_commands_of_methods_of_a_dictionary_and_of_the_module(
    text: str, expected: list[tuple[str, str]]
) -> None:
    found = read_flags(text, "train.py")
    assert [(flag.names[0], flag.command) for flag in found] == expected
    assert {flag.style for flag in found} == {"literal"}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("adam", "adam"),
        ("1e3", "'1e3'"),
        ("True", "'True'"),
        ("a b", "'a b'"),
        ((0.8, 0.9), "(0.8,0.9)"),
        (True, "True"),
    ],
)
def test_a_literal_is_given_as_python_writes_it(value: Value, word: str) -> None:
    flag = next(each for each in read_flags(f"{FIRE}fire.Fire(train)", "x.py") if each.names[0] == "--opt")
    assert flag_words("--opt", flag, value) == (f"--opt={word}",)
    assert flag_default(("python", f"--opt={word}"), "--opt", flag, ()) == value


def test_ml_collections_takes_a_value_by_the_type_of_the_present_one() -> None:
    files = {"train.py": CONFIG_FLAGS, "configs/default.py": GET_CONFIG, "configs/base.py": BASE_CONFIG}
    words = ("python", "train.py", "--config", "configs/default.py:an_argument")
    found = {flag.dest: flag for flag in read_flags(CONFIG_FLAGS, "train.py", files, words)}
    assert {name: (flag.style, flag.default) for name, flag in found.items() if name.startswith("config.")} == {
        "config.optim.weight_decay": ("value", 0.1), "config.optim.lr": ("value", 3e-4), "config.batch_size": ("value", 32),
        "config.num_epochs": ("value", 10), "config.hidden_dims": ("literal", (256, 256)), "config.sizes": ("other", (1, 2)),
        "config.nesterov": ("text", True), "config.width": ("value", 4),
    }  # fmt: skip
    assert read_flags(CONFIG_FLAGS, "train.py", files)[1].required  # no file is named: it does not start


def test_classes_of_other_files_of_tap_and_of_lightning_are_found() -> None:
    files = {"train.py": "from conf import Config\nimport tyro\ntyro.cli(Config)\n", "conf.py": CLASSES}
    flag = find_flag(files, "--optim.weight_decay")
    assert flag is not None
    assert (flag.names, flag.default) == (("--optim.weight-decay", "--optim.weight_decay"), 0.1)
    tap = "from tap import Tap\nclass Args(Tap):\n    lr: float = 0.1\n    amp: bool = False\n    cuda: bool = True\n"
    assert {f.names[0]: f.style for f in read_flags(tap, "x.py")} == {
        "--lr": "value",
        "--amp": "true",
        "--cuda": "false",
    }
    lightning = (
        "from lightning.pytorch.cli import LightningCLI\n"
        "class Model:\n    def __init__(self, lr: float = 0.1, amp: bool = False): pass\nLightningCLI(Model)\n"
    )
    assert [(f.names, f.default, f.command) for f in read_flags(lightning, "x.py")] == [
        (("--model.lr",), 0.1, "fit"),
        (("--model.amp",), False, "fit"),
    ]
