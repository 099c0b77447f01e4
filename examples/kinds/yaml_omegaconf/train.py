"""A moving average that learns; its settings are in a YAML file, read by OmegaConf, and may be overridden."""

import numpy as np
from omegaconf import OmegaConf

cfg = OmegaConf.merge(OmegaConf.load("conf/config.yaml"), OmegaConf.from_cli())

rng = np.random.default_rng(cfg.seed)
signal = np.sin(np.arange(600) / 7) + 0.2 * rng.normal(size=600)
width = cfg.model.width
w = np.zeros(width)
for epoch in range(cfg.train.epochs):
    losses = []
    for t in range(width, 500):
        window = signal[t - width : t]
        error = window @ w - signal[t]
        w = w - cfg.train.lr * (error * window + cfg.train.decay * w)
        losses.append(error**2)
    print(f"epoch={epoch} loss={np.mean(losses):.5f}", flush=True)
errors = [(signal[t - width : t] @ w - signal[t]) ** 2 for t in range(500, 600)]
print({"val_mse": round(float(np.mean(errors)), 6)})
