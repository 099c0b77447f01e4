"""The built wheel in an empty environment: TOML files and workloads are package data, and commands work without the clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("wheel")
    source = where / "source"  # a build leaves files beside its sources, and finds those of the last one
    ignored = shutil.ignore_patterns(".venv", ".git", "build", "runs", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignored)
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(where), str(source)]
    subprocess.run(argv, check=True, timeout=300, cwd=where)
    return next(where.glob("*.whl"))


def test_the_wheel_holds_every_shipped_file_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in (
        "search_spaces/*.toml",
        "optimize/profiles/*.toml",
        "optimize/released/*/*/*.toml",
        "optimize/transfer/templates/*",
        "optimize/reporting/html/*.html",
        "optimize/workloads/gpt/*.*",
    ):
        for path in ROOT.glob(pattern):
            assert path.relative_to(ROOT).as_posix() in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_the_command_works_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    argv = [str(venv / "bin" / "python"), "-I", "-m", "optimize", "check", "--profile", "cpu"]
    # the present environment's packages stand in for what pip would install beside the wheel
    (site / "packages.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")) + "\n")
    ended = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "gpt-cpu" in ended.stdout
    where = [str(venv / "bin" / "python"), "-I", "-c", "import optimize; print(optimize.__file__)"]
    assert str(site) in subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout
