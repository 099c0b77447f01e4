"""Where text comes from without a network: the docstrings of installed packages, and a folder of files."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.texts import load, own_cache, run, texts, write_folder, write_parquet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_cache(tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# docs


def write_package(site: Path, name: str, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (site / name / path).parent.mkdir(parents=True, exist_ok=True)
        (site / name / path).write_text(text)
    return site / name


def test_docstrings_are_read_wherever_they_stand_and_nothing_is_imported(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    long = "{} " + "words " * 20
    source = f'''"""{long.format("module")}"""
raise SystemExit("imported")
class A:
    """{long.format("class")}"""
    async def method(self):
        """{long.format("method")}"""
        if True:
            try:
                pass
            finally:
                match 1:
                    case 1:
                        def inner():
                            """{long.format("inner")}"""
def short():
    """A label."""
def twice():
    """{long.format("class")}"""
'''
    package = write_package(tmp_path, "pack", {"a.py": source, "b.py": "def broken(:", "c.py": source})
    parts = prepare.read_docstrings([package])
    found = parts["train"] + parts["val"]
    assert sorted(text.split()[0] for text in found) == ["class", "inner", "method", "module"]


def test_docstrings_with_lone_surrogates_become_valid_text(tmp_path: Path) -> None:
    package = write_package(tmp_path, "pack", {"a.py": f'"""\\ud800 {"words " * 20}"""'})
    parts = load(tmp_path).read_docstrings([package])
    assert [text[:2] for text in parts["train"] + parts["val"]] == ["? "]


def test_docstrings_of_one_file_stay_in_one_part_in_an_order_of_their_own(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    files = {
        f"m{n}.py": "".join(f'def f{k}():\n    """{n} {k} {"words " * 20}"""\n' for k in range(3)) for n in range(64)
    }
    package = write_package(tmp_path, "pack", files)
    parts = prepare.read_docstrings([package])
    owners = {split: {text.split()[0] for text in found} for split, found in parts.items()}
    assert owners["train"].isdisjoint(owners["val"])
    assert len(owners["train"]) + len(owners["val"]) == 64
    assert 1 <= len(owners["val"]) <= 12
    assert parts["train"] == sorted(parts["train"], key=prepare.sha256)
    assert prepare.read_docstrings([package]) == parts


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare = load(tmp_path, DATA_SOURCE="docs", DOCS_PACKAGES=("numpy", "no_such_package"))
    assert run(prepare, monkeypatch) == 1
    error = capsys.readouterr().err
    assert "no_such_package is not installed" in error
    assert error.count("\n") == 1


def test_a_package_without_its_folder_is_refused_not_left_out(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    with pytest.raises(prepare.PrepareError, match="no such folder"):
        prepare.read_docstrings([write_package(tmp_path, "pack", {"a.py": ""}), tmp_path / "absent"])


@pytest.mark.slow
@pytest.mark.xdist_group("training")
def test_docs_of_the_installed_packages_are_enough_for_the_cpu_profile(
    tmp_path: Path, once: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(once / "cache"))  # as other tests train on it: it takes twenty seconds
    constants = {"DATA_SOURCE": "docs", "VOCAB_SIZE": 2048, "MAX_SEQ_LEN": 256, "EVAL_TOKENS": 65536}
    prepare = load(tmp_path, **constants, PACK_BUFFER=10_000)
    assert run(prepare, monkeypatch) == 0
    assert "data_source:      docs\n" in capsys.readouterr().out
    data = prepare.open_data()
    assert data.train_rows.size > 3e6
    assert len(load(tmp_path, **constants, VAL_SPLIT=1).open_data().val_rows) * 256 > 100_000
    assert len(data.val_rows) * 256 > 100_000
    assert 2.6 < data.token_bytes[data.train_rows].mean() < 3.0
    measured_with = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "sympy": "1.14.0", "networkx": "3.6.1", "mpmath": "1.3.0"}
    measured_with |= {"sqlalchemy": "2.1.9", "optuna": "5.0.0", "tiktoken": "0.14.0", "rustbpe": "0.1.0"}
    if sys.version_info[:2] == (3, 11) and measured_with == {name: metadata.version(name) for name in measured_with}:
        assert data.fingerprint == "9c0c49ff806ef058"


# ---------------------------------------------------------------------------------------------------------------------
# A folder


@pytest.mark.slow
def test_validation_files_of_a_folder_are_whole_files_and_at_least_one(tmp_path: Path, folder: Path) -> None:
    write_parquet(folder / "5.parquet", texts(30, seed=5))
    source = load(tmp_path, DATA_SOURCE=str(folder)).open_source(1)
    train, val = (list(source.documents(split)) for split in ("train", "val"))
    owner = {text.split()[0].split(".")[0] for text in train}, {text.split()[0].split(".")[0] for text in val}
    assert owner[0].isdisjoint(owner[1])
    assert len(owner[1]) == 1
    assert sorted(train + val) == sorted([text for n in range(4) for text in texts(120, n)] + texts(30, seed=5))


def test_validation_of_a_single_file_is_its_tail(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    documents = texts(50)
    write_parquet(tmp_path / "one" / "a.parquet", documents)
    source = load(tmp_path, DATA_SOURCE=str(tmp_path / "one")).open_source(1)
    assert list(source.documents("train")) == documents[:47]
    assert list(source.documents("val")) == documents[47:]


def test_text_without_marks_is_cut_at_empty_lines_and_keeps_its_context(tmp_path: Path) -> None:
    paragraphs = [f"{n} " + "word " * 200 for n in range(10)]
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(paragraphs))
    documents = list(load(tmp_path).text_documents(path))
    assert [document.split()[0] for document in documents] == ["0", "2", "4", "6", "8"]
    assert " ".join(documents).split() == " ".join(paragraphs).split()


def test_unreadable_parquet_is_one_clear_line(tmp_path: Path) -> None:
    prepare = load(tmp_path)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and then nothing of use PAR1")
    write_parquet(tmp_path / "other.parquet", ["a"], column="body")
    for name, reason in (("damaged", "cannot be read"), ("other", "no column `text`"), ("absent", "cannot be read")):
        with pytest.raises(prepare.PrepareError, match=reason) as caught:
            list(prepare.parquet_documents(tmp_path / f"{name}.parquet"))
        assert str(tmp_path / f"{name}.parquet") in str(caught.value)
        assert "\n" not in str(caught.value)
