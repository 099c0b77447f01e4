"""Scripts whose settings stand in functions, as tests/init_kinds.py has those of other kinds."""

from __future__ import annotations

IN_FUNCTIONS = """
import torch
from parts import build
def get_config():
    return {"batch_size": 16, "d_model": 512, "lr": 10**-4, "seq_len": 350, "seed": 1}
def fit(model, config, weight_decay=1e-8, gradient_clipping=1.0, alpha=0.5):
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9, weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1, verbose=2)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    hidden = torch.cat([model], dim=2)
    print(f"val_loss: {torch.softmax(hidden, dim=3, temperature=7):.4f}")
def evaluate(model):
    batch_size = 64
    return model.generate(temperature=0.7, batch_size=batch_size)
def main():
    model = build(Decoder(dim=512, depth=6, eps=1e-5), heads=8, dropout=0.2)
    head = 3
    warmup_steps = 100
    accum = 1
    accum = 2
    aux_rate, lr_smooth = 0.2, 0.3
    ema_decay = 0.99  # only for nicer logs
    for epoch in range(3):
        lr_now = 0.3
    loaders = DataLoader(model, batch_size=32), DataLoader(model, batch_size=64)
    val_loader = DataLoader(model, batch_size=128)
    fit(model, get_config())
if __name__ == "__main__":
    hidden_size = 64
    main()
"""
PARTS = """
from torch.optim import AdamW
from torch import nn
def build(module, heads, dropout):
    cfg = {"num_blocks": 6}
    norm = nn.LayerNorm(8, eps=1e-6)
    return AdamW(module, betas=(0.9, 0.95), weight_decay=0.01), nn.Dropout(p=0.1), cfg
def named(kind, module):
    if kind == "sgd":
        return Adam(module, weight_decay=0.02)
    else:
        return Adagrad(module, weight_decay=0.03)
"""
TWO_OPTIMIZERS = """
import argparse, torch
from helpers import show
from tinygrad.helpers import getenv
parser = argparse.ArgumentParser()
parser.add_argument("--blur", type=float, default=0.0, help="image blur (probability)")
parser.add_argument("--batch-size-per-gpu", type=int, default=16)
parser.add_argument("--min-lr", type=float, default=0.0)
args = parser.parse_args()
class Trainer:
    def __init__(self):
        self.generator_opt = torch.optim.Adam(self.generator, lr=2e-4, betas=(0.5, 0.999))
        self.critic_opt = torch.optim.Adam(self.critic, lr=1e-4)
        defaults = dict(lr=0.02, momentum=0.95)
        self.muon = Muon(self.rest, defaults=defaults)
sizes = {"small": dict(depth=4, width=64), "large": dict(depth=8, width=128)}
cfg = sizes[args.size]
IMAGE_MEAN, other = 0.13, 1
DATA_MEAN = 0.13
DATA_STD = 0.3
INIT_STD = 0.02
rate = getenv("RATE", 0.5)
stages = [Stage(lr_mul=1.0, batch_size=2 * 32), Stage(lr_mul=1.5, batch_size=4 * 32)]
print(f"loss: {Trainer()}")
show(1)
"""
HELPERS = """
import argparse
def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--conf-threshold", type=float, default=0.25)
    parser.add_argument("--weights", required=True)
    return parser.parse_args()
def show(what): print(what)
if __name__ == "__main__":
    show(options())
"""
IN_ATTRIBUTES = """\
class Config:
    def __init__(self):
        self.model, self.dropout = 'cnn', 0.5
        self.num_epochs, self.batch_size = 20, 128
        self.use_bn = True
class Agent:
    def __init__(self, size):
        self.size = size
        self.gamma = 0.95
        self.epsilon = 1.0
        self.epsilon_decay = 0.995
        self.counter = 5
    def replay(self):
        self.epsilon *= self.epsilon_decay
class Unused:
    def __init__(self):
        self.momentum = 0.5
cfg, agent = Config(), Agent(4)
for e in range(3):
    print('episode: {}/{}, score: {}, e: {:.2}'.format(e, 3, agent.gamma + cfg.dropout, agent.epsilon))
"""
FUNCTION_KINDS = {
    "functions": (
        {"train.py": IN_FUNCTIONS, "parts.py": PARTS},
        {
            "batch_size": '{ entry = "get_config.return.batch_size", choices = [4, 8, 16, 32] }',
            "d_model": '{ entry = "get_config.return.d_model", choices = [128, 256, 512, 1024] }',
            "lr": '{ entry = "get_config.return.lr", choices = [2.5e-5, ',
            "momentum": '{ argument = "fit.SGD.momentum", choices = [0.7, 0.8, 0.9, 0.95, 0.98] }',
            "step_size": '{ argument = "fit.StepLR.step_size", choices = [16, 20, 30, 40, 60] }',
            "gamma": '{ argument = "fit.StepLR.gamma", choices = [0.05, 0.1, 0.2, 0.3, 0.4] }',
            "max_norm": '{ argument = "fit.clip_grad_norm_.1", choices = [0.25, 0.4, 0.5, 0.8, 1.0] }',
            "weight_decay": '{ local = "fit.weight_decay", choices = [0.0, 5e-9, 1e-8, 2e-8, 4e-8] }',
            "gradient_clipping": '{ local = "fit.gradient_clipping", choices = [0.5, 0.8, 1.0, 1.5, 2.0] }',
            "dim": '{ argument = "main.Decoder.dim", choices = [128, 256, 512, 1024] }',
            "depth": '{ argument = "main.Decoder.depth", choices = [4, 5, 6, 7, 8] }',
            "heads": '{ argument = "main.build.heads", choices = [2, 4, 8, 16, 32] }',
            "dropout": '{ argument = "main.build.dropout", choices = [0.05, 0.1, 0.2, 0.3, 0.4] }',
            "warmup_steps": '{ local = "main.warmup_steps", choices = [25, 50, 100, 200] }',
            "lr_smooth": '{ local = "main.lr_smooth"',
            "hidden_size": '{ local = "hidden_size", choices = [16, 32, 64, 128] }',
            "betas": '{ argument = "parts.py:build.AdamW.betas", choices = [[0.8, 0.95], ',
            "adamw_weight_decay": '{ argument = "parts.py:build.AdamW.weight_decay", choices = [0.0, 0.005, ',
        },
        (
            "get_config.return.seed", "numbers of functions, whose names say too little: one can vary by { local = \"PLACE\" }\n"
            "#     evaluate.batch_size, main.head, main.aux_rate, main.ema_decay",
            "given more than one value, or changed while the script runs\n#     main.accum",
            "arguments given to several calls of one name: call their results otherwise, or give each a constant, to vary it\n"
            "#     main.DataLoader.batch_size\n",
            "what the metric is measured on\n#     get_config.return.seq_len\n",
            "where another choice is made than the present one\n"
            "#     parts.py:named.Adam.weight_decay, parts.py:named.Adagrad.weight_decay",
            "by { argument = \"PLACE\" }\n"
            "#     evaluate.generate.temperature, main.Decoder.eps, main.val_loader.batch_size, fit.cat.dim\n",
        ),
        ('metric = "val_loss"',),
    ),
    "attributes": (
        {"train.py": IN_ATTRIBUTES},
        {
            "dropout": '{ field = "Config.dropout", choices = [0.3, ',
            "batch_size": '{ field = "Config.batch_size", choices = [32, ',
            "gamma": '{ field = "Agent.gamma", choices = [0.8, ',
            "epsilon_decay": '{ field = "Agent.epsilon_decay", choices = [0.98, ',
        },
        ("which model and task it is about\n#     Config.model", "#     Config.num_epochs", "#     Config.use_bn"),
        ('metric = { name = "score"',),
    ),
    "two optimizers": (
        {"train.py": TWO_OPTIMIZERS, "helpers.py": HELPERS},
        {
            "blur": '{ flag = "--blur", choices = [0.0, 0.05, 0.1, 0.2, 0.3] }',
            "batch_size_per_gpu": '{ flag = "--batch-size-per-gpu", choices = [4, 8, 16, 32] }',
            "min_lr": '{ flag = "--min-lr", choices = [0.0, 1e-6, 1e-5, 1e-4] }',
            "RATE": '{ env = "RATE", choices = [0.25, 0.4, 0.5, 0.8, 1.0] }',
            "INIT_STD": "[0.01, 0.015, 0.02, 0.03, 0.04]",
            "lr_mul": '{ entry = "stages.0.lr_mul", choices = [0.25, ',
            "batch_size": '{ entry = "stages.0.batch_size", choices = [16, 32, 64, 128] }',
            "stages_1_lr_mul": '{ entry = "stages.1.lr_mul", choices = [0.4, ',
            "stages_1_batch_size": '{ entry = "stages.1.batch_size", choices = [32, 64, 128, 256] }',
            "lr": '{ entry = "Trainer.__init__.defaults.lr", choices = [0.005, ',
            "momentum": '{ entry = "Trainer.__init__.defaults.momentum", choices = [0.8, 0.9, 0.95, 0.98, 0.99] }',
            "generator_opt_lr": '{ argument = "Trainer.__init__.generator_opt.lr", choices = [5e-5, ',
            "betas": '{ argument = "Trainer.__init__.Adam.betas", choices = [[0.0, 0.999], ',
            "critic_opt_lr": '{ argument = "Trainer.__init__.critic_opt.lr", choices = [2.5e-5, ',
        },
        (
            "than the present one\n#     sizes.small.depth, sizes.small.width, sizes.large.depth, sizes.large.width\n",
            "what the metric is measured on\n#     IMAGE_MEAN, DATA_MEAN, DATA_STD\n",
        ),
        ('metric = "loss"',),
    ),
}  # fmt: skip
