"""Names the settings that a script leaves to a library: what could be written into a call that has none of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from optimize.errors import RenderError
from optimize.script.source_names import read_names

# What is tuned first in each, with the library's own default: documentation of scikit-learn 1.9, XGBoost 3, LightGBM 4,
# CatBoost 1.2 and torch 2.13.
_DEFAULTS = (
    (r"XGB\w*", "n_estimators=100, max_depth=6, learning_rate=0.3"),
    (r"LGBM\w*", "n_estimators=100, num_leaves=31, learning_rate=0.1"),
    (r"CatBoost\w*", "iterations=1000, depth=6"),
    (r"HistGradientBoosting\w+", "learning_rate=0.1, max_leaf_nodes=31"),
    (r"GradientBoosting\w+", "n_estimators=100, max_depth=3, learning_rate=0.1"),
    (r"(?:RandomForest|ExtraTrees)\w+", "n_estimators=100, min_samples_leaf=1"),
    (r"(?:DecisionTree|ExtraTree)\w+", "min_samples_leaf=1"),
    (r"MLP(?:Classifier|Regressor)", "alpha=0.0001, learning_rate_init=0.001"),
    (r"KNeighbors\w+", "n_neighbors=5"),
    (r"(?:Linear)?SV[CR]|LogisticRegression", "C=1.0"),
    (r"Ridge|Lasso|ElasticNet", "alpha=1.0"),
    (r"MultinomialNB|BernoulliNB", "alpha=1.0"),
    (r"torch\.optim\.(?:\w+\.)*(?:Adam|AdamW|RAdam|SGD)", "lr=0.001"),
)


def left_to_a_library(files: Mapping[str, str]) -> str:
    """Return a sentence on the first call whose settings all have the library's defaults; "" if no such library is known."""
    for file, text in files.items():
        if not file.endswith(".py"):
            continue
        try:
            names = read_names(text, file)
        except RenderError:
            continue
        for call, _ in names.calls():
            called = names.qualified(call.func)
            name = called.rpartition(".")[2]
            settings = next(
                (given for of, given in _DEFAULTS if re.fullmatch(of, called) or re.fullmatch(of, name)), ""
            )
            if settings:
                where = f"Line {call.lineno} of {file} leaves them to {name}"
                return f"{where}: write what may vary there, {name}(..., {settings})."
    return ""
