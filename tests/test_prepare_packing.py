"""From text to rows of tokens: the tokenizer, how documents are packed, and the order that rows are given in."""

from __future__ import annotations

import random
import types
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.texts import load, texts

# ---------------------------------------------------------------------------------------------------------------------
# Tokenizer


def test_tokens_survive_a_round_trip_and_know_their_true_bytes(tmp_path: Path) -> None:
    prepare = load(tmp_path, VOCAB_SIZE=280)
    text = "naïve façade — 你好 12345\r\n\tdef f(x):  return x" * 3
    prepare.train_tokenizer([text] * 5, tmp_path / "tokenizer.json")
    tokenizer = prepare.load_tokenizer(tmp_path / "tokenizer.json")
    unseen = "🙂 not seen, <|bos|> is text here \ud800"
    ids = tokenizer.encode_ordinary(text + unseen)
    assert tokenizer.n_vocab == 280
    assert tokenizer.decode(ids) == text + unseen.replace("\ud800", "\ufffd")
    assert max(ids) < 276 <= tokenizer.encode_single_token("<|bos|>")
    assert sum(len(tokenizer.decode_single_token_bytes(i)) for i in ids) == len(tokenizer.decode_bytes(ids))


def test_tiktoken_cuts_text_as_rustbpe_learned_it(tmp_path: Path) -> None:
    import rustbpe

    prepare = load(tmp_path)
    documents = texts(200)
    prepare.train_tokenizer(documents, tmp_path / "tokenizer.json")
    tokenizer = prepare.load_tokenizer(tmp_path / "tokenizer.json")
    learned = rustbpe.Tokenizer()
    learned.train_from_iterator(iter(documents), prepare.VOCAB_SIZE - 4, pattern=prepare.SPLIT_PATTERN)
    for text in [*documents, "It's 2024,  isn't\n\n it?   "]:
        assert tokenizer.encode_ordinary(text) == learned.encode(text)


def test_a_text_too_poor_for_the_vocabulary_is_refused(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    with pytest.raises(prepare.PrepareError, match="VOCAB_SIZE = 300: the text has only"):
        prepare.train_tokenizer(["aa ab"], tmp_path / "tokenizer.json")


def test_long_documents_do_not_choose_the_vocabulary(tmp_path: Path) -> None:
    prepare = load(tmp_path, TOKENIZER_CHARS=25, TOKENIZER_DOCUMENT_CHARS=10)
    assert [len(text) for text in prepare.head_of(["a" * 100, "b" * 6, "c" * 100, "d", "e"])] == [10, 6, 10]


# ---------------------------------------------------------------------------------------------------------------------
# Packing


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> types.ModuleType:
    return load(tmp_path_factory.mktemp("packing"))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 9), max_size=200))
def test_packed_rows_are_full_and_hold_beginnings_of_documents(packing: types.ModuleType, sizes: list[int]) -> None:
    token = count(1)  # every token but BOS (0) occurs once
    documents = [np.array([0, *islice(token, size - 1)], dtype=np.uint16) for size in sizes]
    beginnings = {tuple(document[:end].tolist()) for document in documents for end in range(1, 10)}
    rows = [row.tolist() for row in packing.pack(iter(documents), 9)]
    seen: list[int] = []
    for row in rows:
        assert len(row) == 9
        assert row[0] == 0
        starts = [place for place, t in enumerate(row) if t == 0]
        parts = [tuple(row[a:b]) for a, b in zip(starts, [*starts[1:], 9], strict=True)]
        assert beginnings.issuperset(parts)
        seen += [t for t in row if t]
    assert len(seen) == len(set(seen))


def test_the_largest_fitting_document_fills_a_row(packing: types.ModuleType) -> None:
    documents = [np.array([0] + [size] * (size - 1), dtype=np.uint16) for size in (3, 6, 2, 7, 4)]
    rows = [row.tolist() for row in packing.pack(iter(documents), 10)]
    assert rows == [[0, 7, 7, 7, 7, 7, 7, 0, 3, 3], [0, 6, 6, 6, 6, 6, 0, 4, 4, 4]]


def test_where_none_fits_the_smallest_is_cut(packing: types.ModuleType) -> None:
    documents = [np.array([0] + [size] * (size - 1), dtype=np.uint16) for size in (7, 5, 6, 7)]
    rows = [row.tolist() for row in packing.pack(iter(documents), 9)]
    assert rows == [[0, 7, 7, 7, 7, 7, 7, 0, 5], [0, 7, 7, 7, 7, 7, 7, 0, 6]]


def test_little_text_is_cut_off_but_the_ends_of_long_documents(packing: types.ModuleType) -> None:
    draw = random.Random(0)
    documents = [np.zeros(min(257, int(draw.lognormvariate(5, 1)) + 20), dtype=np.uint16) for _ in range(20_000)]
    packing.PACK_BUFFER, before = 10_000, packing.PACK_BUFFER
    rows = sum(1 for _ in packing.pack(iter(documents), 257))
    packing.PACK_BUFFER = before
    assert rows * 257 > 0.98 * sum(map(len, documents))


def test_a_document_is_bos_and_the_tokens_that_a_row_can_hold(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    prepare.train_tokenizer(texts(100), tmp_path / "tokenizer.json")
    tokenizer = prepare.load_tokenizer(tmp_path / "tokenizer.json")
    long = " ".join(texts(10))
    encoded = [ids.tolist() for ids in prepare.encode(["", "short", long], tokenizer)]
    bos = tokenizer.encode_single_token("<|bos|>")
    assert encoded == [[bos, *tokenizer.encode_ordinary("short")], [bos, *tokenizer.encode_ordinary(long)[:16]]]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 25])
def test_the_order_of_rows_does_not_depend_on_the_batch_size(packing: types.ModuleType, batch_size: int) -> None:
    rows = np.arange(10 * 5, dtype=np.uint16).reshape(10, 5)
    blocks = list(islice(packing.batches(rows, batch_size), 60))
    assert all(block.shape == (batch_size, 5) and type(block) is np.ndarray for block, _ in blocks)
    seen = np.concatenate([block for block, _ in blocks])
    assert (seen == np.resize(rows, (len(seen), 5))).all()
    assert [epoch for _, epoch in blocks] == [1 + (n * batch_size - 1) // 10 for n in range(1, 61)]
