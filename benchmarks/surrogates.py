"""Two models of a GPU that trains autoresearch, both fitted to published trials: the benchmark's own, and one of another family.

The benchmark is a folder with `autoresearch_surrogate.py`, `surrogate.npz`, `trials.parquet`, `space.toml` and a README that says
how far it can be trusted: differences under 0.002 mean little, and a result that matters is judged by both models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strategies import Evaluated, Params  # isort: skip  (sets threads before numpy)
import numpy as np

FLOOR = 0.955  # below every val_bpb; both models fit log(val_bpb - FLOOR)


def open_campaigns(bench: Path, model: str | Trees) -> Callable[[int], Callable[[Params], Evaluated]]:
    """seed -> one campaign on one simulated machine, as a way to evaluate parameters. `model`: "surrogate", "trees" or trees."""
    surrogate = module_of(bench).AutoresearchSurrogate.load()
    if model != "surrogate":
        surrogate.mean_val_bpb = (Trees(bench) if isinstance(model, str) else model).mean_val_bpb

    def campaign(seed: int) -> Callable[[Params], Evaluated]:
        opened = surrogate.campaign(np.random.default_rng(seed))

        def evaluate(params: Params) -> Evaluated:
            result = opened.evaluate(params)
            return Evaluated(params, result.val_bpb, result.gpu_seconds)

        return evaluate

    return campaign


def module_of(bench: Path) -> Any:
    """Return the benchmark's own module."""
    if str(bench) not in sys.path:
        sys.path.insert(0, str(bench))
    import autoresearch_surrogate

    return autoresearch_surrogate


def read_trials(bench: Path) -> Any:
    """Return the published trials that completed, as a DataFrame."""
    import pandas as pd

    trials = pd.read_parquet(bench / "trials.parquet")
    return trials[
        trials.success & trials.val_bpb.notna() & trials.WINDOW_PATTERN.isin(module_of(bench).WINDOW_PATTERNS)
    ]


class Trees:
    """Gradient-boosted trees on the published trials that completed: the mean of four, which differ in their seed."""

    def __init__(self, bench: Path, seed: str = "") -> None:
        """Fit the trees, with `seed` to the campaigns of that seed only, one of each method."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        module, trials = module_of(bench), read_trials(bench)
        trials = trials[trials.seed == seed] if seed else trials
        self._features = module.features
        rows = np.array([module.features(row) for row in trials.to_dict("records")])
        target = np.log(trials.val_bpb.to_numpy() - FLOOR)
        shape = {
            "max_iter": 600,
            "learning_rate": 0.05,
            "max_leaf_nodes": 24,
            "min_samples_leaf": 8,
            "max_features": 0.5,
        }
        self._models = [
            HistGradientBoostingRegressor(**shape, l2_regularization=1.0, early_stopping=False, random_state=seed).fit(
                rows, target
            )
            for seed in range(4)
        ]
        self._known: dict[tuple[object, ...], float] = {}

    def mean_val_bpb(self, params: Params) -> float:
        key = tuple(params.values())
        if key not in self._known:
            row = self._features(params)[None]
            self._known[key] = FLOOR + float(np.exp(np.mean([model.predict(row)[0] for model in self._models])))
        return self._known[key]
