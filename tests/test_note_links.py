"""Links of the dashboard's notes lead to what is there: in a copy to the copy's artifacts, in a bundle only to those it has."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from optuna_dashboard import _note as notes

from optimize.study.stored import find_study
from optimize.transfer.bundle import write_bundle
from storage import Artifacts, artifact_link, open_database
from storage.dashboard_notes import PART, rows_of_notes
from tests.conftest import Driver
from tests.test_bundle import unpacked
from tests.test_dashboard_notes import attrs, edit, study_note, trial_note, writer_of

ID = str(uuid.UUID(int=7))
OLD, NEW, IDS = 3, 14, {5: 50, 60: 6, 777777: 1}
words = st.text(alphabet="ab é\n[]()/`artifacts0123456789", max_size=40)
spaces = st.builds("".join, st.lists(st.just("x") | words, max_size=3)) | st.integers(1, 2 * PART).map(
    lambda n: "y" * n
)


@given(
    beginning=st.integers(PART - 90, PART + 1).map(lambda n: "z" * n) | st.just(""),
    linked=st.lists(st.tuples(st.sampled_from([*IDS, None]), spaces), min_size=1, max_size=4),
    owner=st.sampled_from([*IDS, None]),
)
@example(beginning="z" * (PART - 10), linked=[(777777, "")], owner=5)
def test_a_link_is_led_elsewhere_wherever_a_note_is_cut(
    beginning: str, linked: list[tuple[int | None, str]], owner: int | None
) -> None:
    def text(study: int, ids: dict[int, int]) -> str:
        links = (
            f"({artifact_link(study, ids[trial], ID) if trial else f'/artifacts/{study}/{ID}'})" for trial, _ in linked
        )
        return beginning + "".join(link + after for link, (_, after) in zip(links, linked, strict=True))

    before, after = text(OLD, {each: each for each in IDS}), text(NEW, IDS)
    rows = [
        {"study_id": OLD, "key": key, "value_json": json.dumps(value)}
        for key, value in {**notes.split_body(before, owner), notes.note_ver_key(owner): 4, "other": before}.items()
    ]
    moved = rows_of_notes(rows[::-1], NEW, IDS)
    there = {row["key"]: json.loads(row["value_json"]) for row in moved}
    new_owner = None if owner is None else IDS[owner]
    assert {row["study_id"] for row in moved} == {NEW}
    assert notes.get_note_from_system_attrs(there, new_owner) == {"version": 4, "body": after}
    assert all(len(part) <= PART for part in there.values() if isinstance(part, str))
    assert "other" not in there


def test_a_link_to_what_was_not_copied_stays_as_it_was() -> None:
    text = f"({artifact_link(OLD + 1, 5, ID)}) ({artifact_link(OLD, 999, ID)}) {artifact_link(OLD, 5, ID)}"
    rows = [{"study_id": OLD, "key": "dashboard:5:note_str:0", "value_json": json.dumps(text)}]
    (moved,) = rows_of_notes(rows, NEW, IDS)
    assert json.loads(moved["value_json"]) == text.replace(artifact_link(OLD, 5, ID), artifact_link(NEW, 50, ID))


def test_notes_in_a_bundle_lead_only_to_what_is_in_it(driver: Driver, tmp_path: Path) -> None:
    driver.run(trials=4)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        writer_of(stored).write()
        standing = stored.best()
        assert standing is not None
        best = standing.record
        artifacts = Artifacts(stored.paths.artifacts, database)
        left = {record.number: artifacts.ids(record.trial_id)["log.txt"] for record in stored.records()}
        links = [artifact_link(stored.study_id, r.trial_id, left[r.number]) for r in stored.records()]
        other = (best.number + 1) % 4
        edit(stored, None, "z" * (PART - 20) + "".join(f"![a picture]({link}) [`a[0]`]({link})\n" for link in links))
        before = {record.number: trial_note(stored, record.number) for record in stored.records()}
        told = study_note(stored)
        small = write_bundle(stored, tmp_path / "small.zip", False, driver.said.append)
        whole = write_bundle(stored, tmp_path / "whole.zip", True, driver.said.append)
        assert {number: trial_note(stored, number) for number in before} == before
        assert study_note(stored) == told
    for archive, everything in ((small, False), (whole, True)):
        root = unpacked(archive, tmp_path / archive.stem)
        with closing(open_database(root / "optuna.db")) as database:
            mine = find_study(database, "s", root)
            for number, artifact in left.items():
                kept = everything or number in (best.number, 0)  # patches are against the baseline
                link = artifact_link(mine.study_id, mine.record(number).trial_id, artifact)
                note = trial_note(mine, number)
                assert (f"[`log.txt`]({link})" in note) is kept
                assert (artifact in study_note(mine)) is kept
                assert "`log.txt`" in note
                assert (root / "artifacts" / artifact).is_file() is kept
            assert "/artifacts/" not in trial_note(mine, other) or everything
            assert study_note(mine).count("a picture") == study_note(mine).count("`a[0]`") == len(links)
            assert "dashboard:note_ver" in attrs(database)


def test_a_note_of_nothing_but_brackets_is_read_at_once(driver: Driver) -> None:
    driver.run(trials=1)
    with driver.database() as database:
        stored = find_study(database, "s", driver.settings.runs)
        for text in ("[`" * 50_000, "![" * 50_000, "`" * 100_000, "](/artifacts/" * 8_000, "[" + "a" * 100_000):
            edit(stored, stored.record(0).trial_id, text)
            Artifacts(stored.paths.artifacts, database).forget_missing()
            assert trial_note(stored, 0) == text
