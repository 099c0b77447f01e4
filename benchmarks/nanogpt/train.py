"""The settings of nanoGPT's train.py that `space.toml` varies, as its README's command for a CPU has them.

It stands in for the script where recorded trainings are played back. `real_tasks.py` trains with nanoGPT's own.
"""

learning_rate = 1e-3
min_lr = 1e-4
beta1 = 0.9
beta2 = 0.99
weight_decay = 0.1
grad_clip = 1.0
warmup_iters = 100
dropout = 0.0
bias = False
n_head = 4

raise SystemExit("This is a stand-in for nanoGPT's train.py: it trains nothing.")
