"""A study as a page to read, print and send: `report.html`, whole in one file, and its figures as PNG files beside it.

It is a view: made whole from the database whenever asked, while a driver runs as well, and never read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optimize.errors import StudyError
from optimize.reporting.html.facts import gather
from optimize.reporting.html.figures import FILES, draw_all
from optimize.reporting.html.page import render_page
from optimize.study.stored import StoredStudy
from storage import ReportPaths, parent_of, write_bytes, write_text


def write_report(stored: StoredStudy, to: Path | None = None) -> Sequence[Path]:
    """Write the page and the figures into the study's folder, or into `to`; returns what was written, the page first.

    StudyError for replicates: their parent's report tells of them.
    """
    if parent := parent_of(stored.name):
        raise StudyError(
            f"study {stored.name}: it holds replicates, which the report of {parent} tells of. Name that one."
        )
    paths = stored.paths.report if to is None else ReportPaths(to)
    facts = gather(stored)
    pictures = draw_all(facts)
    page = render_page(facts, pictures)
    paths.create()
    for name in FILES:
        if name in pictures:
            write_bytes(paths.plot(name), pictures[name].png)
        else:
            paths.plot(name).unlink(missing_ok=True)  # of a study that had this name before
    write_text(paths.html, page)
    return [paths.html, *(paths.plot(name) for name in FILES if name in pictures)]
