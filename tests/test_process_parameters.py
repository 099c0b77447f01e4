"""Parameters that are given when the process starts, and seeds wherever they stand: they arrive, or are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimize.errors import RenderError
from optimize.executors.slots import find_slots
from optimize.reporting.files import write_views
from optimize.script.command import environment_again, plain_script, shell_script
from optimize.study.stored import find_study
from optimize.trial import ONE_THREAD, Outcome, Suggestion, TrialStatus, Value
from search_spaces import parse_space
from tests.conftest import Driver
from tests.placing import COMMAND, job, workload

PARSER = """\
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", "-l", type=float, default=1e-3)
parser.add_argument("--amp", action="store_true")
parser.add_argument("--bias", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--betas", type=float, nargs=2, default=[0.9, 0.95])
parser.add_argument("--opt", choices=["sgd", "adam"], default="adam")
parser.add_argument("--bad", type=bool, default=False)
parser.add_argument("--made", type=int, default=compute())
parser.add_argument("--tags", action="append", type=int)
parser.add_argument("-v", action="count", default=0)
parser.add_argument("--late", type=float, default=0.1)
parser.add_argument("data")
args = parser.parse_args()
args.late = 0.2
"""


@pytest.mark.parametrize(
    ("flag", "default", "value", "words"),
    [
        ("--lr", 0.001, 1e-05, ("--lr=1e-05",)),
        ("-l", 0.001, 0.5, ("-l", "0.5")),
        ("--amp", False, True, ("--amp",)),
        ("--amp", False, False, ()),
        ("--bias", True, False, ("--no-bias",)),
        ("--bias", True, True, ("--bias",)),
        ("--betas", (0.9, 0.95), (0.8, 0.99), ("--betas", "0.8", "0.99")),
        ("--opt", "adam", "sgd", ("--opt=sgd",)),
    ],
)
def test_a_flag_is_given_as_its_parser_takes_it(
    flag: str, default: Value, value: Value, words: tuple[str, ...]
) -> None:
    of = workload(f'P = {{ flag = "{flag}", choices = [1, 2] }}', (*COMMAND, "data"), train_py=PARSER)
    assert of.problems(["P"]) == []
    assert of.constants()["P"] == default
    assert job(of, P=value).command == (*COMMAND, "data", *words)


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--bad", "type=bool makes True"),
        ("--made", r"its default is `compute\(\)`"),
        ("--rl", r"no parser in the files defines it. They have --lr"),
        ("--data", "no parser in the files"),
        ("-v", "counted"),
        ("--late", "line 15 gives late another value"),
    ],
)
def test_a_flag_that_would_not_arrive_is_refused(flag: str, says: str) -> None:
    of = workload(f'P = {{ flag = "{flag}", choices = [1, 2] }}', train_py=PARSER)
    with pytest.raises(RenderError, match=says):
        raise RenderError(*of.problems(["P"]))


def test_a_list_is_given_as_often_as_it_has_elements() -> None:
    of = workload(
        'P = { flag = "--tags", choices = [1, 2], baseline = [1] }'.replace("[1, 2]", "[[1], [2, 3]]"), train_py=PARSER
    )
    assert job(of, P=(2, 3)).command == (*COMMAND, "--tags", "2", "--tags", "3")


def test_a_flag_of_a_subcommand_needs_it_and_an_unknown_one_must_not_be_passed_over() -> None:
    text = "import argparse\np = argparse.ArgumentParser()\ns = p.add_subparsers()\nf = s.add_parser('fit')\n"
    text += "f.add_argument('--lr', default=1)\n"
    space = 'P = { flag = "--lr", choices = [1, 2] }'
    assert "belongs to the subcommand fit" in workload(space, train_py=text + "p.parse_args()\n").problems(["P"])[0]
    fits = workload(space, (*COMMAND, "fit"), train_py=text + "p.parse_args()\n")
    assert job(fits, P=2).command == (*COMMAND, "fit", "--lr=2")
    silent = "import argparse\np = argparse.ArgumentParser()\na, _ = p.parse_known_args()\n"
    unknown = workload('P = { flag = "--lr", choices = [1, 2], baseline = 1 }', train_py=silent)
    assert "passes over it in silence" in unknown.problems(["P"])[0]


@pytest.mark.parametrize("given", [("--lr", "0.5"), ("--lr=0.5",), ("-l", "0.5")])
def test_what_the_command_says_is_the_baseline_and_is_replaced(given: tuple[str, ...]) -> None:
    of = workload('P = { flag = "--lr", choices = [1, 2] }', (*COMMAND, *given, "data"), train_py=PARSER)
    assert of.constants()["P"] == 0.5
    assert job(of, P=0.25).command == (*COMMAND, "data", "--lr=0.25")


def test_an_unknown_parser_takes_flags_whose_default_is_declared() -> None:
    of = workload('P = { flag = "--trainer.lr", choices = [1, 2], baseline = 1 }', train_py="import cli\n")
    assert of.constants()["P"] == 1
    assert job(of, P=2).command == (*COMMAND, "--trainer.lr=2")


@pytest.mark.parametrize(
    ("command", "says"),
    [(("bash", "-c", "python train.py"), "no words behind it"), (("sh", "run.sh"), "does not pass its words on")],
)
def test_a_shell_that_swallows_words_is_refused(command: tuple[str, ...], says: str) -> None:
    of = workload('P = { flag = "--lr", choices = [1, 2] }', command, train_py=PARSER, run_sh="python train.py\n")
    assert says in of.problems(["P"])[0]
    passes = workload(
        'P = { flag = "--lr", choices = [1, 2] }', ("sh", "run.sh"), train_py=PARSER, run_sh='python train.py "$@"\n'
    )
    assert passes.problems(["P"]) == []


HYDRA = {
    "conf__config_yaml": "defaults:\n  - train: base\n  - _self_\nseed: 1\nmodel:\n  act: relu\n",
    "conf__train__base_yaml": "batch_size: 16\nlr: 1e-3\n",
    "conf__train__big_yaml": "batch_size: 64\n",
}


def test_an_override_has_the_default_of_the_chosen_group_and_is_appended() -> None:
    space = "\n".join(
        f'{name} = {{ override = "{path}", choices = [1, 2] }}'
        for name, path in {"B": "train.batch_size", "A": "model.act", "N": "train.new"}.items()
    )
    of = workload(space, (*COMMAND, "model.act=gelu"), train_py="", **HYDRA)
    assert (of.constants()["B"], of.constants()["A"]) == (16, "gelu")
    assert "Write it: baseline" in of.problems(["N"])[0]
    assert job(of, B=32, A="a b").command == (*COMMAND, "train.batch_size=32", "model.act='a b'")


YACS = """
import argparse
from yacs.config import CfgNode as CN
C = CN()
C.LR = 0.1
C.SIZES = (1, 2)
C.NAME = "a"
parser = argparse.ArgumentParser()
parser.add_argument("--file")
parser.add_argument("--opts", nargs="+", default=[])
args = parser.parse_args()
C.merge_from_list(args.opts)
"""


def test_pairs_of_yacs_stand_behind_their_flag_and_take_the_type_of_the_default() -> None:
    space = "A = { override = 'LR', choices = [0.1, 0.2] }\nB = { override = 'SIZES', choices = [[1, 2], [3, 4]] }\n"
    space += "N = { override = 'NAME', choices = ['a', '1'] }"
    command = (*COMMAND, "--opts", "NAME", "b", "LR", "0.5", "--file", "a.yaml")
    of = workload(space, command, train_py=YACS, a_yaml="SIZES: [5, 6]\n")
    assert of.problems(["A", "B", "N"]) == []
    assert {name: of.constants()[name] for name in "ABN"} == {"A": 0.5, "B": (5, 6), "N": "b"}
    given = job(of, A=-0.2, B=(3, 4), N="1").command
    assert given == (*COMMAND, "--file", "a.yaml", "--opts", "LR", "(-0.2)", "SIZES", "(3,4)", "NAME", "'1'")
    assert of.places.refused("A", 1) == "its configuration takes a float there, as 0.1 is one"
    wrong = workload("P = { override = 'SOLVER.LR', choices = [1, 2] }", train_py=YACS)
    assert wrong.problems(["P"]) == ["SOLVER.LR: the script's configuration has no such entry. Correct it."]


def test_flags_of_the_whole_program_stand_before_a_subcommand() -> None:
    group = (
        "import click\n@click.group()\n@click.option('--lr', default=0.1)\ndef cli(lr): pass\n"
        "@cli.command()\n@click.option('--wd', default=0.1)\ndef train(wd): pass\n"
    )
    space = "LR = { flag = '--lr', choices = [0.1, 0.2] }\nWD = { flag = '--wd', choices = [0.1, 0.2] }"
    of = workload(space, (*COMMAND, "train"), train_py=group)
    assert job(of, WD=0.2, LR=0.2).command == (*COMMAND, "--lr=0.2", "train", "--wd=0.2")
    shared = (
        "import argparse\ncommon = argparse.ArgumentParser(add_help=False)\ncommon.add_argument('--lr', type=float, default=0.1)\n"
        "sub = argparse.ArgumentParser().add_subparsers()\nsub.add_parser('eval', parents=[common])\n"
        "train = sub.add_parser('train', parents=[common])\ntrain.add_argument('--wd', type=float, default=0.1)\n"
    )
    of = workload(space, (*COMMAND, "train"), train_py=shared)
    assert job(of, WD=0.2, LR=0.2).command == (*COMMAND, "train", "--wd=0.2", "--lr=0.2")


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("import os\nx = int(os.environ.get('W', '5'))\n", 5),
        ("import os\nx = float(os.getenv('W', 0.5))\n", 0.5),
        ("from os import environ\nx = environ.get('W', 'on')\n", "on"),
        ("from decouple import config\nx = config('W', default=5, cast=int)\n", 5),
        ("from environs import Env\nenv = Env()\nx = env.float('W', 0.5)\n", 0.5),
        ("from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    w: int = 5\n", 5),
    ],
)
def test_a_variable_has_the_default_with_which_it_is_read(text: str, default: Value) -> None:
    of = workload('P = { env = "W", choices = [1, 2] }', train_py=text)
    assert of.problems(["P"]) == []
    assert of.constants()["P"] == default
    found = job(of, P=2)
    assert found.env == {"HOME": "/h", "W": "2"}
    assert "export PYTHONHASHSEED=0\nexport W=2" in shell_script(found)  # as the trial had it


def test_the_seed_of_a_generator_gives_way_to_one_of_the_script() -> None:
    drawn = "import numpy as np\nrng = np.random.default_rng(0)\n"
    flag = PARSER + "parser.add_argument('--seed', type=int, default=3)\n"
    assert workload("X = [1, 2]", train_py=f"X = 1\n{drawn}{flag}").seed_name == "seed"
    assert workload("X = [1, 2]", train_py=f"X = 1\n{drawn}").seed_name == ""


def test_a_trial_is_trained_again_with_the_threads_of_its_slot() -> None:
    for slot in find_slots("cpu", 1)[0].name, "node-1/cpu:3":
        assert ONE_THREAD.items() <= environment_again(slot).items()
        assert "export OMP_NUM_THREADS=1\n" in plain_script(3, {}, slot)
        assert "export CUDA_VISIBLE_DEVICES=''\n" in plain_script(3, {}, slot)  # nor does its trial see a GPU
    for slot in "gpu:0", "node-1/gpu:0", "":
        assert environment_again(slot) == {"PYTHONHASHSEED": "0"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no file reads it"),
        ("import os\nx = os.environ['W']\n", "no default in the files"),
        ("import os\nos.getenv('W', 1)\nos.getenv('W', 2)\n", "several defaults"),
        ("import os\nos.environ['W'] = '1'\n", "sets the variable W itself"),
    ],
)
def test_a_variable_that_would_not_arrive_is_refused(text: str, says: str) -> None:
    assert says in workload('P = { env = "W", choices = [1, 2] }', train_py=text).problems(["P"])[0]


def test_a_parameter_without_effect_has_its_baseline_and_makes_no_other_run(driver: Driver) -> None:
    (driver.folder / "workload" / "train.py").write_text("OPT = 'sgd'\nBETA = 0.9\nGAMMA = 1\nprint('val_bpb: 1')\n")
    (driver.folder / "space.toml").write_text(
        "[parameters]\nOPT = ['sgd', 'adam']\nBETA = { choices = [0.9, 0.99], when = \"OPT == 'adam'\" }\n"
        'GAMMA = { choices = [1, 2], when = "BETA > 0.9" }\n'
    )
    plan = driver.plan
    sgd = plan.job(Suggestion(1, {"OPT": "sgd", "BETA": 0.99, "GAMMA": 2}))
    assert "BETA = 0.9\nGAMMA = 1" in sgd.files["train.py"]
    assert sgd.params == {"OPT": "sgd", "BETA": 0.99, "GAMMA": 2}
    assert "BETA = 0.99\nGAMMA = 2" in plan.job(Suggestion(2, {**sgd.params, "OPT": "adam"})).files["train.py"]
    driver.set(sampler="grid", trials=20)
    ended, told = driver.run(lambda job: Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 1.0}), trials=20)
    assert len(told.ended) == 4, ended  # sgd; adam with 0.9; adam with 0.99 and both values of GAMMA


def test_the_choices_of_a_range_include_what_the_script_has(driver: Driver) -> None:
    space = "[parameters]\nY = { low = 0.0, high = 1.0, steps = 3 }\n"
    (driver.folder / "space.toml").write_text(space)
    (driver.folder / "workload" / "train.py").write_text("Y = 0.3\n")
    assert driver.plan.space["Y"].choices == (0.0, 0.3, 0.5, 1.0)
    assert driver.plan.baseline == {"Y": 0.3}


@pytest.mark.parametrize(
    ("files", "named", "value", "says"),
    [
        ({"train_py": PARSER + "parser.add_argument('--seed', type=int, default=7)\n"}, "", 7, "--seed=43"),
        ({"train_py": "class Config:\n    seed: int = 1337\n"}, "", 1337, "seed: int = 43"),
        ({"train_py": "", "conf_yaml": "seed: 1  # of all\n"}, "", 1, "seed: 43  # of all"),
        ({"train_py": "c = {'seed': 2}\n"}, "c.seed", 2, "{'seed': 43}"),
        ({"train_py": "", "a_json": '{"run": {"seed": 3}}'}, "a.json:run.seed", 3, '{"seed": 43}'),
        ({"train_py": PARSER + "parser.add_argument('--rng', type=int, default=7)\n"}, "--rng", 7, "--rng=43"),
    ],
)
def test_a_seed_is_found_or_named_wherever_it_stands(files: dict[str, str], named: str, value: int, says: str) -> None:
    of = replace(workload("X = { env = 'E', choices = [1, 2], baseline = 1 }", **files), seed=named)
    of = of.with_space(parse_space("[parameters]\nX = { env = 'E', choices = [1, 2], baseline = 1 }\n", "space.toml"))
    assert of.constants()[of.seed_name] == value
    found = job(of, seed=43)
    assert says in " ".join((*found.files.values(), *found.command))


def test_two_places_for_a_seed_are_none() -> None:
    of = workload("X = [1, 2]", train_py="X = 1\nclass A:\n    seed = 1\nclass B:\n    seed = 1\n")
    assert of.seed_name == ""


def test_what_a_trial_leaves_says_how_its_process_was_started(driver: Driver) -> None:
    text = PARSER.replace('parser.add_argument("data")\n', "") + "print('val_bpb: 1')\n"
    (driver.folder / "workload" / "train.py").write_text(text.replace("args.late = 0.2\n", ""))
    (driver.folder / "workload" / "run.sh").write_text("echo the workload's own\n")
    (driver.folder / "workload" / "workload.toml").write_text('files = ["*.py", "run.sh"]\n')
    (driver.folder / "space.toml").write_text("[parameters]\nlr = { flag = '--lr', choices = [1e-3, 1e-2] }\n")
    driver.set(sampler="grid")
    driver.run(lambda job: Outcome(TrialStatus.COMPLETE, 1.0, summary={"val_bpb": 1.0 - job.number}), trials=2)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        first, second = stored.records()
        assert (stored.texts(first)["train.patch"], first.script == second.script) == ("", False)
        texts = stored.texts(second)
        write_views(stored)
    assert texts["train.patch"] == "How the process is started: --lr=0.01\n"
    assert texts["run.sh"] == "echo the workload's own\n"
    again = (driver.paths.best / "run-again.sh").read_text()
    assert again.endswith('exec "$PYTHON" train.py --lr=0.01\n')
    assert 'cd "$(dirname -- "$0")"' in again


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('flag = "--lr"', 'flag = "-l"'),
        ('field = "C.x"', 'field = "train.py:C.x"'),
        ('override = "a.b"', 'override = "+a.b"'),
    ],
)
def test_two_parameters_for_one_place_are_told_however_they_name_it(one: str, other: str) -> None:
    space = f"P = {{ {one}, choices = [1, 2], baseline = 1 }}\nQ = {{ {other}, choices = [1, 2], baseline = 1 }}"
    of = workload(space, train_py=PARSER + "class C:\n    x = 1\n")
    (line,) = of.places.shared()
    assert "P is written there already" in line
