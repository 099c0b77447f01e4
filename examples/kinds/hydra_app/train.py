"""A least-squares fit; its settings are Hydra's: a config, and a group for the optimizer."""

import logging

import hydra
import numpy as np
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    rng = np.random.default_rng(cfg.seed)
    x = rng.normal(size=(300, 10))
    y = x @ rng.normal(size=10) + 0.5 * rng.normal(size=300)
    w = np.zeros(10)
    velocity = np.zeros(10)
    for step in range(cfg.steps):
        rows = rng.integers(0, 200, size=cfg.batch_size)
        gradient = x[rows].T @ (x[rows] @ w - y[rows]) / len(rows) + cfg.optimizer.weight_decay * w
        velocity = cfg.optimizer.momentum * velocity + gradient
        w = w - cfg.optimizer.lr * velocity
        if step % 10 == 0:
            log.info("step %d/%d loss %.4f", step, cfg.steps, np.mean((x[:200] @ w - y[:200]) ** 2))
    log.info("val_loss: %.6f", np.mean((x[200:] @ w - y[200:]) ** 2))


if __name__ == "__main__":
    main()
