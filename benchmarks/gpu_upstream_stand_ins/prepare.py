"""Stands in for autoresearch's prepare.py: the rows that our own training script reads, in the same order.

Neither tokenizing nor an evaluation is compared: rows are ready, and nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from our_prepare import FLOP_BUDGET, MAX_SEQ_LEN, TIME_BUDGET, batches, open_data  # some for our_train.py

__all__ = [
    "FLOP_BUDGET", "MAX_SEQ_LEN", "TIME_BUDGET", "Tokenizer", "batches", "evaluate_bpb", "make_dataloader", "open_data",
]  # fmt: skip


class Tokenizer:
    """As much of a tokenizer as the training script uses."""

    @classmethod
    def from_directory(cls) -> Tokenizer:
        return cls()

    def get_vocab_size(self) -> int:
        return open_data().vocab_size


def make_dataloader(
    tokenizer: Tokenizer, rows: int, context: int, split: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Yield inputs, targets (rows, context) on the GPU and the epoch, copied from pinned memory without waiting."""
    cuda = torch.cuda.is_available()
    pinned = torch.empty(rows, context + 1, dtype=torch.long, pin_memory=cuda)
    there = torch.empty(2, rows, context, dtype=torch.long, device="cuda" if cuda else "cpu")
    for block, epoch in batches(open_data().train_rows, rows):
        pinned.copy_(torch.from_numpy(block.astype("int64")))
        there[0].copy_(pinned[:, :-1], non_blocking=True)
        there[1].copy_(pinned[:, 1:], non_blocking=True)
        yield there[0], there[1], epoch


def evaluate_bpb(*_given: object) -> float:
    """Return no number: compiling the evaluation would take longer than training does here."""
    return float("nan")
