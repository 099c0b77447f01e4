"""A script of each kind, the parameters that `optimize init` finds in it, what it leaves, and what workload.toml says."""

from __future__ import annotations

from collections.abc import Mapping

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
HYDRA = """
import hydra
@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(cfg):
    print(f"loss: {cfg.train.lr}")
main()
"""
CONFIG_FLAGS = """
from absl import app, flags
from ml_collections import config_flags
FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "for results")
config_flags.DEFINE_config_file("config", None, "the settings")
flags.mark_flags_as_required(["config", "workdir"])
def main(argv):
    config = FLAGS.config
    config.batch_size = 2 * config.batch_size
    config.width = 8
    print(f"loss: {config.optim.lr}")
app.run(main)
"""
GET_CONFIG = """
from configs.base import base
def get_config():
    config = base()
    config.optim.lr = 3e-4
    config.hidden_dims = (256, 256)
    config.sizes = [1, 2]
    config.nesterov = True
    config.width = 4
    return config
"""
BASE_CONFIG = """
import ml_collections
def base():
    config = ml_collections.ConfigDict()
    config.optim = optim = ml_collections.ConfigDict({"weight_decay": 0.1})
    optim.lr = 1e-3
    config.batch_size = 32
    config.num_epochs = 10
    return config
"""
CFG_NODE = """
import sys
from parts import Model, CfgNode as CN
def get_config():
    C = CN()
    C.model = Model.get_default_config()
    C.trainer = CN()
    C.trainer.learning_rate = 5e-4  # high, since it is small
    C.trainer.betas = (0.9, 0.95)
    return C
config = get_config()
config.merge_from_args(sys.argv[1:])
config.model.vocab_size = 65
print(f"loss: {config.trainer.learning_rate}")
"""
CFG_PARTS = """
class CfgNode: ...
class Model:
    @staticmethod
    def get_default_config():
        C = CfgNode()
        C.embd_pdrop = 0.1
        C.vocab_size = None
        return C
"""
YACS = """
import argparse
from config import cfg
from tools import setup
parser = argparse.ArgumentParser()
parser.add_argument("--config-file", default="")
parser.add_argument("opts", nargs=argparse.REMAINDER)
args = parser.parse_args()
if args.config_file:
    cfg.merge_from_file(args.config_file)
cfg.merge_from_list(args.opts)
cfg.MODEL.WIDTH = 64
cfg.freeze()
print("loss:", cfg.SOLVER.BASE_LR)
"""
YACS_DEFAULTS = """
from yacs.config import CfgNode as CN
_C = CN()
_C.MODEL = CN()
_C.MODEL.WIDTH = 32
_C.MODEL.TYPE = "net"
_C.MODEL.DROPOUT = 0.1
_C.MODEL.NET = CN()
_C.MODEL.NET.MLP_RATIO = 4.0
_C.MODEL.NET_V2 = CN(MLP_RATIO=4.0)
_C.SOLVER = CN()
_C.SOLVER.BASE_LR = 0.01
_C.SOLVER.GAMMA = 0.1
_C.SOLVER.STEPS = [30, 55]
_C.OUTPUT_DIR = ""
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
        ("leave one of each\n#     conf/model.yaml:train.batch_size", "conf/model.yaml:train.epochs", "is repeated by an alias"),
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
            "APP_WEIGHT_DECAY": '{ env = "APP_WEIGHT_DECAY", choices = [0.0, 0.01, 0.03, 0.1, 0.3] }',
        },
        ("given another value where the class is used\n#     APP_DROPOUT",),
        ('files = ["*.py", ".env"]',),
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
    "ml_collections": (
        {"train.py": CONFIG_FLAGS, "configs/default.py": GET_CONFIG, "configs/base.py": BASE_CONFIG},
        {
            "lr": '{ flag = "--config.optim.lr", choices = [8e-5, ',
            "weight_decay": '{ flag = "--config.optim.weight_decay", choices = [0.0, 0.05, 0.1, 0.2, 0.4] }',
            "batch_size": '{ flag = "--config.batch_size", choices = [8, 16, 32, 64] }',
            "hidden_dims": '{ flag = "--config.hidden_dims", choices = [[128, 128], [256, 256], [512, 512]] }',
            "nesterov": '{ flag = "--config.nesterov", choices = [false, true] }',
        },
        ("--config.num_epochs", "whatever the flag says\n#     --config.width", "--config, --config.sizes"),
        (
            'command = ["{python}", "train.py", "--config=configs/default.py", "--workdir=workdir"]',
            'files = ["*.py", "configs/**/*.py"]', "# its configuration is configs/default.py; another:",
        ),
    ),
    "cfg_node": (
        {"train.py": CFG_NODE, "parts.py": CFG_PARTS},
        {
            "learning_rate": '{ flag = "--trainer.learning_rate", choices = [1.2e-4, ',
            "betas": '{ flag = "--trainer.betas", choices = [[0.8, 0.95], ',
            "embd_pdrop": '{ flag = "--model.embd_pdrop", choices = [0.0, 0.05, 0.1, 0.2, 0.3] }',
        },
        ("whatever the flag says\n#     --model.vocab_size",),
        ('metric = "loss"',),
    ),
    "yacs": (
        {
            "train.py": YACS, "config/__init__.py": "from .defaults import _C as cfg\n", "config/defaults.py": YACS_DEFAULTS,
            "tools.py": "def setup(): pass\n",
        },
        {
            "DROPOUT": '{ override = "MODEL.DROPOUT", choices = [0.0, 0.05, 0.1, 0.2, 0.3] }',
            "MLP_RATIO": '{ override = "MODEL.NET.MLP_RATIO", choices = [2.0, ',
            "BASE_LR": '{ override = "SOLVER.BASE_LR", choices = [0.0025, ',
            "GAMMA": '{ override = "SOLVER.GAMMA", choices = [0.05, 0.1, 0.2, 0.3, 0.4] }',
        },
        (
            "whatever the flag says\n#     MODEL.WIDTH", "is made\n#     MODEL.NET_V2.MLP_RATIO",
            "lists, which are not varied\n#     SOLVER.STEPS",
        ),
        ('files = ["*.py", "config/**/*.py"]',),
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
}  # fmt: skip
