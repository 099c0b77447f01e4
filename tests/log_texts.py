"""What scripts print, in pieces that are put together: progress, noise, caught errors, and last words whose meaning is known."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

CASES = json.loads((Path(__file__).parent / "data" / "causes.json").read_text("utf-8"))
TRACEBACK = 'Traceback (most recent call last):\n  File "/w/files/train.py", line 3, in <module>\n    step()\n'

PROGRESS = st.builds(
    "step {:05d} ({:.1f}%) | loss: {:.6f} | dt: 300ms | tok/sec: 1,234 | remaining: {}s{}{}".format,
    st.integers(0, 99_999),
    st.floats(0, 100),
    st.floats(0, 20),
    st.integers(0, 300),
    st.sampled_from(["", "    "]),
    st.sampled_from(["\n", "\r", "\r\n"]),
) | st.sampled_from(
    ["step 30/120 | train_loss 2.5\n", "Step: 3 | loss: 1e-3\n", "step 5 (5%)\n", "[rank0]: step 7 (7%)\n"]
)

# Lines that name no cause: banners, warnings, bars, colours, and what libraries say when they go.
NOISE_LINES = (
    "vocab size: 8,192", "CUDA version 12.4, driver 550.54", "peak memory: 12.3 GB of 80 GB",
    "compiling the model ...", "gradient norm: 1.25", "\x1b[32mINFO\x1b[0m loading shard 3",
    "  3%|▎         | 3/100 [00:01<00:40,  2.41it/s]", "wandb: Run data is saved locally", "é€😀 \t done",
    "train.py:3: UserWarning: this is slow",
    "[rank0]:[W1130 12:00:00 ProcessGroupNCCL.cpp:1250] Warning: process group has NOT been destroyed",
    "model: head_dim=64", "lr: 0.1", "hint: on out of memory, lower DEVICE_BATCH_SIZE", "note: nothing is nan here",
    "epoch 3 of 7", "bye", "Aborted",
    "E1130 elastic/multiprocessing/api.py:869] failed (exitcode: 1) local_rank: 0 (pid: 47) of binary: /usr/bin/python",
    "-----", "infer: 3 info: 5",
)  # fmt: skip
NOISE = st.builds("{}{}".format, st.sampled_from(NOISE_LINES), st.sampled_from(["\n", "\n\n", "\r\n", "\r"]))


def lines_of(case: dict[str, str]) -> list[str]:
    """The last words of a case: what its log says behind the progress."""
    lines = str(case["log"]).splitlines()
    last = max((i for i, line in enumerate(lines) if line.startswith("step ")), default=-1)
    return lines[last + 1 :]


LAST_WORDS = st.sampled_from(CASES).map(lambda case: "\n".join(lines_of(case)) + "\n")
CAUGHT = st.sampled_from(CASES).map(
    lambda case: f"{TRACEBACK}{lines_of(case)[-1].strip()}\n" if lines_of(case) else TRACEBACK
)
