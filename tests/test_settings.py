"""Settings: precedence, origins, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimize.config.environment import copy_url, import_source, script_environment, storage_url
from optimize.config.settings import load_settings, profiles
from optimize.errors import SettingsError


def profile(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


def test_a_flag_wins_over_the_profile_and_the_profile_over_the_default(tmp_path: Path) -> None:
    path = profile(tmp_path, "trials = 7\nsampler = 'random'\n")
    settings = load_settings(path, "asked for", {"trials": 9, "hours": None}, {})
    assert (settings.trials, settings.sampler, settings.hours) == (9, "random", None)
    assert settings.origins["trials"] == "flag"
    assert settings.origins["sampler"] == f"profile {path}"
    assert settings.origins["hours"] == "default"
    assert settings.origins["profile"] == "asked for"


def test_pruning_is_on_unless_the_profile_or_a_flag_says_no(tmp_path: Path) -> None:
    off = profile(tmp_path, "pruning = false\n")
    assert load_settings("cpu", "", {}, {}).pruning
    assert not load_settings("cpu", "", {"pruning": False}, {}).pruning
    assert not load_settings(off, "", {}, {}).pruning
    assert load_settings(off, "", {"pruning": True}, {}).pruning
    with pytest.raises(SettingsError, match="pruning"):
        load_settings(profile(tmp_path, "pruning = 'no'\n"), "", {}, {})


def test_the_study_is_named_after_workload_and_profile() -> None:
    assert load_settings("cpu", "", {}, {}).study == "gpt-cpu"
    assert load_settings("cpu", "", {"workload": "../autoresearch/"}, {}).study == "autoresearch-cpu"


def test_every_mistake_of_profile_and_flags_is_reported_at_once(tmp_path: Path) -> None:
    path = profile(
        tmp_path, "trails = 7\ntrials = 'x'\n[limits]\ntotal_s = -1\n[slots]\ncount = 0\n[constants]\nA = 2020-01-01\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(path, "", {"hours": -1.0}, {})
    assert len(caught.value.problems) == 6


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="colab, cpu, gpu, h100"):
        load_settings("tpu", "", {}, {})


def test_a_storage_url_with_a_password_is_refused_as_a_flag_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="OPTIMIZE_STORAGE_URL") as caught:
        load_settings("cpu", "", {"storage": "postgresql://me:secret@host/db"}, {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host/db",
        "postgresql://host/db?password=secret",
        "postgresql://host/db?user=me&password=secret",
    ],
)
def test_a_password_is_found_wherever_a_url_may_hold_one(url: str) -> None:
    for read in (storage_url, copy_url, import_source):
        with pytest.raises(SettingsError) as caught:
            read(url, {})
        assert "secret" not in str(caught.value)


def test_a_storage_url_comes_from_the_environment() -> None:
    settings = load_settings("cpu", "", {}, {"OPTIMIZE_STORAGE_URL": "postgresql://me:secret@host/db"})
    assert settings.storage == "postgresql://me:secret@host/db"
    assert settings.origins["storage"] == "environment OPTIMIZE_STORAGE_URL"


def test_a_script_gets_the_allow_list_and_what_the_profile_adds(tmp_path: Path) -> None:
    settings = load_settings(profile(tmp_path, "env_pass = ['MY_VARIABLE']\n"), "", {}, {})
    environment = script_environment(
        settings.env_pass,
        {"PATH": "/bin", "MY_VARIABLE": "1", "OPENAI_API_KEY": "secret", "OPTIMIZE_STORAGE_URL": "secret"}
        | {"OPTIMIZE_NOTIFY_URL": "secret"}
        | {"CC": "/opt/bin/gcc-14", "CUDA_MPS_PIPE_DIRECTORY": "/run/mps"},
    )
    assert environment["CC"] == "/opt/bin/gcc-14"  # Triton compiles with it
    assert environment["CUDA_MPS_PIPE_DIRECTORY"] == "/run/mps"
    assert environment["PATH"] == "/bin"
    assert environment["MY_VARIABLE"] == "1"
    assert "secret" not in environment.values()


def test_addresses_for_messages_reach_no_script_even_if_a_profile_wants_that(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="env_pass: OPTIMIZE_NOTIFY_URL holds secrets"):
        load_settings(profile(tmp_path, "env_pass = ['OPTIMIZE_NOTIFY_URL']\n"), "", {}, {})
    assert "secret" not in script_environment(["OPTIMIZE_NOTIFY_URL"], {"OPTIMIZE_NOTIFY_URL": "secret"}).values()


@pytest.mark.parametrize("name", profiles())
def test_every_shipped_profile_loads(name: str) -> None:
    assert load_settings(name, "", {}, {}).workload == "gpt"


def test_constants_of_one_workload_are_no_other_workloads(tmp_path: Path) -> None:
    path = profile(tmp_path, "[constants]\nA = 1\nB = 1\n[constants.gpt]\nB = 2\nC = 3\n")
    assert load_settings(path, "", {}, {}).constants == {"A": 1, "B": 2, "C": 3}
    assert load_settings(path, "", {"workload": "./theirs"}, {}).constants == {"A": 1, "B": 1}


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("./work", "{}/work"),
        ("../work", "{}/../work"),
        ("deep/work", "{}/deep/work"),
        (".", "{}/."),
        ("/work", "/work"),
        ("~/work", "~/work"),
        ("gpt", "gpt"),  # a name of ours
    ],
)
def test_a_path_in_a_profile_begins_where_the_profile_lies(written: str, means: str, tmp_path: Path) -> None:
    text = f"workload = '{written}'\nsearch_space = '{written}'\n[constants.'{written}']\nDEPTH = 3\n"
    settings = load_settings(profile(tmp_path, text), "", {"study": "s"}, {})
    assert settings.workload == settings.search_space == means.format(tmp_path)
    assert settings.constants == {"DEPTH": 3}


def test_a_profile_in_the_folder_one_is_in_keeps_its_paths_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile(tmp_path, "workload = './work'\nsearch_space = 'deep/space.toml'\n")
    monkeypatch.chdir(tmp_path)
    settings = load_settings("./mine.toml", "", {}, {})
    assert (settings.workload, settings.search_space) == ("./work", "deep/space.toml")
    flag = load_settings(str(tmp_path / "mine.toml"), "", {"workload": "./other"}, {})
    assert flag.workload == "./other"  # of a flag, from where one is
