"""Of nanoGPT's form: lower-case constants, a configurator that is executed, data beside the script, val loss now and then."""

import math
import os
import pickle

from model import curve

out_dir = "out"
eval_interval = 2000
log_interval = 1
eval_iters = 200
always_save_checkpoint = True
dataset = "openwebtext"
gradient_accumulation_steps = 5 * 8
batch_size = 12
block_size = 1024
n_layer = 12
n_head = 12
n_embd = 768
dropout = 0.0
learning_rate = 6e-4
max_iters = 600000
weight_decay = 1e-1
beta2 = 0.95
grad_clip = 1.0
warmup_iters = 2000
lr_decay_iters = 600000
min_lr = 6e-5
device = "cuda"
compile = True
plain = [name for name, value in globals().items() if isinstance(value, (int, float, str))]
exec(open("configurator.py").read())
config = {name: globals()[name] for name in plain}

ddp = "RANK" in os.environ
if ddp:
    device = "cuda:0"
    gradient_accumulation_steps //= 2
assert device == "cpu", "this machine has no GPU"
assert not compile
with open(os.path.join("data", dataset, "meta.pkl"), "rb") as f:
    print(f"found vocab_size = {pickle.load(f)['vocab_size']}")

os.makedirs(out_dir, exist_ok=True)
distance = math.log(learning_rate / 2e-3) ** 2 / 10 + abs(dropout - 0.1) + abs(weight_decay - 0.1) / 10
for iter_num in range(max_iters + 1):
    train_loss, val_loss = curve(iter_num / max_iters, distance)
    if iter_num % eval_interval == 0:
        print(f"step {iter_num}: train loss {train_loss:.4f}, val loss {val_loss:.4f}")
        with open(os.path.join(out_dir, "ckpt.pt"), "wb") as f:
            pickle.dump(config, f)
    if iter_num % log_interval == 0:
        print(f"iter {iter_num}: loss {train_loss:.4f}, time 21.33ms, mfu -100.00%")
