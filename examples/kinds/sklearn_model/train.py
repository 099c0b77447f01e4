"""A gradient-boosted classifier of scikit-learn; its settings are flags, or what the call says."""

import argparse
import json

from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import cross_val_score


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--n_estimators", type=int, default=20)
    p.add_argument("--max_depth", type=int, default=3)
    p.add_argument("--learning_rate", type=float, default=0.1)
    p.add_argument("--subsample", type=float, default=1.0)
    p.add_argument("--random_state", type=int, default=0)
    args = p.parse_args()
    x, y = make_classification(n_samples=400, n_features=12, n_informative=6, random_state=0)
    model = GradientBoostingClassifier(**vars(args))
    scores = cross_val_score(model, x, y, cv=3)
    print(json.dumps({"accuracy": round(scores.mean(), 6), "std": round(scores.std(), 6)}))


if __name__ == "__main__":
    main()
