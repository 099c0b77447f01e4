"""The data side of the workload `gpt`: its script, and the dataset that it leaves, whole or not there."""

from __future__ import annotations

import ast
import fcntl
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.texts import SCRIPT, SMALL, load, own_cache, run, write_folder, written

CONSTANTS = ("DATA_SOURCE", "NUM_SHARDS", "VOCAB_SIZE", "MAX_SEQ_LEN")
CONSTANTS += ("TIME_BUDGET", "FLOP_BUDGET", "EVAL_TOKENS", "VAL_SPLIT")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# The script


def test_every_constant_is_one_plain_literal_at_module_level() -> None:
    tree = ast.parse(SCRIPT.read_text())
    values = {}
    for name in CONSTANTS:
        stores = [
            n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store)
        ]
        assigned = [n for n in tree.body if isinstance(n, ast.Assign) and stores[0] in n.targets]
        assert (len(stores), len(assigned)) == (1, 1), name
        values[name] = ast.literal_eval(assigned[0].value)
    assert values["EVAL_TOKENS"] == 40 * 524288
    assert (values["VOCAB_SIZE"], values["MAX_SEQ_LEN"], values["TIME_BUDGET"]) == (8192, 2048, 300)


@pytest.mark.slow
def test_a_second_call_prints_the_same_block_and_imports_nothing_heavy(tmp_path: Path, folder: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    first, second = (
        subprocess.run([sys.executable, "-X", "importtime", script], capture_output=True, text=True) for _ in range(2)
    )
    block = first.stdout[first.stdout.index("---") :]
    assert (first.returncode, second.returncode, second.stdout) == (0, 0, block)
    assert [line.split(":")[0] for line in block.splitlines()] == [
        *("---", "data_fingerprint", "data_source", "train_tokens_M", "val_tokens_M", "vocab_size")
    ]
    imported = {line.split("|")[-1].strip() for line in second.stderr.splitlines()}
    assert not imported & {"numpy", "torch", "pyarrow", "tiktoken", "rustbpe", "requests", "tqdm"}


@pytest.mark.parametrize(
    ("constants", "names"),
    [
        ({"DATA_SOURCE": "pile"}, "DATA_SOURCE = 'pile'"),
        ({"DATA_SOURCE": "./texts"}, "whole path"),
        ({"DATA_SOURCE": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"NUM_SHARDS": 0}, "NUM_SHARDS = 0"),
        ({"VOCAB_SIZE": 65536}, "VOCAB_SIZE = 65536"),
        ({"VOCAB_SIZE": 259}, "VOCAB_SIZE = 259"),
        ({"VAL_SPLIT": 2}, "VAL_SPLIT = 2"),
        ({"MAX_SEQ_LEN": 0}, "MAX_SEQ_LEN = 0"),
    ],
)
def test_a_wrong_constant_is_one_clear_line(
    constants: dict[str, object],
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(load(tmp_path, **constants), monkeypatch) == 1
    error = capsys.readouterr().err
    assert names in error
    assert error.startswith("prepare.py: ")
    assert error.count("\n") == 1


# ---------------------------------------------------------------------------------------------------------------------
# The prepared dataset


def test_the_halves_of_the_validation_text_share_no_document(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = [load(tmp_path, DATA_SOURCE=str(folder), VAL_SPLIT=half) for half in (0, 1)]
    assert run(halves[0], monkeypatch) == 0
    data = [half.open_data() for half in halves]
    assert data[0].fingerprint == data[1].fingerprint
    assert data[0].train_rows.tobytes() == data[1].train_rows.tobytes()
    tokenizer = halves[0].load_tokenizer(halves[0].dataset_folder(halves[0].open_source(1)) / "tokenizer.json")
    begins = [  # each document begins with a number of its own
        set(re.findall(r"#\d+\.\d+#", tokenizer.decode([t for t in d.val_rows.ravel().tolist() if t < d.bos_id])))
        for d in data
    ]
    assert all(len(found) > 20 for found in begins)
    whole = {text.split()[0] for text in halves[0].open_source(1).documents("val")}
    assert not (begins[0] & whole) & (begins[1] & whole)


def test_open_data_gives_what_train_needs(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = load(tmp_path, DATA_SOURCE=str(folder))
    run(prepare, monkeypatch)
    data = prepare.open_data()
    assert (data.vocab_size, data.bos_id) == (300, 296)
    assert data.train_rows.dtype == data.val_rows.dtype == np.uint16
    assert isinstance(data.train_rows, np.memmap)
    assert (data.train_rows[:, 0] == data.bos_id).all()
    assert (data.val_rows[:, 0] == data.bos_id).all()
    assert data.train_rows.max() < 300
    assert data.token_bytes.dtype == np.int32
    assert data.token_bytes[:296].min() == 1
    assert data.token_bytes[296:].tolist() == [0] * 4


@pytest.mark.slow
def test_the_same_text_has_the_same_fingerprint_and_other_rows_another(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for place, constants in (("a", {}), ("b", {}), ("c", {"VOCAB_SIZE": 290}), ("d", {"MAX_SEQ_LEN": 17})):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
        prepare = load(tmp_path, DATA_SOURCE=str(folder), **constants)
        assert run(prepare, monkeypatch) == 0
        found.append(prepare.open_data().fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert re.fullmatch("[0-9a-f]{16}", found[0])


@pytest.mark.slow
def test_datasets_lie_side_by_side_and_a_changed_folder_is_another_dataset(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    for constants in ({}, {"VOCAB_SIZE": 290}):
        run(load(tmp_path, DATA_SOURCE=str(folder), **constants), monkeypatch)
    (folder / "more.txt").write_text("more")
    prepare = load(tmp_path, DATA_SOURCE=str(folder))
    with pytest.raises(SystemExit):
        prepare.open_data()
    run(prepare, monkeypatch)
    assert len(list(cache.glob("folder-*/meta.json"))) == 3
    assert not list(cache.glob("**/*.pkl"))


def test_data_that_is_not_prepared_is_one_line_and_exit_code_3(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        load(tmp_path, DATA_SOURCE=str(folder)).open_data()
    assert caught.value.code == 3
    line = f"prepare.py: data for {folder} (vocabulary 300, rows of 16) is not prepared. Run: python prepare.py\n"
    assert capsys.readouterr().err == line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.bin", "val_0.bin", "token_bytes.npy", "tokenizer.json", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_dataset_is_named_and_made_again(
    name: str,
    damage: str,
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare = load(tmp_path, DATA_SOURCE=str(folder))
    run(prepare, monkeypatch)
    path = prepare.dataset_folder(prepare.open_source(1)) / name
    path.write_bytes(path.read_bytes()[:-1]) if damage == "cut" else path.unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        prepare.open_data()
    error = capsys.readouterr().err
    assert caught.value.code == 3
    assert "damaged" in error
    assert error.endswith("Run: python prepare.py\n")
    assert error.count("\n") == 1
    assert run(prepare, monkeypatch) == 0
    prepare.open_data()


def test_more_eval_tokens_than_there_are_is_an_error_that_names_the_constant(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = load(tmp_path, DATA_SOURCE=str(folder), EVAL_TOKENS=10_000_000)
    assert run(prepare, monkeypatch) == 1
    assert "EVAL_TOKENS = 10000000: validation half 0 has" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare.open_data()
    assert "EVAL_TOKENS = 10000000" in capsys.readouterr().err


def test_a_text_smaller_than_a_row_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    assert run(load(tmp_path, DATA_SOURCE=str(folder), MAX_SEQ_LEN=100_000), monkeypatch) == 1
    assert "MAX_SEQ_LEN" in capsys.readouterr().err
    assert not list(cache.glob("folder-*/meta.json"))


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert run(load(tmp_path, DATA_SOURCE=str(folder)), monkeypatch) == 1
    error = capsys.readouterr().err
    assert "Not a directory" in error
    assert "XDG_CACHE_HOME" in error
    assert error.count("\n") == 1


def wait_for(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


@pytest.mark.slow
def test_a_killed_preparation_leaves_nothing_or_a_whole_dataset(tmp_path: Path, folder: Path, cache: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    for sign in ("*.building", "*.building/tokenizer.json", "*.building/train.bin", "*.building/meta.json"):
        process = subprocess.Popen([sys.executable, script], stdout=subprocess.DEVNULL)
        wait_for(lambda sign=sign, process=process: list(cache.glob(sign)) or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for meta in cache.glob("folder-*[!g]/meta.json"):
            sizes = json.loads(meta.read_text())["files"]
            assert sizes == {name: (meta.parent / name).stat().st_size for name in sizes}
            assert len(sizes) == 5
            (meta.parent / "train.bin").unlink()
    assert subprocess.run([sys.executable, script], stdout=subprocess.DEVNULL).returncode == 0
    assert not list(cache.glob("*.building"))
    assert len(list(cache.glob("folder-*/meta.json"))) == 1


@pytest.mark.slow
def test_a_second_process_waits_for_the_first_and_says_so(tmp_path: Path, folder: Path, cache: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    cache.mkdir(parents=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "another process is preparing data; waiting" in process.stdout.readline()
        assert not list(cache.glob("folder-*"))
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert "data_fingerprint" in process.communicate()[0]
    assert process.returncode == 0


@pytest.mark.slow
def test_ctrl_c_is_one_line(tmp_path: Path, folder: Path, cache: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    cache.mkdir(parents=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, script], text=True, **pipes)
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        error = process.communicate()[1]
    assert process.returncode == 130
    assert error.startswith("prepare.py: interrupted")
    assert error.count("\n") == 1


@pytest.mark.slow
def test_processes_that_prepare_at_once_agree_and_one_of_them_does_the_work(tmp_path: Path, folder: Path) -> None:
    script = written(tmp_path / "job", **SMALL, DATA_SOURCE=str(folder))
    processes = [subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({output[output.index("---") :] for output in outputs}) == 1
    assert sum("packing rows" in output for output in outputs) == 1
