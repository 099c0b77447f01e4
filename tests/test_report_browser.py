"""The report in a real headless Chromium: nothing to complain of without a network, nothing wider than a phone's screen."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from optimize.reporting.html import write_report
from storage import open_database
from tests.databases import empty_database
from tests.studies import CHOICES, many_trials, stored_study
from tests.test_dashboard import CHROMIUM, QUIET, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.xdist_group("browser")]
FRAME = """\
<iframe id=page src="PAGE" style="width: WIDTHpx; height: 900px; border: 0"></iframe><pre id=told></pre>
<script>
const page = document.getElementById("page")
page.onload = () => {
  const of = page.contentDocument
  const shown = [...of.querySelectorAll("svg")].filter(each => each.getBoundingClientRect().width > 0)
  const root = of.documentElement
  document.getElementById("told").textContent = `room ${root.clientWidth} taken ${root.scrollWidth} figures ${shown.length}`
}
</script>
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    with closing(open_database(empty_database(runs))) as database:
        return write_report(stored_study(database, runs, many_trials(40)))[0]


def chromium(folder: Path, url: str, *flags: str) -> tuple[str, list[str]]:
    """The document after its scripts have run, and what stands in the console."""
    argv = [
        str(CHROMIUM),
        *QUIET.split(),
        f"--user-data-dir={folder}",
        "--enable-logging=stderr",
        "--v=0",
        *flags,
        "--dump-dom",
        url,
    ]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
    return ended.stdout, [line for line in ended.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_without_a_network_has_nothing_to_complain_of(report: Path, tmp_path: Path) -> None:
    shown, complaints = chromium(tmp_path / "chromium", report.as_uri(), "--host-resolver-rules=MAP * ~NOTFOUND")
    assert "The best trials" in shown
    assert complaints == []
    (tmp_path / "bad.html").write_text(report.read_text().replace("<main>", "<main><script>alert(1)</script>"))
    _, complaints = chromium(tmp_path / "chromium", (tmp_path / "bad.html").as_uri())
    assert "Content Security Policy" in complaints[0]  # a script that got in would not run, and this test would see it


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_screen(report: Path, tmp_path: Path, width: int) -> None:
    frame = FRAME.replace("WIDTH", str(width)).replace("PAGE", report.as_uri())
    (tmp_path / "frame.html").write_text(frame)
    flags = ("--allow-file-access-from-files", "--virtual-time-budget=20000")
    shown, _ = chromium(tmp_path / "chromium", (tmp_path / "frame.html").as_uri(), *flags)
    found = re.search(r"room (\d+) taken (\d+) figures (\d+)", shown)
    assert found is not None, shown[-500:]
    room, taken, figures = map(int, found.groups())
    assert 0 < taken <= room <= width
    assert figures == 1 + 1 + len(CHOICES) + 1 + 1  # of two forms, the one that suits the width
