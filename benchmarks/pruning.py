"""What pruning saves and what it loses, on recorded curves: python benchmarks/pruning.py [--orders 20] [--smoke | --variants]

Recorded trials (`data/cpu_curves.csv.gz`; all of them ran to their end) are played back in random orders through the
product: a study with its database, loop and pruner, and an executor that lets the recorded curve pass instead of training. The
baseline comes first, as always; where a trial is cut, the clock stops for it. The figures of all orders together:

    saved_percent          of the training that all trials take without pruning; at least 15. All have the same budget of work
                           and count alike; saved_seconds_percent weighs them by the seconds that they took when recorded
    false_kills_percent    trials cut, of those in the best quarter of the table; at most 2
    at_most_percent        the same for other trials of such a space, with a confidence of 95 %
    best_lost              best val_bpb of those not cut minus the best of all: mean of the orders, and the worst

Exit 1 if a bound is missed. The bounds are for the default pruner; --pruner halving measures the other one. The orders are not
independent, they share the trials; the trials are. So each of the best quarter has one share, of the orders in which it was
cut, and at_most_percent is Hoeffding's bound for the mean of independent numbers between 0 and 1 (1963, theorem 1): from n trials
it cannot be below 1 - 0.05 ** (1 / n), whatever was measured.

For information, and not in the smoke run: some orders with four trials at a time; some with noise on every loss (0.1) and on
every value (0.03), as a budget of seconds on a busy machine has it; and each of the table's studies alone, in the order in which it
was recorded. The last of these is what a user of that sampler gets, but that pruning would have changed its later proposals.

--variants: with other constants of the pruner, and in orders that nobody would choose: the best first, the worst first, and by
the value of each parameter, up and down. It judges nothing. Recording the table again: `data/README.md`.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.curves import CURVES, Recorded, read, record, replay
from optimize.search import pruner as regression
from optimize.search.pruner import summarize_pruning
from optimize.search.pruners import PRUNERS
from optimize.trial import Metric, TrialStatus
from storage import TrialRecord

MIN_SAVED, MAX_FALSE_KILLS, CONFIDENCE = 0.15, 0.02, 0.95
SMOKE_ORDERS, FEW_ORDERS = 2, 5
REGRESSION = "regression"
VARIANTS = {
    "IN_A_ROW": (1, 3),
    "CAUTION": (0.0, 2.5),
    "NEAREST": (30, 100, 10_000),
    "FINISHED": (8, 32),
    "DEVIATIONS": (0.0, 3.0),
}
LOSS_NOISE, VALUE_NOISE = 0.1, 0.03  # a busy neighbour costs 0.03 to 0.3 of val_bpb


@dataclass(frozen=True)
class Played:
    """One order: what ran, by the configuration's key."""

    trials: Sequence[Recorded]
    records: Sequence[TrialRecord]  # in the order of `trials`

    @property
    def cut(self) -> dict[int, TrialRecord]:
        return {i: each for i, each in enumerate(self.records) if each.status == TrialStatus.HOPELESS}

    @property
    def saved(self) -> float:
        return mean(1 - share for share in self._shares)

    @property
    def saved_seconds(self) -> float:
        took = sum(share * trial.seconds for share, trial in zip(self._shares, self.trials, strict=True))
        return 1 - took / sum(trial.seconds for trial in self.trials)

    @property
    def _shares(self) -> list[float]:
        """Of each trial's training, how much took place."""
        return [(each.seconds or 0.0) / trial.seconds for each, trial in zip(self.records, self.trials, strict=True)]

    @property
    def top(self) -> set[int]:
        return best_quarter(self.trials)

    @property
    def best_lost(self) -> float:
        kept = (each.value for each in self.records if each.value is not None)
        return min(kept) - min(trial.value for trial in self.trials)


def best_quarter(trials: Sequence[Recorded]) -> set[int]:
    ranked = sorted(range(len(trials)), key=lambda i: trials[i].value)
    return set(ranked[: math.ceil(len(trials) / 4)])


def play(trials: Sequence[Recorded], seed: int, pruner: str, slots: int = 1) -> Played:
    with tempfile.TemporaryDirectory() as folder:
        records = replay(trials, Path(folder), seed, slots, pruner)
    assert len(records) == len(trials), f"{len(records)} of {len(trials)} trials were played"
    assert not any(each.value not in (None, t.value) for each, t in zip(records, trials, strict=True))
    return Played(trials, records)


def shuffled(trials: Sequence[Recorded], seed: int) -> list[Recorded]:
    """The baseline, and all others in an order of this seed."""
    first, *rest = sorted(trials, key=lambda trial: trial.kind != "baseline")
    random.Random(seed).shuffle(rest)
    return [first, *rest]


def noisy(trials: Sequence[Recorded], seed: int) -> list[Recorded]:
    noise = random.Random(seed)
    return [
        replace(
            trial,
            value=trial.value + noise.gauss(0, VALUE_NOISE),
            curve=tuple((fraction, loss + noise.gauss(0, LOSS_NOISE)) for fraction, loss in trial.curve),
        )
        for trial in trials
    ]


def hoeffding(shares: Sequence[float]) -> float:
    """The upper bound of the mean of such independent numbers between 0 and 1."""
    found, n, low, high = mean(shares), len(shares), mean(shares), 1.0
    for _ in range(50):
        bound = (low + high) / 2
        distance = found * math.log(found / bound) if found else 0.0
        distance += (1 - found) * math.log((1 - found) / (1 - bound))
        low, high = (bound, high) if n * distance < -math.log(1 - CONFIDENCE) else (low, bound)
    return high


def shares_cut(plays: Sequence[Played]) -> dict[str, float]:
    """Of each trial of the best quarter, in how many of the orders it was cut."""
    times = Counter(play.trials[i].key for play in plays for i in play.top & play.cut.keys())
    return {play.trials[i].key: times[play.trials[i].key] / len(plays) for play in plays[:1] for i in play.top}


def show(name: str, plays: Sequence[Played]) -> None:
    kills = sum(len(play.top & play.cut.keys()) for play in plays)
    of = sum(len(play.top) for play in plays)
    lost = [play.best_lost for play in plays]
    print(
        f"{name:<42} saved {mean(play.saved for play in plays):6.1%}  cut {mean(len(play.cut) for play in plays):5.1f} of "
        f"{len(plays[0].trials)}  false kills {kills}/{of} = {kills / of:.2%}  best lost {mean(lost):.4f}, at most {max(lost):.4f}",
        flush=True,
    )


def show_percents(plays: Sequence[Played]) -> None:
    """Where trials are cut. What a later percent cuts, an earlier one had let pass."""
    print(f"{'percent':>9}{'cut an order':>14}{'saved':>12}{'false kills':>13}")
    whole = sum(len(play.trials) for play in plays)
    cuts = [(play, i, each, max(each.curve)) for play in plays for i, each in play.cut.items()]
    for percent in sorted({percent for *_, percent in cuts}):
        here = [(play, i, each) for play, i, each, reached in cuts if reached == percent]
        saved = sum(1 - (each.seconds or 0.0) / play.trials[i].seconds for play, i, each in here) / whole
        wrong = sum(i in play.top for play, i, _ in here)
        print(f"{percent:>9}{len(here) / len(plays):>14.1f}{saved:>12.1%}{wrong:>13}")


def show_spared(plays: Sequence[Played]) -> None:
    told = [summarize_pruning(play.records, Metric()) for play in plays]
    ran, missed = sum(cuts.ran_on for cuts in told), sum(cuts.missed for cuts in told)
    print(
        f"condemned and spared: {ran} in {len(plays)} orders, {missed} of them in the top quarter as the study sees it"
    )


def measure(trials: Sequence[Recorded], orders: int, smoke: bool, pruner: str) -> int:
    samplers = Counter(trial.sampler for trial in trials)
    print(f"{len(trials)} trials ({', '.join(f'{n} {s}' for s, n in samplers.items())}), {orders} orders")
    plays = [play(shuffled(trials, seed), seed, pruner) for seed in range(orders)]
    show(f"{orders} random orders", plays)
    show_percents(plays)
    show_spared(plays)
    if not smoke:
        few = range(min(orders, FEW_ORDERS))
        show(
            f"{len(few)} orders, four trials at a time", [play(shuffled(trials, seed), seed, pruner, 4) for seed in few]
        )
        show(
            f"{len(few)} orders, with noise", [play(noisy(shuffled(trials, seed), seed), seed, pruner) for seed in few]
        )
        for study in dict.fromkeys(trial.study for trial in trials):
            show(f"study {study}, as it was recorded", [play([t for t in trials if t.study == study], 0, pruner)])
    shares = list(shares_cut(plays).values())
    saved, wrong = mean(play.saved for play in plays), mean(shares)
    missed = [f"saved {saved:.1%} < {MIN_SAVED:.0%}"] * (saved < MIN_SAVED)
    missed += [f"false kills {wrong:.2%} > {MAX_FALSE_KILLS:.0%}"] * (wrong > MAX_FALSE_KILLS)
    missed = missed if pruner == REGRESSION else []
    print(f"missed: {'; '.join(missed)}" if missed else f"{sum(s > 0 for s in shares)} trials were ever cut falsely")
    lost, seconds = [play.best_lost for play in plays], mean(play.saved_seconds for play in plays)
    print(
        f"saved_percent={100 * saved:.1f} saved_seconds_percent={100 * seconds:.1f} "
        f"false_kills_percent={100 * wrong:.2f} at_most_percent={100 * hoeffding(shares):.1f} "
        f"best_lost={mean(lost):.4f} best_lost_worst={max(lost):.4f} trials={len(trials)} top={len(shares)} orders={orders}"
    )
    return 1 if missed else 0


def show_variants(trials: Sequence[Recorded], orders: int) -> None:
    for name, values in VARIANTS.items():
        usual = getattr(regression, name)
        for value in values:
            setattr(regression, name, value)
            plays = [play(shuffled(trials, seed), seed, REGRESSION) for seed in range(orders)]
            show(f"{name} = {value} instead of {usual}", plays)
        setattr(regression, name, usual)
    for name, sign in (("the best first", 1), ("the worst first", -1)):
        ordered = [sorted(shuffled(trials, seed), key=lambda trial: sign * trial.value) for seed in range(2)]
        show(name, [play(each, seed, REGRESSION) for seed, each in enumerate(ordered)])
    for name in trials[0].params:
        ordered = [sorted(shuffled(trials, 0), key=lambda trial: trial.params[name]) for _ in range(2)]
        ordered[1].reverse()
        show(f"by {name}, up and down", [play(each, seed, REGRESSION) for seed, each in enumerate(ordered)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--smoke", action="store_true", help="few orders, the same bounds")
    parser.add_argument("--variants", action="store_true", help="other constants, other orders")
    parser.add_argument("--pruner", choices=PRUNERS, default=REGRESSION, help="the bounds are the regression's")
    parser.add_argument("--table", type=Path, default=CURVES)
    recording = parser.add_subparsers(dest="command").add_parser("record")
    recording.add_argument("runs", type=Path)
    recording.add_argument("studies", nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "record":
        record(arguments.runs, arguments.studies, arguments.table)
        return 0
    if arguments.variants:
        show_variants(read(arguments.table), arguments.orders)
        return 0
    return measure(
        read(arguments.table), SMOKE_ORDERS if arguments.smoke else arguments.orders, arguments.smoke, arguments.pruner
    )


if __name__ == "__main__":
    sys.exit(main())
