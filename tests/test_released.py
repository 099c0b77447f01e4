"""The record of what we have shipped is whole: a study that began with any version of ours can go on with it."""

from __future__ import annotations

from optimize.config.released import RELEASED, is_our_profile, is_our_space, is_our_workload
from optimize.config.settings import profiles
from optimize.script.load_workload import load_workload, ours
from search_spaces import shipped_spaces
from tests.released import add_versions, versions_of_today

FIRST = {
    "profiles/colab/ae7d91ec0145a304", "profiles/cpu/999c61d9390a61b1", "profiles/gpu/16cd9e89d84b51d6",
    "profiles/h100/17149b7f5736c753", "search_spaces/colab/5e22ff9f9b1ae069", "search_spaces/cpu/538b621dd8a6d314",
    "search_spaces/gpu/c776a571766ee0cd", "search_spaces/h100/fd790e49405ad7fc", "search_spaces/rtx/33c6c5f87576b888",
    "workloads/gpt/7b0e935a99ccef9b",
}  # fmt: skip


def test_what_we_ship_is_in_the_record() -> None:
    kept = {path.relative_to(RELEASED).as_posix(): path.read_bytes() for path in RELEASED.rglob("*.toml")}
    lacking = [name for name, content in versions_of_today().items() if kept.get(name) != content]
    assert not lacking, f"{lacking}: run .venv/bin/python -m tests.released, and commit what it writes"


def test_no_version_is_taken_out_of_the_record() -> None:
    assert {f"{name}.toml" for name in FIRST} <= {
        path.relative_to(RELEASED).as_posix() for path in RELEASED.rglob("*.toml")
    }


def test_what_we_ship_is_known_as_ours() -> None:
    assert all(is_our_workload(name, load_workload(name)) for name in ours())
    assert all(map(is_our_space, shipped_spaces()))
    assert all(map(is_our_profile, profiles()))


def test_a_file_of_a_user_is_never_ours() -> None:
    assert not is_our_workload("./gpt", load_workload("gpt"))
    assert not is_our_space("../search_spaces/cpu")
    assert not is_our_profile("./cpu")


def test_only_new_versions_are_added(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert len(add_versions(tmp_path)) == len(versions_of_today())
    assert add_versions(tmp_path) == []
