"""A search space's own prior: read with the space, and used in a new study as if `--prior` had named it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from optimize.errors import StudyError
from optimize.search import Candidate, Target, fitted
from optimize.study.prior import PRIOR, describe_prior
from search_spaces import SearchSpaceError, load_space, parse_space, shipped_spaces
from tests.conftest import SPACE, Driver
from tests.test_loader import AUTORESEARCH, BASELINES, CONSTANTS, EXPERTS, SPACES, problem
from tests.transfers import nothing_changes, records

PARAMETERS = '[parameters]\nA = [1, 2, 4]\nP = [[0.8, 0.95], [0.9, 0.95]]\nT = ["x", "y"]\n'
HEAD = '[[prior]]\nsource = "a night"\n'
ROW = "{ rank = 1, params = { A = 1 } }"
OWN = f"{SPACE}\n{HEAD}rows = [{{ rank = 1, params = {{ X = 2, Y = 0.26 }} }}, {{ rank = 2, params = {{ X = 4 }} }}]\n"
SAID = "prior of space space (a night): 2 configurations of use: the search begins where the best of them lie"


def of_table(folder: Path, table: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(table)
    (folder / "space.toml").write_text(f"{PARAMETERS}{HEAD}table = {name!r}\n")
    return folder / "space.toml"


def test_a_table_and_rows_in_the_file_say_the_same(tmp_path: Path) -> None:
    rows = "rows = [{ rank = 2, params = { A = 3, T = 'y' } }, { rank = 1, params = { P = [0.8, 0.95], T = 'x' } }]\n"
    (prior,) = parse_space(f"{PARAMETERS}{HEAD}{rows}", "x/y.toml").priors
    assert [(row.rank, row.params) for row in prior.rows] == [
        (1, {"P": (0.8, 0.95), "T": "x"}),
        (2, {"A": 3, "T": "y"}),
    ]
    path = of_table(tmp_path, 'rank, T, A, P\n2, y, 3,\n\n1,x,,"[0.8, 0.95]"\n')
    assert load_space(str(path)).priors == (prior,)
    assert load_space(str(path)).fingerprint() == parse_space(PARAMETERS, "x/y.toml").fingerprint()
    assert parse_space(path.read_text(), str(path)).priors == ()  # a study keeps the text, and its prior by itself


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source = 'x'", "prior 1: has no rows, or two kinds. Write either table"),
        (f"source = 'x'\ntable = 'a.csv'\nrows = [{ROW}]", "prior 1: has no rows, or two kinds"),
        (f"rows = [{ROW}, {{ rank = 2, params = {{ A = 2 }} }}]", "prior 1: source: missing"),
        ("source = 'x'\nrows = 3", "prior 1: rows: is no array of tables"),
        (f"source = 'x'\nrows = [{ROW}]", "prior 1: has one row only, which tells no good configuration from a bad"),
        (f"source = 'x'\nrows = [{ROW}, {ROW}]", "prior 1: has no two ranks"),
        (f"source = 'x'\nrows = [{ROW}, {{ rank = 0, params = {{ A = 2 }} }}]", "prior 1 row 2: rank: 0 is no number"),
        (f"source = 'x'\nrows = [{ROW}, {{ rank = 2, params = {{ B = 2 }} }}]", "prior 1 row 2: 'B' is no parameter"),
        (f"source = 'x'\nrows = [{ROW}, {{ rank = 2, params = {{ T = 'z' }} }}]", "prior 1 row 2: T: 'z' is none of"),
        (f"source = 'x'\nrows = [{ROW}, {{ rank = 2, val_bpb = 1 }}]", "prior 1 row 2: 'val_bpb': unknown key"),
    ],
)
def test_a_mistake_in_a_prior_is_named(text: str, words: str) -> None:
    whole = f"{PARAMETERS}[[prior]]\n{text}"
    if "val_bpb" in words:
        with pytest.raises(SearchSpaceError) as caught:
            parse_space(whole, "x/y.toml")
        assert any(words in line for line in caught.value.problems)
    else:
        assert words in problem(whole)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("rank,A\n1,1\n", "prior 1: has one row only"),
        ("A,T\n1,x\n", "prior 1 a.csv: its header has no column rank, or one twice"),
        ("rank,A,Q\n1,1,1\n2,2,2\n", "prior 1 a.csv: 'Q' is no parameter of this space. Remove its column"),
        ("rank,A\n1,1\n2,many\n", "prior 1 a.csv line 3: A: 'many' is none of its choices"),
        ("rank,A\n1,1\n2,2,2\n3,4\n", "prior 1 a.csv line 3: has 3 cells, the header 2"),
        ("rank,A\n1,1\nbest,2\n", "prior 1 a.csv line 3: rank: 'best' is no number above 0"),
    ],
)
def test_a_mistake_in_a_table_is_named(tmp_path: Path, table: str, words: str) -> None:
    with pytest.raises(SearchSpaceError) as caught:
        load_space(str(of_table(tmp_path, table)))
    (line,) = caught.value.problems
    assert line.startswith(f"{tmp_path}/space.toml: {words}")


def test_a_table_that_is_missing_is_named(tmp_path: Path) -> None:
    path = of_table(tmp_path, "")
    (tmp_path / "a.csv").unlink()
    with pytest.raises(SearchSpaceError, match=r"prior 1: table 'a\.csv': does not exist\. Check the path\."):
        load_space(str(path))


def test_a_copy_of_a_shipped_space_finds_the_table_of_ours(tmp_path: Path) -> None:
    shutil.copy(SPACES / "cpu.toml", tmp_path / "mine.toml")
    assert load_space(str(tmp_path / "mine.toml")).priors == load_space("cpu").priors


def test_every_row_of_a_shipped_prior_becomes_a_configuration() -> None:
    """Those of `cpu` as they are: its table was written in its own choices."""
    found = {name: load_space(name) for name in shipped_spaces()}
    assert [len(prior.rows) for prior in found["cpu"].priors] == [80]
    for name, space in found.items():
        baseline = {n: v for n, v in {**AUTORESEARCH, **EXPERTS, **BASELINES[name]}.items() if n in space.names}
        for row in (row for prior in space.priors for row in prior.rows):
            params, what = fitted(
                Candidate("", "", row.params), Target(space, {**AUTORESEARCH, **EXPERTS, **CONSTANTS[name]}, baseline)
            )
            assert params is not None, what
            assert name != "cpu" or what == "as it is"


# --- studies ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(driver: Driver) -> Driver:
    (driver.folder / "space.toml").write_text(OWN)
    driver.set(sampler="auto")
    return driver


def kept(driver: Driver) -> dict[str, object] | None:
    with driver.database() as database:
        stored: dict[str, object] | None = database.study_attrs(database.find_study(driver.settings.study) or 0).get(
            PRIOR
        )
        return stored


def test_a_new_study_begins_with_the_prior_of_its_space_and_keeps_it(own: Driver) -> None:
    with nothing_changes(own):
        (line,) = describe_prior(own.plan)
    assert line.startswith(
        f"{SAID}; 1 moved to the nearest choices; it says nothing of PAIR; fewer than 10: they count"
    )
    own.run(trials=2)
    assert line in own.said
    assert records(own, "s")[1].params["X"] == 2
    (own.folder / "space.toml").write_text(SPACE)
    with own.open() as study:
        assert study.summaries()[0].startswith("prior: believed after 2 trials: space space ")
    own.set(own_prior=False)
    assert describe_prior(own.plan) == []
    (own.folder / "space.toml").write_text(OWN)
    own.said.clear()
    own.run(trials=2)
    assert "study s: it began with the prior of its search space and goes on" in own.said


def test_no_prior_leaves_it_out_and_so_does_another_sampler(own: Driver) -> None:
    for changes in ({"own_prior": False}, {"sampler": "random"}):
        own.set(study=f"without-{len(changes)}", **{"own_prior": True, "sampler": "auto"} | changes)
        assert describe_prior(own.plan) == []
    own.set(own_prior=False, sampler="auto")
    own.run(trials=1)
    assert kept(own) is None


def test_a_study_that_began_without_one_goes_on_without(own: Driver) -> None:
    (own.folder / "space.toml").write_text(SPACE)
    own.run(trials=1)
    (own.folder / "space.toml").write_text(OWN)
    own.said.clear()
    own.run(trials=2)
    assert kept(own) is None
    assert not any("prior" in line for line in own.said)


def test_prior_adds_to_the_one_of_the_space(own: Driver) -> None:
    table = own.folder / "a.csv"
    table.write_text("val_bpb,X\n0.9,2\n0.8,1\n")
    own.set(prior=(str(table),))
    lines = describe_prior(own.plan)
    assert [line.partition(": ")[0] for line in lines] == [f"--prior {table}", "prior of space space (a night)"]
    own.run(trials=1)
    stored = kept(own)
    assert stored is not None
    assert (stored["sources"], stored["own"]) == ([str(table)], ["space space"])
    assert describe_prior(own.plan) == [f"study s: it began with the prior {table} and goes on"]
    own.set(prior=("other",))
    with pytest.raises(StudyError, match="the study exists and began with "):
        describe_prior(own.plan)
