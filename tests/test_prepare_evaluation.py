"""val_bpb as train.py gets it: the same for every batch size, over exactly EVAL_TOKENS targets."""

from __future__ import annotations

import math
import types
from typing import Any

import pytest

from tests.texts import load, run, texts


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[types.ModuleType, Any]:
    """A dataset whose last target counts in the middle of a row: EVAL_TOKENS is no multiple of MAX_SEQ_LEN."""
    place = tmp_path_factory.mktemp("prepared")
    (place / "texts").mkdir()
    (place / "texts" / "a.txt").write_text("\n<|endoftext|>\n".join(texts(3000)))
    prepare = load(place, DATA_SOURCE=str(place / "texts"), MAX_SEQ_LEN=64, EVAL_TOKENS=1003)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        assert run(prepare, patch) == 0
        return prepare, prepare.open_data()


@pytest.mark.slow
def test_val_bpb_is_the_same_for_every_batch_size(prepared: tuple[types.ModuleType, Any]) -> None:
    import torch

    prepare, data = prepared
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(300, 32), torch.nn.Linear(32, 64), torch.nn.Tanh())
    head = torch.nn.Linear(64, 300)

    def loss(x: Any, y: Any) -> Any:
        assert (x.dtype, y.dtype, x.shape[1]) == (torch.int64, torch.int64, 64)
        logits = head(model(x).cumsum(1))
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)

    found = [prepare.evaluate_bpb(loss, data, batch_size) for batch_size in (1, 8, 12, 24)]
    assert found == pytest.approx([found[0]] * 4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 8, 12, 24, 1000])
def test_exactly_eval_tokens_targets_are_scored_and_special_tokens_are_not(
    prepared: tuple[types.ModuleType, Any], batch_size: int
) -> None:

    prepare, data = prepared
    targets = data.val_rows[:, 1:].ravel()[:1003].astype(int)
    true_bytes = data.token_bytes[targets]
    assert (true_bytes == 0).any()
    nats = (1 + targets / 512)[true_bytes > 0].sum()
    shapes = set()

    def loss(x: Any, y: Any) -> Any:
        shapes.add(tuple(y.shape))
        assert (x[:, 1:] == y[:, :-1]).all()
        return 1 + y.float() / 512

    expected = nats / (math.log(2) * true_bytes.sum())
    assert prepare.evaluate_bpb(loss, data, batch_size) == pytest.approx(expected, rel=1e-6)
    assert shapes == {(batch_size, 64)}


@pytest.mark.slow
def test_an_evaluation_is_never_cut_short(prepared: tuple[types.ModuleType, Any]) -> None:
    from dataclasses import replace

    prepare, data = prepared
    few = replace(data, val_rows=data.val_rows[:15])  # 960 targets, 1003 wanted
    with pytest.raises(prepare.PrepareError, match="EVAL_TOKENS = 1003"):
        prepare.evaluate_bpb(lambda x, y: y.float(), few, 8)


@pytest.mark.slow
def test_on_a_gpu_it_is_added_up_there_and_waited_for_once(
    prepared: tuple[types.ModuleType, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    prepare, data = prepared
    expected = prepare.evaluate_bpb(lambda x, y: 1 + y.float() / 512, data, 8)
    waits, as_float = [], torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "item", None)
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: waits.append(1) or as_float(self))
    assert prepare.evaluate_bpb(lambda x, y: 1 + y.float() / 512, data, 8) == pytest.approx(expected, rel=1e-12)
    assert waits == [1]
