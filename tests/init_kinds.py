"""A script of each kind, the parameters that `optimize init` finds in it, what it leaves, and what workload.toml says."""

from __future__ import annotations

from collections.abc import Mapping

from tests.init_config_kinds import CONFIG_KINDS
from tests.init_function_kinds import FUNCTION_KINDS

DATACLASS = """
from dataclasses import dataclass, field
@dataclass
class Optim:
    lr: float = 0.1
    weight_decay: float = 0
@dataclass
class Unused:
    gain: float = 2.0
@dataclass
class Model:
    depth: int = 3
@dataclass
class Config:
    batch_size: int = 32
    epochs: int = 3
    optim: Optim = field(default_factory=Optim)
cfg = Config()
model = Model(depth=4)
for epoch in range(cfg.epochs):
    print(f"epoch {epoch}/{cfg.epochs} loss {cfg.optim.lr:.4f}")
print(f"val_loss: {cfg.optim.lr / cfg.batch_size:.6f}")
"""
NESTED = """
import logging
PEAK = {"H100": 989e12, "A100": 312e12}
config = {
    "model": {"width": 128, "activation": "relu"},
    "optim": dict(lr=3e-4, betas=(0.9, 0.95)),
    "seed": 1,
}
logging.info("done: validation loss %.5f after %d steps", 0.5, 3)
"""
CLICK = """
import click
@click.command()
@click.option("--lr", default=0.1, help="rate")
@click.option("--nesterov/--no-nesterov", default=True)
@click.option("--center/--raw", default=False)
@click.option("--save/--no-save", default=True)
@click.option("--optimizer", type=click.Choice(["sgd", "adam"]), default="sgd")
@click.option("--port", default=8080)
@click.option("--epochs", default=3)
def main(lr, **others):
    for epoch in range(3):
        click.echo(f"Epoch {epoch + 1}: train_loss=0.3, test_acc={lr:.2%}")
main()
"""
ARGPARSE = """
import argparse
def arguments():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    train = commands.add_parser("train")
    train.add_argument("--lr", type=float, default=0.1)
    train.add_argument("--weight-decay", type=float, default=0)
    train.add_argument("--opt", default="adam")
    train.add_argument("--amp", type=bool, default=False)
    train.add_argument("--warmup-epochs", type=int, default=2)
    train.add_argument("--scale", default=0.5)
    train.add_argument("--out", required=True)
    train.add_argument("--whiten", action=argparse.BooleanOptionalAction, default=False)
    train.add_argument("--wide", action=argparse.BooleanOptionalAction)
    train.add_argument("--plain", action="store_true")
    other = commands.add_parser("evaluate")
    other.add_argument("--lr", type=float, default=0.3)
    other.add_argument("--margin", type=float, default=0.3)
    return parser.parse_args()
args = arguments()
if args.opt == "sgd" or args.opt in ("adam", "lion"):
    print(f"Test accuracy: {args.lr:.3f}")
"""
YAML = """\
# the model
model:
  hidden_dim: 64     # width
  dropout: 0
optim:
  lr: 1e-3
callbacks:
  logger: {batch_freq: 7}
train:
  batch_size: 32
  batch_size: 64
  epochs: 5
shared: &shared
  num_layers: 2
more: *shared
"""
LOADS = """
import json, yaml
from pathlib import Path
config = yaml.safe_load(Path("conf/model.yaml").read_text())
rows = open("texts/rows.csv").read()
with open("words.txt") as file:
    words = file.read()
print(json.dumps({"val_acc": 0.5, "loss": config["optim"]["lr"]}))
"""
ENV = """
import os
RATE = float(os.environ.get("LR", "3e-4"))
WIDTH = int(os.getenv("HIDDEN_DIM", 64))
TOKEN = os.environ["TOKEN"]
print("loss", RATE * WIDTH)
"""
DOTENV = """
import os
from dotenv import load_dotenv
from pydantic_settings import BaseSettings, SettingsConfigDict
load_dotenv()
RATE = float(os.environ["LR"])
MOMENTUM = float(os.getenv("MOMENTUM", "0.9"))
class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APP_", env_file=".env")
    weight_decay: float = 0
    dropout: float = 0.1
print("loss", RATE * MOMENTUM * Settings(dropout=0.2).weight_decay)
"""
SKLEARN = """
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
model = RandomForestClassifier(n_estimators=100, max_depth=5, random_state=0)
score = cross_val_score(model, [], [])
print("CV accuracy: %0.3f (+/- %0.3f)" % (score.mean(), score.std()))
"""
TYRO = """
import tyro
class Args:
    num_steps: int = 128
    '''steps in each environment per rollout'''
    num_iters: int = 9
    blur: float = 0.0
    '''of an image (probability)'''
    dot: float = 0.0
args = tyro.cli(Args)
print("loss", args.blur)
"""
HYDRA = """
import hydra
@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(cfg):
    print(f"loss: {cfg.train.lr}")
main()
"""
KINDS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str], tuple[str, ...], tuple[str, ...]]] = {
    "dataclass": (
        {"train.py": DATACLASS},
        {
            "lr": '{ field = "Optim.lr", choices = [0.025, ',
            "weight_decay": '{ field = "Optim.weight_decay", choices = [0.0, 0.01, 0.03, 0.1, 0.3] }',
            "batch_size": '{ field = "Config.batch_size", choices = [8, 16, 32, 64] }',
            "depth": '{ entry = "model.depth", choices = [2, 3, 4, 5, 6] }',
        },
        ("Config.epochs", "fields of a class that nothing here uses\n#     Unused.gain", "is used\n#     Model.depth"),
        ('metric = "val_loss"', "(?P<step>{number})\\s*/\\s*(?P<total>{number}).*?loss\\s*(?P<loss>{number})"),
    ),
    "nested": (
        {"train.py": NESTED},
        {
            "width": '{ entry = "config.model.width", choices = [32, 64, 128, 256] }',
            "lr": '{ entry = "config.optim.lr", choices = [8e-5, ',
            "betas": '{ entry = "config.optim.betas", choices = [[0.8, 0.95], ',
        },
        ("config.seed", '# activation = { entry = "config.model.activation", choices = ["relu"] }'),
        ("regex = 'done: validation loss\\s*{number}'", "progress = false"),
    ),
    "click": (
        {"train.py": CLICK},
        {
            "lr": '{ flag = "--lr", choices = [0.025, ',
            "nesterov": '{ flag = "--nesterov", choices = [false, true] }',
            "center": '{ flag = "--center", choices = [false, true] }',
            "optimizer": '{ flag = "--optimizer", choices = ["sgd", "adam"] }',
        },
        ("--epochs", "--save, --port"),
        ("name = \"test_acc\", regex = 'test_acc=\\s*{number}'", 'direction = "maximize"', "Epoch\\s*(?P<step>{number})"),
    ),
    "argparse": (
        {"train.py": ARGPARSE},
        {
            "lr": '{ flag = "--lr", choices = [0.025, 0.05, 0.08, 0.1, 0.15, 0.2, 0.4], baseline = 0.1 }',
            "weight_decay": '{ flag = "--weight-decay", choices = [0.0, 0.01, 0.03, 0.1, 0.3] }',
            "opt": '{ flag = "--opt", choices = ["sgd", "adam", "lion"] }',
            "warmup_epochs": '{ flag = "--warmup-epochs", choices = [1, 2, 3, 4] }',
            "whiten": '{ flag = "--whiten", choices = [false, true] }',
        },
        (
            "neither is meant now\n#     --wide", "do not say what they set\n#     --plain",
            "BooleanOptionalAction in the script\n#     --amp", "in the script\n#     --scale", "of the script\n#     --margin",
        ),
        ('command = ["{python}", "train.py", "train", "--out", "x"]', 'metric = { name = "test_accuracy"'),
    ),
    "yaml": (
        {"main.py": LOADS, "conf/model.yaml": YAML, "texts/rows.csv": "1,2", "words.txt": "some", "conf/other.yaml": "lr: 1"},
        {
            "hidden_dim": '{ key = "conf/model.yaml:model.hidden_dim", choices = [16, 32, 64, 128] }',
            "dropout": '{ key = "conf/model.yaml:model.dropout", choices = [0.0, 0.05, 0.1, 0.2, 0.3] }',
            "lr": '{ key = "conf/model.yaml:optim.lr", choices = [2.5e-4, ',
        },
        ("leave one of each\n#     conf/model.yaml:train.batch_size", "conf/model.yaml:train.epochs", "is repeated by an alias",
            "change it\n#     conf/model.yaml:callbacks.logger.batch_freq",
        ),
        ('script = "main.py"', 'files = ["*.py", "conf/model.yaml", "texts/rows.csv", "words.txt"]', 'name = "val_acc"'),
    ),
    "environment": (
        {"train.py": ENV},
        {"LR": '{ env = "LR", choices = [8e-5, ', "HIDDEN_DIM": '{ env = "HIDDEN_DIM", choices = [16, 32, 64, 128] }'},
        (),
        ("# it reads TOKEN from the environment",),
    ),
    "dotenv": (
        {"train.py": DOTENV, ".env": "# mine\nexport LR = 3e-4  # high\nMOMENTUM='0.5'\nHOME_OF=$HOME\n"},
        {
            "LR": '{ env = "LR", choices = [8e-5, ',
            "MOMENTUM": '{ env = "MOMENTUM", choices = [0.0, 0.5, 0.7, 0.8, 0.9] }',
            "dropout": '{ argument = "Settings.dropout", choices = [0.05, 0.1, 0.2, 0.3, 0.4] }',
            "APP_WEIGHT_DECAY": '{ env = "APP_WEIGHT_DECAY", choices = [0.0, 0.01, 0.03, 0.1, 0.3] }',
        },
        ("given another value where the class is used\n#     APP_DROPOUT",),
        ('files = ["*.py", ".env"]',),
    ),
    "tyro": (
        {"train.py": TYRO},
        {
            "num_steps": '{ flag = "--num-steps", choices = [32, 64, 128, 256] }  # now 128; steps in each environment per rollout',
            "blur": '{ flag = "--blur", choices = [0.0, 0.05, 0.1, 0.2, 0.3] }',
        },
        ("#     --num-iters", "#     --dot"),
        (),
    ),
    "sklearn": (
        {"train.py": SKLEARN},
        {
            "n_estimators": '{ entry = "model.n_estimators", choices = [25, 50, 100, 200] }',
            "max_depth": '{ entry = "model.max_depth", choices = [3, 4, 5, 6, 7] }',
        },
        (),
        ("regex = 'CV accuracy:\\s*{number}'", 'direction = "maximize"'),
    ),
    "hydra": (
        {
            "train.py": HYDRA,
            "conf/config.yaml": "defaults:\n  - _self_\n  - model: small\ntrain:\n  lr: 0.1\n  epochs: 3\n",
            "conf/model/small.yaml": "hidden_dim: 64\n_target_: x.Y\n",
            "conf/model/large.yaml": "hidden_dim: 256\n",
        },
        {
            "lr": '{ override = "train.lr", choices = [0.025, ',
            "hidden_dim": '{ override = "model.hidden_dim", choices = [16, 32, 64, 128] }',
        },
        ("train.epochs",),
        ('files = ["*.py", "conf/**/*.yaml"]', 'metric = "loss"'),
    ),
    **CONFIG_KINDS,
    **FUNCTION_KINDS,
}  # fmt: skip
