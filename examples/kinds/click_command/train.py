"""Logistic regression; its settings are options of click."""

import click
import numpy as np


@click.command()
@click.option("--lr", default=0.1, show_default=True, help="learning rate")
@click.option("--l2", default=0.01, help="weight decay")
@click.option("--steps", default=100)
@click.option("--standardize/--no-standardize", default=False)
@click.option("--seed", default=0)
def main(lr, l2, steps, standardize, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 5)) * np.array([1, 5, 0.2, 1, 10])
    y = (x @ np.array([1, -0.2, 4, 0, 0.1]) + rng.normal(size=300) > 0).astype(float)
    if standardize:
        x = (x - x.mean(0)) / x.std(0)
    w = np.zeros(5)
    for step in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x[:200] @ w, -30, 30)))
        w -= lr * (x[:200].T @ (p - y[:200]) / 200 + l2 * w)
        if step % 10 == 0:
            click.echo(f"step {step}/{steps} loss {np.mean((p - y[:200]) ** 2):.4f}")
    accuracy = np.mean((x[200:] @ w > 0) == y[200:])
    click.echo(f"accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
