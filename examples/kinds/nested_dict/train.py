"""A perceptron; its settings are a dictionary of dictionaries."""

import numpy as np

config = {
    "data": {"rows": 400, "noise": 0.1},
    "model": {"degree": 2, "bias": True},
    "train": {"lr": 0.05, "epochs": 20, "weight_decay": 0.0, "batch_size": 16},
    "seed": 3,
}


def features(x):
    degree = config["model"]["degree"]
    columns = [x**k for k in range(1, degree + 1)]
    return np.hstack(columns + ([np.ones((len(x), 1))] if config["model"]["bias"] else []))


rng = np.random.default_rng(config["seed"])
x = rng.uniform(-1, 1, size=(config["data"]["rows"], 3))
y = x[:, 0] - 2 * x[:, 1] ** 3 + x[:, 2] ** 2 + config["data"]["noise"] * rng.normal(size=len(x))
phi = features(x)
w = np.zeros(phi.shape[1])
train = config["train"]
for epoch in range(1, train["epochs"] + 1):
    for i in range(0, 300, train["batch_size"]):
        rows = slice(i, min(i + train["batch_size"], 300))
        error = phi[rows] @ w - y[rows]
        w -= train["lr"] * (phi[rows].T @ error / len(error) + train["weight_decay"] * w)
    print(f"Epoch {epoch}/{train['epochs']} - loss: {np.mean(error**2):.4f}", flush=True)
accuracy = 1 - np.mean((phi[300:] @ w - y[300:]) ** 2) / np.var(y[300:])
print(f"r2 = {accuracy:.6f}")
