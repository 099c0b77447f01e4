"""Stands in for the package `kernels`, which fetches attention from a hub: FlashAttention as torch ships it, or plain on a CPU.

Our own script has the same kernel with ATTENTION = "varlen".
"""

from __future__ import annotations

from types import SimpleNamespace

import torch


def get_kernel(name: str) -> SimpleNamespace:
    """Return what has FlashAttention's function where the caller looks for it, whatever kernel is asked for."""
    if torch.cuda.is_available():
        from our_train import activate_flash_attention

        print(f"attention: FlashAttention {activate_flash_attention(torch.cuda.get_device_capability()[0])}")
    return SimpleNamespace(flash_attn_interface=SimpleNamespace(flash_attn_func=flash_attn_func))


def flash_attn_func(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, window_size: tuple[int, int]
) -> torch.Tensor:
    """Return causal attention of (B, T, heads, head_dim), to `window_size[0]` tokens before each query."""
    rows, context = q.shape[:2]
    reach = (-1 if window_size[0] < 0 or window_size[0] >= context - 1 else window_size[0], 0)
    if not q.is_cuda:
        return on_a_cpu(q, k, v, reach[0])
    from torch.nn.attention.varlen import varlen_attn

    starts = torch.arange(0, rows * context + 1, context, dtype=torch.int32, device=q.device)
    flat = (x.to(v.dtype).flatten(0, 1) for x in (q, k, v))
    return varlen_attn(*flat, starts, starts, context, context, window_size=reach).unflatten(0, (rows, context))


def on_a_cpu(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, reach: int) -> torch.Tensor:
    position = torch.arange(q.size(1))
    distance = position[:, None] - position
    seen = (distance >= 0) & ((distance <= reach) | torch.tensor(reach < 0))
    q, k, v = (x.to(v.dtype).transpose(1, 2) for x in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2)
