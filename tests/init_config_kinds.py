"""Scripts whose settings stand in configuration objects that functions fill, as tests/init_kinds.py has those of other kinds."""

from __future__ import annotations

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
_C.TEST = CN(BATCH_SIZE=8)
"""
CONFIG_KINDS = {
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
            "lists, which are not varied\n#     SOLVER.STEPS", "measured on\n#     TEST.BATCH_SIZE",
        ),
        ('files = ["*.py", "config/**/*.py"]',),
    ),
}  # fmt: skip
