"""A bigram model of a text; its settings are small names of the module, and a configurator may replace them, as in nanoGPT."""

import numpy as np

# -----------------------------------------------------------------------------
# default config values
out_dir = "out"
eval_interval = 50
log_interval = 10
wandb_log = False  # disabled by default
batch_size = 32
learning_rate = 1.0  # max learning rate
max_iters = 300
weight_decay = 1e-4
grad_clip = 0.0  # clip gradients at this value, or disable if == 0.0
decay_lr = True
min_lr = 0.1
seed_offset = 0
# -----------------------------------------------------------------------------

text = ("the quick brown fox jumps over the lazy dog and runs away from the bear. " * 40).encode()
vocab = sorted(set(text))
ids = np.array([vocab.index(c) for c in text])
train, val = ids[:2400], ids[2400:]
rng = np.random.default_rng(1337 + seed_offset)
w = np.zeros((len(vocab), len(vocab)))


def get_loss(data):
    logits = w[data[:-1]]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return float(-np.log(p[np.arange(len(data) - 1), data[1:]] + 1e-9).mean())


for iter_num in range(max_iters + 1):
    lr = min_lr + (learning_rate - min_lr) * (1 - iter_num / max_iters) if decay_lr else learning_rate
    if iter_num % eval_interval == 0:
        print(f"step {iter_num}: train loss {get_loss(train):.4f}, val loss {get_loss(val):.4f}", flush=True)
    rows = rng.integers(0, len(train) - 1, size=batch_size)
    p = np.exp(w[train[rows]])
    p /= p.sum(1, keepdims=True)
    p[np.arange(batch_size), train[rows + 1]] -= 1
    grad = np.zeros_like(w)
    np.add.at(grad, train[rows], p / batch_size)
    if grad_clip != 0.0:
        grad *= min(1.0, grad_clip / (np.linalg.norm(grad) + 1e-9))
    w -= lr * (grad + weight_decay * w) * 10
    if iter_num % log_interval == 0:
        print(f"iter {iter_num}: loss {get_loss(train):.4f}", flush=True)
