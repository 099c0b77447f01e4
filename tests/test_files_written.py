"""What a script itself writes is none of its data: files and folders, through variables, flags and functions of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.cli import run
from optimize.script.data_used import data_used
from optimize.script.files_written import written_texts
from optimize.script.load_workload import load_workload
from tests.counting import calls
from tests.test_init import folder_with

FLAGS = "p = argparse.ArgumentParser()\np.add_argument('--save-path', default='m.pt')\nargs = p.parse_args()\n"
GUARDED = "if not os.path.exists('c.npy'):\n    np.save('c.npy', make())\nx = np.load('c.npy')"


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("torch.save(model, 'model.pt')\ntorch.load('model.pt')", {"model.pt"}),
        ("log = open('log.txt', 'w')", {"log.txt"}),
        ("log = open('./log.txt', mode='ab')", {"log.txt"}),
        ("with gzip.open('a/x.gz', 'wt') as f:\n    f.write('')", {"a/x.gz"}),
        ("np.save('w.npy', w)", {"w.npy"}),
        ("df.to_csv('h.csv', index=False)", {"h.csv"}),
        ("plt.savefig(fname='c.png')", {"c.png"}),
        ("json.dump(m, open('r.json', 'w'))", {"r.json"}),
        ("p = 'a.txt'\nPath(p).write_text('x')", {"a.txt"}),
        ("OUT = 'models'\nos.makedirs(OUT)\njoblib.dump(m, os.path.join(OUT, 'm.joblib'))", {"models", "models/m.joblib"}),
        ("out = Path('models')\nout.mkdir()\nfor i in range(3):\n    torch.save(m, out / f'{i}.pt')", {"models"}),
        ("p = f'models/{epoch}.pt'\ntorch.save(m, p)", {"models"}),
        (f"{FLAGS}torch.save(m, args.save_path)", {"m.pt"}),
        ("def save(model, path='a.pt'):\n    torch.save(model, path)\nsave(m)\nsave(m, 'b.pt')", {"a.pt", "b.pt"}),
        ("shutil.copy('in.txt', 'out.txt')", {"out.txt"}),
        ("if os.path.exists('c.pt'):\n    torch.load('c.pt')\nfor i in range(3):\n    torch.save(m, 'c.pt')", {"c.pt"}),
        ("p = 'out'\np = os.path.join(p, 'sub')\ntorch.save(m, os.path.join(p, 'm.pt'))", {"out/sub", "out/sub/m.pt"}),
        ("a = b / 'a'\nb = a / 'b'\ntorch.save(m, b)", set()),
        # what has to be there before is data
        ("open('in.txt', 'r')\nopen('a')\nopen('b.bin', 'rb')", set()),
        ("v = json.load(open('v.json'))\njson.dump(v, open('v.json', 'w'))", set()),
        ("def keep(v):\n    json.dump(v, open('v.json', 'w'))\nv = json.load(open('v.json'))\nkeep(v)", set()),
        ("def fit(m):\n    torch.save(m, 'm.pt')\nfit(m)\nm = torch.load('m.pt')", {"m.pt"}),
        (GUARDED, set()),
        ("def load():\n    if os.path.exists('c.npy'):\n        return np.load('c.npy')\n    np.save('c.npy', x)", set()),
        ("try:\n    x = np.load('c.npy')\nexcept OSError:\n    np.save('c.npy', x)", set()),
        ("def download():\n    open('t.txt', 'w')\ndef main():\n    open('t.txt')", set()),
        ("name.replace('a.txt', 'b.txt')\nx = np.load('data/x.npy')\nnp.save('data/y.npy', x)", {"data/y.npy"}),
        ("D = 'data'\nx = np.load(os.path.join(D, 'x.npy'))\nnp.save(os.path.join(D, 'y.npy'), x)", {"data/y.npy"}),
        ("D = 'data'\np = os.path.join(D, 'x.npy')\nx = np.load(p)\nnp.save(os.path.join(D, 'y.npy'), x)", {"data/y.npy"}),
    ],
)  # fmt: skip
def test_what_a_script_writes_is_told_from_what_has_to_be_there(code: str, written: set[str]) -> None:
    assert written_texts({"train.py": code}) == written


def test_what_another_file_writes_and_the_script_reads_is_data() -> None:
    files = {
        "train.py": "import prep\nopen('x.txt', 'w')",
        "prep.py": "open('t.txt', 'w')\nopen('t.txt')\nopen('l.log', 'w')",
    }
    assert written_texts(files) == {"x.txt", "l.log"}
    assert written_texts({"train.py": FLAGS + "torch.save(m, args.save_path)"}, ["--save-path", "n.pt"]) == {"n.pt"}


def test_files_of_an_earlier_run_are_neither_copied_nor_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
LR = 0.1
open("in.txt")
json.dump({"lr": LR}, open("params.json", "w"))
open("log.txt", "w")
torch.save(model, "model.pt")
torch.load("model.pt")
torch.save(model, os.path.join("models", "best.pt"))
print(f"loss: {LR}")
"""
    files = {
        "train.py": text,
        "in.txt": "",
        "log.txt": "",
        "params.json": "{}",
        "model.pt": "\0",
        "models/best.pt": "\0",
    }
    monkeypatch.chdir(folder_with(tmp_path, files))
    assert run(["init"]) == 0
    workload = load_workload("./")
    assert sorted(workload.files) == ["in.txt", "train.py"]
    assert workload.links == {}
    assert data_used({"train.py": text}, tmp_path).notes == ()


def _script(parts: int) -> str:
    """A script that writes many files: under a condition, in a handler, and by functions."""
    part = """
def save_{0}(model, path="out_{0}.pt"):
    figure = os.path.join("figures_{0}", "a_{0}.png")
    try:
        seen = json.load(open("c_{0}.json"))
    except OSError:
        json.dump({{}}, open("c_{0}.json", "w"))
    if not os.path.exists(figure):
        plt.savefig(figure)
    torch.save(model, path)
"""
    return "".join(part.format(number) for number in range(parts))


def test_a_script_of_twice_the_length_takes_twice_the_work() -> None:
    once, twice = (
        _script(parts) for parts in (20, 40)
    )  # a thousand lines took minutes, where each write walks the file
    works = [calls(lambda text=text: written_texts({"train.py": text})) for text in (once, twice)]  # type: ignore[misc]
    assert works[1] < 3 * works[0]
    assert len(written_texts({"train.py": twice})) == 2 * 40


@pytest.mark.parametrize(
    "code",
    [
        "f = open('data.bin', 'r+b')",
        "f = Path('data.bin').open('rb+')",
        "x = np.memmap('data.bin', np.uint16, 'r+')",
        "x = np.load('data.bin', mmap_mode='r+')",
        "def dump_it(path, mode='wb'):\n    open(path, mode)\ndump_it('data.bin')",
        "db = sqlite3.connect('data.bin')\ndb.execute('INSERT INTO runs VALUES (1)')",
    ],
)
def test_no_trial_gets_a_link_to_a_file_that_it_would_change(code: str, tmp_path: Path) -> None:
    folder_with(tmp_path, {"train.py": code, "data.bin": "\0"})
    found = data_used({"train.py": code}, tmp_path)
    assert found.links == ()
    assert "data.bin: the script reads and writes it" in found.notes[0]


@pytest.mark.parametrize(
    "code", ["x = np.memmap('data.bin', mode='r')", "db = sqlite3.connect('data.bin')", "open('data.bin', 'rb')"]
)
def test_what_is_only_read_is_linked(code: str, tmp_path: Path) -> None:
    folder_with(tmp_path, {"train.py": code, "data.bin": "\0"})
    assert data_used({"train.py": code}, tmp_path).links == ("data.bin",)
