"""A linear model; its settings are a dataclass made once, and it prints `step:10/100 val_loss:3.2`, as in modded-nanogpt."""

import time
from dataclasses import dataclass

import numpy as np


@dataclass
class Hyperparameters:
    # data
    train_rows = 300
    val_rows = 100
    # optimization
    num_iterations = 120  # number of iterations to run
    cooldown_frac = 0.45  # fraction of training spent cooling down the learning rate
    muon_lr: float = 0.02
    momentum: float = 0.9
    # evaluation and logging
    val_loss_every = 40
    save_checkpoint = False


args = Hyperparameters()
rng = np.random.default_rng(0)
x = rng.normal(size=(args.train_rows + args.val_rows, 12)) * np.linspace(0.2, 2, 12)
y = x @ rng.normal(size=12)
w, m, t0 = np.zeros(12), np.zeros(12), time.time()
for step in range(args.num_iterations + 1):
    last_step = step == args.num_iterations
    if last_step or step % args.val_loss_every == 0:
        val_loss = np.mean((x[args.train_rows :] @ w - y[args.train_rows :]) ** 2)
        print(
            f"step:{step}/{args.num_iterations} val_loss:{val_loss:.4f} train_time:{1000 * (time.time() - t0):.0f}ms",
            flush=True,
        )
    if last_step:
        break
    left = 1 - step / args.num_iterations
    scale = min(1.0, left / args.cooldown_frac) if args.cooldown_frac else 1.0
    grad = x[: args.train_rows].T @ (x[: args.train_rows] @ w - y[: args.train_rows]) / args.train_rows
    m = args.momentum * m + (1 - args.momentum) * grad
    w -= args.muon_lr * scale * m
