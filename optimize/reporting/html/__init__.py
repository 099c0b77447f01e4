"""A study as a page to read, print and send: `report.html`, one file, and its figures as PNG files beside it.

The page is a view: it is made whole from the database whenever asked, also while the study runs, and never read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from optimize.errors import StudyError
from optimize.reporting.files import refuse_unwritable
from optimize.reporting.html.facts import gather
from optimize.reporting.html.figures import FILES, draw_all
from optimize.reporting.html.page import render_page
from optimize.study.stored import StoredStudy
from storage import ReportPaths, parent_of, write_bytes, write_text


def write_report(stored: StoredStudy, to: Path | None = None) -> Sequence[Path]:
    """Write the page and the figures into the study's folder, or into `to`; return what was written, the page first.

    Raises StudyError for a study of replicates, because the report of its parent shows them.
    """
    if parent := parent_of(stored.name):
        raise StudyError(
            f"study {stored.name}: it holds replicates, which the report of study {parent} shows. Use --study {parent}."
        )
    paths = stored.paths.report if to is None else ReportPaths(to)
    if to is None:
        refuse_unwritable(paths.folder, f"`optimize report --study {quote(stored.name)} --to DIR`")
    facts = gather(stored)
    pictures = draw_all(facts)
    page = render_page(facts, pictures)
    paths.create()
    for name in FILES:
        if name in pictures:
            write_bytes(paths.plot(name), pictures[name].png)
        else:
            paths.plot(name).unlink(missing_ok=True)  # left by a deleted study of this name
    write_text(paths.html, page)
    return [paths.html, *(paths.plot(name) for name in FILES if name in pictures)]
