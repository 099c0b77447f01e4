"""A small classifier in numpy; its settings are flags of argparse."""

import argparse

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.02, help="learning rate")
parser.add_argument("--momentum", type=float, default=0.0)
parser.add_argument("--hidden-size", type=int, default=16)
parser.add_argument("--weight-decay", type=float, default=1e-3)
parser.add_argument("--nesterov", action="store_true")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--log-every", type=int, default=5)
args = parser.parse_args()

rng = np.random.default_rng(0)
x = rng.normal(size=(512, 8))
y = (np.sin(x[:, :1] * 2) + x[:, 1:2] * x[:, 2:3] > 0).astype(float)
x_val, y_val, x, y = x[:128], y[:128], x[128:], y[128:]

rng = np.random.default_rng(args.seed)
w1 = rng.normal(size=(8, args.hidden_size)) / 8**0.5
w2 = rng.normal(size=(args.hidden_size, 1)) / args.hidden_size**0.5
v1, v2 = np.zeros_like(w1), np.zeros_like(w2)


def loss_of(x, y):
    p = 1 / (1 + np.exp(-np.clip(np.tanh(x @ w1) @ w2, -30, 30)))
    return float(-np.mean(y * np.log(p + 1e-9) + (1 - y) * np.log(1 - p + 1e-9)))


for epoch in range(args.epochs):
    for i in range(0, len(x), 32):
        xb, yb = x[i : i + 32], y[i : i + 32]
        h = np.tanh(xb @ w1)
        d = (1 / (1 + np.exp(-np.clip(h @ w2, -30, 30))) - yb) / len(xb)
        g2 = h.T @ d + args.weight_decay * w2
        g1 = xb.T @ (d @ w2.T * (1 - h**2)) + args.weight_decay * w1
        v1, v2 = args.momentum * v1 + g1, args.momentum * v2 + g2
        w1 = w1 - args.lr * (g1 + args.momentum * v1 if args.nesterov else v1) * 10
        w2 = w2 - args.lr * (g2 + args.momentum * v2 if args.nesterov else v2) * 10
    if epoch % args.log_every == 0:
        print(f"epoch {epoch + 1}/{args.epochs} train_loss={loss_of(x, y):.4f}", flush=True)
print(f"val_loss: {loss_of(x_val, y_val):.6f}")
