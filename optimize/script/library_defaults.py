"""Names the settings that a script leaves to a library: what could be written into a call that has none of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from optimize.errors import RenderError
from optimize.script.source_names import read_names

# What is tuned first in each, with the library's own default: documentation of scikit-learn 1.9, XGBoost 3, LightGBM 4,
# CatBoost 1.2, torch 2.13 and Keras 3.
_DEFAULTS = (
    (r"XGB\w*", "n_estimators=100, max_depth=6, learning_rate=0.3"),
    (r"LGBM\w*", "n_estimators=100, num_leaves=31, learning_rate=0.1"),
    (r"CatBoost\w*", "iterations=1000, depth=6, learning_rate=0.03"),
    (r"HistGradientBoosting\w+", "learning_rate=0.1, max_leaf_nodes=31"),
    (r"GradientBoosting\w+", "n_estimators=100, max_depth=3, learning_rate=0.1"),
    (r"(?:RandomForest|ExtraTrees)\w+", "n_estimators=100, min_samples_leaf=1"),
    (r"(?:DecisionTree|ExtraTree)\w+", "min_samples_leaf=1"),
    (r"MLP(?:Classifier|Regressor)", "alpha=0.0001, learning_rate_init=0.001"),
    (r"KNeighbors\w+", "n_neighbors=5"),
    (r"(?:Linear)?SV[CR]|LogisticRegression", "C=1.0"),
    (r"Ridge|Lasso|ElasticNet", "alpha=1.0"),
    (r"MultinomialNB|BernoulliNB", "alpha=1.0"),
    (r"Adam|AdamW|NAdam|RAdam|Adamax|SGD|RMSprop", "lr=0.001"),
)


def left_to_a_library(files: Mapping[str, str]) -> str:
    """Return a sentence on the first call whose settings all have the library's defaults; "" if no such library is known."""
    for file, text in files.items():
        try:
            calls = read_names(text, file).calls() if file.endswith(".py") else ()
        except RenderError:
            continue
        for call, _ in calls:
            name = ast.unparse(call.func).rpartition(".")[2]
            for pattern, settings in _DEFAULTS:
                if re.fullmatch(pattern, name):
                    where = f"Line {call.lineno} of {file} leaves them to {name}"
                    return f"{where}: write what may vary there, {name}(..., {settings})."
    return ""
