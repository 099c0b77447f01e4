"""A piece of `gpu.py`: two trials at a time on one device under a budget of work, and then `confirm`, in the same way.

The baseline has rates so low that a start beats it, because `confirm` needs a winner. The budget is what the device did in some
seconds when it was alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpu_driver import Stage, wait, write_profile, write_space
from gpu_pieces import Work
from gpu_sizes import SHALLOW
from gpu_trial import environment, run, write

from optimize.trial import BASELINE, Value
from storage import TrialRecord
from storage.paths import replicates_of

LOW, USUAL = {"MATRIX_LR": 0.0005, "EMBEDDING_LR": 0.005}, {"MATRIX_LR": 0.04, "EMBEDDING_LR": 0.6}
SEEDS, LEAST_STEPS = 2, 5


def measure(work: Work) -> None:
    """Run the study and its confirmation, each to its end."""
    stage = Stage(work.folder, work.folder.parent, work.sizes.kind)
    flops_per_s, step_flops = price(work)
    set_up(work, int(max(flops_per_s * work.sizes.shared_s, LEAST_STEPS * step_flops)))
    code = wait(stage.start("run", "--trials", str(work.sizes.shared_trials)), work.left_s / 2)
    if code:
        raise RuntimeError(f"`optimize run` ended with {code}: {stage.told()}")
    records = stage.records()
    done = [each for each in records if each.state == "COMPLETE"]
    work.sheet.add("shared_complete", len(done) / work.sizes.shared_trials, note=f"{len(done)} trials")
    gain = trials_gain(done)
    if gain is None:
        work.sheet.miss("shared_gain", "the baseline or all others did not complete")
    else:
        work.sheet.add("shared_gain", gain, note=f"{len(done) - 1} trials after the baseline, two at a time")
    confirm(work, stage)
    both = (most_at_once(each) for each in (records, stage.records(replicates_of("check"))))
    work.sheet.add("at_once", max(both))


def confirm(work: Work, stage: Stage) -> None:
    """Confirm the best trial with other seeds."""
    code = wait(stage.start("confirm", "--finalists", "1", "--seeds", str(SEEDS)), work.left_s - 5)
    lines = [line for line in stage.told().splitlines() if line.strip()]
    replicates = stage.records(replicates_of("check"))
    work.sheet.add("confirmed", code == 0, note="; ".join(line.strip() for line in lines[-6:])[:400])
    work.sheet.add("replicates", sum(each.state == "COMPLETE" for each in replicates), note=f"of {len(replicates)}")


def price(work: Work) -> tuple[float, float]:
    """Return the FLOPs that the device is charged in a second, alone, and in a step."""
    known = [work.sheet.value(kind, f"{SHALLOW}, auto") for kind in ("charged_flops_per_s", "charged_flops_per_step")]
    if known[0] and known[1]:
        return known[0], known[1]
    folder = write(work.folder / "alone", work.sizes.of(SHALLOW, TIME_BUDGET=work.sizes.direct_s))
    ran = run(folder, environment(work.sizes.kind), work.left_s / 3)
    charged = ran.number("charged_flops")
    return charged / ran.number("training_seconds"), charged / ran.number("num_steps")


def set_up(work: Work, budget: int) -> None:
    """Write the study's files."""
    sizes = work.sizes
    slots: dict[str, Value] = {"trials_per_gpu": 2} if sizes.kind == "cuda" else {"count": 2}
    write_profile(work.folder, sizes.kind, sizes.of(SHALLOW, FLOP_BUDGET=budget, **LOW), slots, 600)
    rates = {name: [low, USUAL[name], 1.5 * USUAL[name]] for name, low in LOW.items()}
    write_space(work.folder, rates, [USUAL])


def most_at_once(records: Sequence[TrialRecord]) -> int:
    """Return how many processes of trials there were at the same moment, at most."""
    spans = [span(each) for each in records if each.finished and each.seconds]
    return max((sum(begin <= moment < end for begin, end in spans) for moment, _ in spans), default=0)


def trials_gain(done: Sequence[TrialRecord]) -> float | None:
    """Return how many times sooner the others were done than if each had taken as long as the baseline, which was alone."""
    alone_s = [each.seconds or 0.0 for each in done if each.kind == BASELINE]
    others = [span(each) for each in done if each.kind != BASELINE]
    if not alone_s or not others:
        return None
    return len(others) * alone_s[0] / (max(end for _, end in others) - min(begin for begin, _ in others))


def span(record: TrialRecord) -> tuple[float, float]:
    """Return when its process began and ended."""
    assert record.finished
    end = record.finished.timestamp()
    return end - (record.seconds or 0.0), end
