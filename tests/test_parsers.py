"""Flags of argparse are read from a script's text as the parser itself defines them."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

import pytest

from optimize.errors import RenderError
from optimize.script.parsers import FlagDefinition, find_flag, parser_facts, read_flags
from optimize.script.settings_of_process import options_told
from optimize.trial import Value

ARGPARSE = """
import argparse
from argparse import BooleanOptionalAction, SUPPRESS
from dataclasses import dataclass
from pathlib import Path

EPOCHS = 3
WIDTHS = [64, 128]

@dataclass
class Defaults:
    momentum: float = 0.9

def str2bool(text):
    return text.lower() in ("yes", "true", "1")

parser = argparse.ArgumentParser()
parser.add_argument("--lr", "-l", type=float, default=1e-3, help="the rate")
parser.add_argument("-b", "--batch-size", default=32, type=int, metavar="N")
parser.add_argument("--epochs", type=int, default=EPOCHS)
parser.add_argument("--steps", type=int, default=10 * EPOCHS)
parser.add_argument("--warm", type=int, default=int(1e3))
parser.add_argument("--momentum", type=float, default=Defaults.momentum)
parser.add_argument("--decay", type=float, default="0.1")
parser.add_argument("--half", type=float, default=1)
parser.add_argument("--opt", choices=["sgd", "adam"], default="adam")
parser.add_argument("--width", choices=WIDTHS, type=int, default=WIDTHS[0] if 0 else 64)
parser.add_argument("--betas", nargs=2, type=float, default=(0.9, 0.95))
parser.add_argument("--layers", nargs="+", type=int, default=[64, 32])
parser.add_argument("--amp", action="store_true")
parser.add_argument("--no-cuda", action="store_false", dest="cuda")
parser.add_argument("--ema", action=BooleanOptionalAction, default=True)
parser.add_argument("--fuse", action=argparse.BooleanOptionalAction)
parser.add_argument("--nesterov", type=str2bool, default=False)
parser.add_argument("--nested", type=str2bool, nargs="?", const=True, default=False)
parser.add_argument("--broken", type=bool, default=True)
parser.add_argument("--sync", dest="sync", action="store_true")
parser.add_argument("--no-sync", dest="sync", action="store_false")
parser.set_defaults(sync=True, half=0.5)
parser.add_argument("--untyped", default=0.5)
parser.add_argument("--gone", type=float, default=SUPPRESS)
parser.add_argument("--out", type=Path, default="runs")
parser.add_argument("--tuple", type=eval, default=(1, 2))
parser.add_argument("--tag", action="append")
parser.add_argument("-v", "--verbose", action="count", default=0)
parser.add_argument("--adam", action="store_const", const="adam", dest="which", default="sgd")
parser.add_argument("--version", action="version", version="1")
group = parser.add_argument_group("model").add_mutually_exclusive_group()
group.add_argument("--dropout", type=float, default=0.0)
add = parser.add_argument
add("--clip", type=lambda text: float(text), default=1.0)
parser.add_argument("--name", required=True)
parser.add_argument("data", nargs="?", default="input.txt")
"""


def flags_of(text: str) -> dict[str, FlagDefinition]:
    return {flag.names[0]: flag for flag in read_flags(textwrap.dedent(text), "train.py")}


def words(flag: FlagDefinition, value: Value) -> list[str]:
    """The words that give a flag this value, as its style says."""
    name, each = flag.names[0], [str(one) for one in value] if isinstance(value, tuple) else []
    match flag.style:
        case "value":
            return [f"{name}={value}"]
        case "text":
            return [f"{name}={str(value).lower()}"]
        case "true":
            return [name] if value else []
        case "false":
            return [] if value else [name]
        case "pair":
            return [name if value else flag.off]
        case "many":
            return [name, *each]
    assert flag.style == "repeated", flag
    return [word for one in each for word in (name, one)]


def other(flag: FlagDefinition) -> Value:
    """Another value than the default."""
    if flag.choices:
        return next(each for each in flag.choices if each != flag.default)
    if flag.type == "bool":
        return not flag.default
    one: Value = {"float": 0.25, "int": 7}.get(flag.type, "x")
    if flag.style in ("many", "repeated"):
        return (one,) * (len(flag.default) if isinstance(flag.default, tuple) and flag.default else 2)
    return (3, 4) if isinstance(flag.default, tuple) else one


def plain(value: object) -> object:
    """A value as a definition has it."""
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def parser_of(text: str) -> argparse.ArgumentParser:
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script", "exec", dont_inherit=True), names)
    return names["parser"]


def test_argparse_gets_every_flag_and_default_that_it_would_get_itself() -> None:
    parser, found = parser_of(ARGPARSE), flags_of(ARGPARSE)
    given = vars(parser.parse_args(["--name=x"]))
    spelled = {word for action in parser._actions for word in action.option_strings} - {"-h", "--help", "--version"}
    assert {name for flag in found.values() for name in (*flag.names, flag.off) if name} == {*spelled, "data"}
    for name, flag in found.items():
        if name not in ("--name", "--width"):
            assert flag.readable, flag
            assert flag.default == plain(given.get(flag.dest)), flag
    assert (found["--width"].readable, found["--width"].choices) == (False, (64, 128))
    assert [flag.names[0] for flag in found.values() if flag.required] == ["--name"]
    assert (found["--lr"].names, found["--lr"].help, found["--lr"].line) == (("--lr", "-l"), "the rate", 18)
    assert found["data"].positional


def test_each_style_of_argparse_gives_another_value_than_the_default() -> None:
    parser = parser_of(ARGPARSE)
    for flag in flags_of(ARGPARSE).values():
        if flag.style not in ("broken", "other") and not flag.positional:
            given = parser.parse_args([*(["--name=x"] if flag.dest != "name" else []), *words(flag, other(flag))])
            assert plain(getattr(given, flag.dest)) == other(flag), flag
    unwritten = {flag.names[0]: flag.style for flag in flags_of(ARGPARSE).values() if flag.style in ("broken", "other")}
    assert unwritten == {"--broken": "broken", "--verbose": "other", "--adam": "other"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("'--n', type=int, default=os.cpu_count()", "os.cpu_count()"),
        ("'--lr', type=float, default=float(os.environ.get('LR', 1))", "float(os.environ.get('LR', 1))"),
        ("'--lr', type=float, default=float('inf')", "float('inf')"),
        ("'--n', type=int, default=0.5", "0.5"),
        ("'--lr', type=float, default=base.lr", "base.lr"),
        ("'--lr', type=float, **common", "parser.add_argument('--lr', type=float, **common)"),
        ("'--lr', type=float, default=TWICE", "TWICE"),
    ],
)
def test_a_default_that_only_running_shows_is_marked_with_its_text(arguments: str, said: str) -> None:
    (flag,) = flags_of(f"TWICE = 1\nTWICE = 2\nparser.add_argument({arguments})\n").values()
    assert (flag.readable, flag.expression, flag.default) == (False, said, None)


@pytest.mark.parametrize(
    ("after", "default", "readable"),
    [
        ("parser.set_defaults(lr=0.5)", 0.5, True),
        ("parser.set_defaults(**read())", None, False),
        ("if small:\n    parser.set_defaults(lr=0.5)", None, False),
        ("if path:\n    parser.set_defaults(**read())", 0.1, True),
        ("parser.set_defaults(func=print)", 0.1, True),
    ],
)
def test_what_is_said_of_defaults_later_counts(after: str, default: float | None, readable: bool) -> None:
    flag = flags_of(f"parser.add_argument('--lr', type=float, default=0.1)\n{after}\n")["--lr"]
    assert (flag.default, flag.readable) == (default, readable)


SUBCOMMANDS = """
import argparse
def build():
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers()
    train = sub.add_parser("train")
    model = train.add_argument_group("model")
    model.add_argument("--lr", type=float, default=0.1)
    test = sub.add_parser("test")
    test.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
args, rest = build().parse_known_args()
args.seed = 3
args.lr = args.lr * 2
input("go?")
"""


def test_subcommands_and_what_else_a_parser_does_is_told() -> None:
    found = read_flags(SUBCOMMANDS, "train.py")
    assert [(flag.names[0], flag.command) for flag in found] == [("--lr", "train"), ("--lr", "test"), ("--seed", "")]
    facts = parser_facts({"train.py": SUBCOMMANDS, "notes.txt": "none"})
    assert (facts.parsers, facts.known_only, facts.subcommands) == (("argparse",), True, ("train", "test"))
    assert (facts.rewritten, facts.asks) == ({"seed": 13}, 15)
    several = find_flag({"train.py": SUBCOMMANDS}, "--lr")
    assert several is not None
    assert (several.readable, several.expression) == (False, "0.1 or 0.2")


def test_a_flag_is_found_in_another_file_by_each_of_its_spellings() -> None:
    files = {"train.py": "import options\n", "options.py": ARGPARSE, "data.txt": "not ( python"}
    for name in ("--lr", "-l", "data", "--no-sync"):
        assert find_flag(files, name) is not None
    assert find_flag(files, "--nothing") is None
    assert find_flag(files, "") is None
    with pytest.raises(RenderError, match="not valid Python"):
        read_flags("x = (", "train.py")


def test_a_script_without_a_parser_has_no_flags() -> None:
    text = "import math\nclass A:\n    x = 1\ndef option(a): pass\noption('--lr')\nprint(add_argument)\nx.add_argument(name)\n"
    assert read_flags(text, "train.py") == ()


def test_a_flag_that_is_computed_from_what_was_given_is_not_rewritten() -> None:
    text = (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\n"
        "p.add_argument('--batch', type=int, default=8)\np.add_argument('--width', type=int, default=8)\n"
        "args = p.parse_args()\nscaled = args.lr * args.batch\nargs.lr = scaled\nopt.batch = 2 * args.batch\nargs.width = 3\n"
    )
    assert parser_facts({"train.py": text}).rewritten == {"width": 10}


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("one of adam|sgd", ("adam", "sgd")),
        ("options:[adam, sgd, lion]", ("adam", "sgd", "lion")),
        ('Choose between ["sgd", "adam"]', ("sgd", "adam")),
        ("(adam/sgd)", ("adam", "sgd")),
        ("the optimizer (default: adam)", ()),
        ("of sgd|lion", ()),
        ("[adam, or whatever you like]", ()),
        ("adam", ()),
    ],
)
def test_the_options_that_a_help_lists_are_read(said: str, options: tuple[str, ...]) -> None:
    assert options_told(said, "adam") == options


def test_flags_of_another_program_in_a_file_are_none_of_the_script() -> None:
    flags = "def options():\n    p = argparse.ArgumentParser()\n    p.add_argument('{0}')\n    return p.parse_args()\n"
    main = "if __name__ == '__main__':\n    print(options())\n"
    files = {
        "train.py": f"import argparse, other, shared\nfrom kin import options\n{flags.format('--mine')}{main}",
        "other.py": f"import argparse\n{flags.format('--other')}{main}",
        "kin.py": f"import argparse\n{flags.format('--kin')}{main}",
        "shared.py": f"import argparse\n{flags.format('--shared')}def again(): return options()\nagain()\n",
        "third.py": f"import argparse\n{flags.format('--third')}",
        "by_name.py": "import third as one\none.options()\n",
    }
    found = {name: find_flag(files, name) is not None for name in ("--mine", "--other", "--kin", "--shared", "--third")}
    assert found == {"--mine": True, "--other": False, "--kin": True, "--shared": True, "--third": True}
