"""How many rounds the loop has whose lines tell the progress, through the names that stand for that number."""

from __future__ import annotations

import pytest

from optimize.script.loop_total import total_of
from optimize.script.progress_guess import guess_progress

FLAGS = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--epochs', type=int, default=20)\nargs = p.parse_args()\n"
SAYS = "    print(f'epoch {epoch} loss: {loss:.4f}')\n"


@pytest.mark.parametrize(
    ("words", "total"),
    [
        (["--epochs", "3"], "3"),
        (["fit", "--epochs=3"], "3"),
        (["-e", "3", "--epochs", "4"], "4"),
        (["--seed", "3"], "20"),
    ],
)
def test_what_the_command_gives_a_flag_counts(words: list[str], total: str) -> None:
    flags = FLAGS.replace("'--epochs'", "'--epochs', '-e'")
    files = {"train.py": f"{flags}for epoch in range(args.epochs):\n{SAYS}"}
    assert total_of(guess_progress(files), files, "train.py", words) == total


@pytest.mark.parametrize(
    ("text", "total"),
    [
        (f"{FLAGS}for epoch in range(args.epochs):\n{SAYS}", "20"),
        (f"epochs = 20\nfor epoch in range(epochs):\n{SAYS}", "epochs"),
        (f"{FLAGS}epochs = args.epochs\nfor epoch in range(epochs):\n{SAYS}", "20"),
        (f"{FLAGS}n, m = args.epochs, 3\nfor epoch in range(1, n + 1):\n{SAYS}", "20"),
        (f"{FLAGS}def main():\n    n = args.epochs\n    for epoch in range(n):\n    {SAYS}", "20"),
        (f"def main():\n    max_epoch = 2000\n    for epoch in range(max_epoch):\n    {SAYS}", "2000"),
        (f"{FLAGS}def main():\n    n = args.epochs\n    n += 1\n    for epoch in range(n):\n    {SAYS}", ""),
        (f"{FLAGS}def main(n):\n    for epoch in range(n):\n    {SAYS}n = args.epochs\nmain(n)\n", ""),
        (f"{FLAGS}n = args.epochs\nif quick:\n    n = 2\nfor epoch in range(n):\n{SAYS}", ""),
    ],
)
def test_one_assignment_is_followed(text: str, total: str) -> None:
    files = {"train.py": text}
    progress = guess_progress(files)
    assert progress is not None
    assert total_of(progress, files, "train.py") == total
