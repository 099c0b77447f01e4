"""What is known of memory at work: samplers pass over what does not fit, and a study remembers why."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import pytest

from optimize.search import Memory, Past, Sampler, footprint, open_sampler
from optimize.search.candidates import UNGUARDED
from optimize.study.resume import open_study
from optimize.trial import Job, Outcome, Slot, TrialStatus, Value
from search_spaces import parse_space
from storage import open_database
from tests.conftest import Driver, complete
from tests.spaces import configurations
from tests.test_memory import LIMIT, SPACE, number, seen, size

# --- in the sampler -----------------------------------------------------------------------------------------------------


def sampler(name: str, *, memory: bool = True, seed: int = 0) -> Sampler:
    def new() -> Memory:
        return Memory(SPACE, size, 0.0)

    return open_sampler(name, SPACE, {}, seed=seed, new_memory=new if memory else None)


def value(params: Mapping[str, Value]) -> float:
    """Larger is better: the sampler is drawn to the limit."""
    return -size(params) + 100 * abs(number(params.get("RATE", 0.04)) - 0.04)


def run(of: Sampler, trials: int) -> list[Past]:
    past = []
    for trial in range(trials):
        params = of.propose()
        of.started(trial, params)
        fits = size(params) <= LIMIT
        past.append(Past(trial, params, *(("COMPLETE", value(params)) if fits else ("PRUNED", None)), seen(params)))
        of.finished(trial, past[-1].state, past[-1].value, past[-1].footprint)
    return past


def too_large(past: list[Past]) -> int:
    return sum(size(trial.params) > LIMIT for trial in past)


@pytest.mark.parametrize(
    "name", ["auto", "cmaes", "random", *(pytest.param(n, marks=pytest.mark.slow) for n in ("tpe", "qmc"))]
)
def test_what_does_not_fit_is_soon_hardly_ever_proposed(name: str) -> None:
    late = sum(too_large(run(sampler(name, seed=seed), 60)[20:]) for seed in range(3))
    assert late <= 120 * 0.1
    assert late < sum(too_large(run(sampler(name, memory=False, seed=seed), 60)[20:]) for seed in range(3))


def test_a_small_share_of_proposals_is_bold() -> None:
    past = run(sampler("random"), 500)
    assert 0 < too_large(past[100:]) < 4 * UNGUARDED * 400


def test_a_grid_tries_everything() -> None:
    assert too_large(run(sampler("grid"), SPACE.size)) == sum(size(p) > LIMIT for p in configurations(SPACE))


def test_when_nothing_else_is_left_what_is_doubted_is_tried() -> None:
    small = parse_space("[parameters]\nDEPTH = [1, 2, 4, 8, 16]\nBATCH = [4, 16, 64]", "small.toml")
    of = open_sampler("random", small, {}, seed=0, new_memory=lambda: Memory(small, size, 0.0))
    past = run(of, small.size)
    assert len({(p.params["DEPTH"], p.params["BATCH"]) for p in past}) == small.size
    assert [size(p.params) > LIMIT for p in past[-3:]] == [True] * 3


def test_running_out_of_memory_teaches_the_learner_what_any_bad_ending_does() -> None:
    for name in ("auto", "cmaes"):
        told, plain = sampler(name, memory=False), sampler(name, memory=False)
        for past in run(sampler("random", seed=3), 30):
            for each in (told, plain):
                each.started(past.number, past.params)
            told.finished(past.number, past.state, past.value, past.footprint)
            plain.finished(past.number, past.state, past.value)
        assert [told.propose() for _ in range(5)] == [plain.propose() for _ in range(5)]


@pytest.mark.parametrize("name", ["auto", "random"])
def test_a_reopened_study_knows_what_it_knew(name: str) -> None:
    first = sampler(name)
    past = run(first, 40)
    reopened = sampler(name)
    reopened.replay(past)
    assert reopened.summaries() == first.summaries() != []
    late = too_large(run(reopened, 20))
    assert late <= 2


def test_endings_that_show_nothing_of_memory_teach_it_nothing() -> None:
    of = sampler("random")
    for trial in range(10):
        of.started(trial, params := of.propose())
        of.finished(trial, "PRUNED", None, footprint("PRUNED", "diverged", {}))
    assert params
    assert of.summaries() == []


# --- in a study ---------------------------------------------------------------------------------------------------------


def runs_out(job: Job) -> Outcome:
    if number(job.params["X"]) * number(job.params["Y"]) > 1:
        return Outcome(TrialStatus.OUT_OF_MEMORY, 3.0, "CUDA out of memory")
    outcome = complete(job)
    peak = {"peak_vram_mb": 1000 * number(job.params["X"]) * number(job.params["Y"])}
    return Outcome(outcome.status, outcome.seconds, summary={**outcome.summary, **peak})


@pytest.fixture
def gpu(driver: Driver) -> Driver:
    (driver.folder / "workload" / "workload.toml").write_text('memory = "X * Y"\n')
    driver.set(device="cuda", constants={"X": 1})
    return driver


def known(driver: Driver, memory_mb: float = 0.0) -> str:
    slots = [Slot("gpu:0", memory_mb=memory_mb), Slot("gpu:1", memory_mb=4 * memory_mb)]
    with (
        closing(open_database(driver.paths.database)) as database,
        open_study(database, driver.plan, driver.data, driver.said.append, slots) as study,
    ):
        return "".join(study.summaries())


def test_a_study_remembers_what_its_trials_have_shown_of_memory(gpu: Driver) -> None:
    _, told = gpu.run(runs_out, trials=8)
    ran_out = sum(status == "out_of_memory" for _, status in told.ended)
    assert 0 < ran_out < 8
    assert f"memory: {ran_out} of 8 trials ran out of it; it is full at" in known(gpu)


def test_the_smallest_device_counts(gpu: Driver) -> None:
    gpu.run(runs_out, trials=3)
    large = known(gpu, memory_mb=100_000)
    assert "it is full at" in large
    assert large != known(gpu, memory_mb=25_000)


def test_on_a_cpu_nothing_is_learned_of_memory(gpu: Driver) -> None:
    gpu.set(device="cpu")
    gpu.run(runs_out, trials=5)
    assert known(gpu) == ""
