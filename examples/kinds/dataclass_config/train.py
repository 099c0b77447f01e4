"""A ridge regression by gradient descent; its settings are the fields of a dataclass."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class OptimConfig:
    lr: float = 0.01
    momentum: float = 0.5


@dataclass
class Config:
    steps: int = 200
    batch_size: int = 32
    l2: float = 0.1  # of the weights
    features: int = 32
    seed: int = 1337
    optim: OptimConfig = field(default_factory=OptimConfig)


def main(cfg: Config) -> None:
    data = np.random.default_rng(0)
    x = data.uniform(-2, 2, size=(400, 1))
    y = np.sin(3 * x) + 0.1 * data.normal(size=x.shape)
    rng = np.random.default_rng(cfg.seed)
    phase, freq = rng.uniform(0, 6, size=cfg.features), rng.normal(size=cfg.features) * 3
    phi = np.cos(x * freq + phase) * (2 / cfg.features) ** 0.5
    w, v = np.zeros((cfg.features, 1)), np.zeros((cfg.features, 1))
    for step in range(cfg.steps):
        rows = rng.integers(0, 300, size=cfg.batch_size)
        error = phi[rows] @ w - y[rows]
        v = cfg.optim.momentum * v + phi[rows].T @ error / cfg.batch_size + cfg.l2 * w / 100
        w = w - cfg.optim.lr * v * 10
        if step % 20 == 0:
            print(f"step {step}: train loss {float(np.mean(error**2)):.4f}", flush=True)
    print(f"step {cfg.steps}: val loss {float(np.mean((phi[300:] @ w - y[300:]) ** 2)):.6f}")


if __name__ == "__main__":
    main(Config())
