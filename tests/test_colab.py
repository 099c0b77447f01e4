"""The Colab notebook: the committed file, run from top to bottom on a CPU; interrupted, disconnected, restored, resumed."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import nbclient
import nbformat
import pytest

from optimize.notebook import _secrets
from storage import TrialRecord, open_database, read_records
from tests.conftest import Driver
from tests.databases import empty_database
from tests.studies import many_trials, stored_study
from tests.test_cli import run, slow_down
from tests.test_end_to_end import small_profile
from tests.zoo import eventually

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "colab.ipynb"
RETRY_S = 300
STUDY = "nb"

QUICK = "from optimize import notebook"  # and a study of the other tests, without torch
RUN = "notebook.run('./profile.toml', 's', workload='./workload', more=['--sampler', 'random'])"

# What Colab has and we have not: each call leaves a line. Its Drive is refused, as by a user who says no.
COLAB = {
    "drive": "def mount(where):\n    raise ValueError('mount failed')\n",
    "output": "def serve_kernel_port_as_iframe(port, path, height):\n"
    "    open('calls.txt', 'a').write(f'iframe {path} {port > 0}\\n')\n",
    "userdata": "def get(name):\n    open('calls.txt', 'a').write(f'secret {name}\\n')\n"
    "    return {'OPENAI_API_KEY': 'sk-colab'}[name]\n",
    "files": "def download(name):\n    open('calls.txt', 'a').write(f'download {name}\\n')\n",
}


def notebook(**settings: object) -> Any:
    """The committed notebook with these in its form."""
    read = nbformat.read(NOTEBOOK, as_version=4)
    form = next(cell for cell in read.cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in settings.items():
        form.source, replaced = re.subn(rf"(?m)^{name} = (?:\"[^\"]*\"|\S+)", f"{name} = {value!r}", form.source)
        assert replaced == 1, name
    return read


@pytest.fixture
def place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh machine's working folder: our packages, a small profile, no network."""
    for package in ("optimize", "search_spaces", "storage"):
        shutil.copytree(ROOT / package, tmp_path / package)
    small_profile(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path


def client(read: Any, place: Path) -> nbclient.NotebookClient:
    return nbclient.NotebookClient(
        read, timeout=RETRY_S, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )


def execute(place: Path, **settings: object) -> Any:
    read = notebook(PROFILE="./small.toml", STUDY=STUDY, HOURS=0, **settings)
    client(read, place).execute()
    return read


def outputs(read: Any, what: str) -> str:
    """All that the cell with this call shows as text."""
    cell = next(cell for cell in read.cells if cell.cell_type == "code" and what in cell.source)
    shown = [output.get("text", "") + str(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
    return "".join(shown)


def pictures(read: Any) -> list[bytes]:
    found = [output.get("data", {}) for cell in read.cells for output in cell.get("outputs", [])]
    return [base64.b64decode(data["image/png"]) for data in found if "image/png" in data]


def records(place: Path, study: str = STUDY) -> list[TrialRecord]:
    with closing(open_database(place / "runs" / "optuna.db")) as database:
        study_id = database.find_study(study)
        return [] if study_id is None else read_records(database, study_id)


def test_the_committed_notebook_is_valid_and_has_no_outputs() -> None:
    read = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(read)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert all(len(cell.source.splitlines()) <= 20 for cell in code)
    assert read.cells[0].cell_type == "markdown"


def test_the_form_has_a_field_for_each_setting() -> None:
    form = next(cell for cell in notebook().cells if "parameters" in cell.metadata.get("tags", []))
    assert set(re.findall(r"(?m)^(\w+) = .* # ?@param", form.source)) == {
        "REPOSITORY", "PROFILE", "WORKLOAD", "STUDY", "TRIALS", "HOURS", "ADVISOR", "DRIVE_FOLDER",
    }  # fmt: skip


class RefusedError(Exception):
    """What Colab raises where a person gives no access to a secret, or there is none."""


def colab_secrets(monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
    def get(name: str) -> str:
        if name not in secrets:
            raise RefusedError(name)
        return secrets[name]

    userdata = ModuleType("userdata")
    monkeypatch.setattr(userdata, "get", get, raising=False)
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)


@pytest.mark.parametrize(
    ("environ", "secrets", "found", "says"),
    [
        ({}, {"OPENAI_API_KEY": "sk-colab"}, {"OPENAI_API_KEY": "sk-colab"}, False),
        ({}, {"OPENAI_BASE_URL": "http://here/v1"}, {"OPENAI_BASE_URL": "http://here/v1"}, False),
        ({"OPENAI_API_KEY": "sk-mine"}, {"OPENAI_API_KEY": "sk-colab"}, {}, False),
        ({"OPENAI_BASE_URL": "http://here/v1"}, {}, {}, False),
        ({}, {}, {}, True),
        ({}, {"OPENAI_API_KEY": ""}, {}, True),
    ],
)
def test_a_models_key_comes_from_colabs_secrets_and_one_that_is_refused_is_no_error(
    environ: dict[str, str],
    secrets: dict[str, str],
    found: dict[str, str],
    says: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    colab_secrets(monkeypatch, secrets)
    assert _secrets() == found
    said = capsys.readouterr().out
    assert ("add it to this notebook's secrets" in said) == says
    assert "sk-" not in said


def test_elsewhere_no_secrets_are_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert _secrets() == {}
    assert capsys.readouterr().out == ""


def test_the_notebook_says_that_a_t4_trains_our_script() -> None:
    said = " ".join(notebook().cells[0].source.split())
    assert "A T4 trains our script (`gpt`), not the `train.py` of karpathy/autoresearch" in said
    assert "FlashAttention 3, and so a Hopper" in said


@pytest.mark.xdist_group("notebook")
@pytest.mark.slow
def test_it_runs_from_top_to_bottom_and_on_a_fresh_machine_goes_on(place: Path) -> None:
    first = execute(place, TRIALS=2)
    assert "not on Colab" in outputs(first, "notebook.drive")
    assert "no backup yet" in outputs(first, "notebook.restore")
    assert "http://127.0.0.1:" in outputs(first, "notebook.dashboard")
    said = outputs(first, "notebook.run")
    assert "2 trials are done" in said
    assert "best val_bpb" in said
    assert [picture[:4] for picture in pictures(first)] == [b"\x89PNG"]
    assert "train.py" in {Path(name).name for name in zipfile.ZipFile(place / f"{STUDY}.zip").namelist()}
    before = records(place)

    shutil.rmtree(place / "runs")  # the machine is gone; the next one is Colab's, and its user wants no Drive
    (place / "google" / "colab").mkdir(parents=True)
    for name, code in COLAB.items():
        (place / "google" / "colab" / f"{name}.py").write_text(code)
    second = execute(place, TRIALS=3, ADVISOR="a-model")
    assert outputs(second, "notebook.drive").startswith("no Drive (mount failed): backups go to drive")
    assert "restored to runs: nb, 2 trials" in outputs(second, "notebook.restore")
    after = records(place)
    assert after[:2] == before
    assert [record.number for record in after] == [0, 1, 2]
    assert (place / "calls.txt").read_text().splitlines() == [
        "iframe /dashboard True",
        "secret OPENAI_API_KEY",
        "secret OPENAI_BASE_URL",
        f"download {STUDY}.zip",
    ]
    assert "a-model" in outputs(second, "notebook.run")
    assert not any("sk-colab" in str(cell.get("outputs")) for cell in second.cells)


INTERRUPT = """
import os, signal, sys, time
from pathlib import Path
from storage import StorageError, open_database
kernel = int(sys.argv[1])
while True:
    time.sleep(0.1)
    try:
        database = open_database(Path("runs/optuna.db"), create=False)
        if database.study_names() and database.counts(1)["COMPLETE"]:
            break
    except StorageError:
        pass
os.kill(kernel, signal.SIGINT)
"""


@pytest.mark.xdist_group("notebook")
@pytest.mark.slow
def test_interrupting_the_cell_lets_the_running_trials_end(driver: Driver, place: Path) -> None:
    slow_down(driver, 0.2)
    (place / "space.toml").rename(place / "workload" / "space.toml")  # where the notebook finds it
    read = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"{QUICK}\nname = {RUN}\nname")])
    running = client(read, place)
    with running.setup_kernel():
        assert running.km is not None
        argv = [sys.executable, "-c", INTERRUPT, str(running.km.provisioner.pid)]
        with subprocess.Popen(argv, cwd=place) as interrupting:
            running.execute_cell(read.cells[0], 0)
            assert interrupting.wait(RETRY_S) == 0
    assert "stopped by hand" in outputs(read, "notebook.run")
    assert read.cells[0].outputs[-1].data["text/plain"] == "'s'"  # the notebook goes on
    assert {record.state for record in records(place, "s")} == {"COMPLETE"}


@pytest.mark.xdist_group("notebook")
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a study outlives its kernel")
def test_a_kernel_that_dies_takes_its_study_along_in_order(driver: Driver, place: Path) -> None:
    slow_down(driver, 0.2)
    shutil.copy(place / "space.toml", place / "workload" / "space.toml")
    running = client(nbformat.v4.new_notebook(), place)
    with running.setup_kernel():
        assert running.kc is not None
        assert running.km is not None
        running.kc.execute(f"{QUICK}\n{RUN}")
        assert eventually(lambda: (place / "runs" / "optuna.db").exists() and bool(records(place, "s")), RETRY_S)
        os.kill(running.km.provisioner.pid, signal.SIGKILL)
    assert eventually(lambda: all(record.state != "RUNNING" for record in records(place, "s")), RETRY_S)
    assert eventually(lambda: run(driver, "--trials", "1").returncode == 0, RETRY_S)  # nobody drives it any more


@pytest.mark.xdist_group("notebook")
@pytest.mark.slow
def test_what_goes_wrong_is_one_line_and_stops_the_notebook(place: Path) -> None:
    (place / "runs").mkdir()
    with closing(open_database(empty_database(place / "runs"))) as database:
        stored_study(database, place / "runs", many_trials(3))
    mistakes = {
        "notebook.run('./small.toml', 's', workload='mine')": "mine: no such workload",
        "notebook.run('tpu')": "tpu: no such profile",
        "notebook.restore(__import__('pathlib').Path('optimize'), runs=__import__('pathlib').Path('new'))": "no backup here",
        "notebook.run('./small.toml', 'a study')": "not a name for a study",
    }
    cells = [nbformat.v4.new_code_cell(f"from optimize import notebook\n{cell}") for cell in mistakes]
    read = nbformat.v4.new_notebook(cells=cells)
    running = client(read, place)
    with running.setup_kernel():
        for number, line in enumerate(mistakes.values()):
            with pytest.raises(nbclient.exceptions.CellExecutionError):
                running.execute_cell(read.cells[number], number)
            (error,) = (output for output in read.cells[number].outputs if output.output_type == "error")
            assert len(error.traceback) == 1
            assert line in error.traceback[0]
            assert not any(line in str(output) for output in read.cells[number].outputs if output is not error)
    assert pictures(read) == []  # of the older study, whose trials have nothing to do with the refusal
