"""Rivals: isolation forest of scikit-learn, ECOD of PyOD, half-space trees of river.

PyOD and river are not among the project's packages. Install them into a folder of their own:

    pip install --no-deps --target build/rivals pyod==3.6.7 river==0.26.1 numba llvmlite
    PYTHONPATH=build/rivals python -m benchmarks.anomalies ...
"""

import importlib.util
from collections.abc import Callable
from typing import Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

from chronotope.contracts.event_log import Float32, Float64

Rival = Callable[[Float32, Float32], Float64]
"""Fits on training features and scores test features, shape (n_test,)."""


def isolation_forest(train: Float32, test: Float32) -> Float64:
    """Isolation forest with the library's settings."""
    forest = IsolationForest(n_estimators=100, random_state=0).fit(train)
    return -np.asarray(forest.score_samples(test), dtype=np.float64)


def ecod(train: Float32, test: Float32) -> Float64:
    """Empirical cumulative distribution of each feature."""
    from pyod.models.ecod import ECOD

    detector = ECOD().fit(train.astype(np.float64))
    return np.asarray(detector.decision_function(test.astype(np.float64)), dtype=np.float64)


def half_space_trees(train: Float32, test: Float32) -> Float64:
    """Half-space trees over features scaled to [0, 1]; they learn on through the test week."""
    from river.anomaly import HalfSpaceTrees

    low, high = train.min(axis=0), train.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    trees = HalfSpaceTrees(n_trees=25, height=8, window_size=1000, seed=0)
    names = range(train.shape[1])
    scores = np.zeros(len(test))
    for row in np.clip((train - low) / span, 0, 1).tolist():
        trees.learn_one(dict(zip(names, row, strict=True)))
    for position, row in enumerate(np.clip((test - low) / span, 0, 1).tolist()):
        features = dict(zip(names, row, strict=True))
        scores[position] = trees.score_one(features)
        trees.learn_one(features)
    return scores


RIVALS: Final[dict[str, Rival]] = {
    "isolation_forest": isolation_forest,
    "ecod": ecod,
    "half_space_trees": half_space_trees,
}

_PACKAGES: Final = {"ecod": "pyod", "half_space_trees": "river"}


def is_installed(name: str) -> bool:
    """Whether the package of a rival can be imported."""
    package = _PACKAGES.get(name)
    return package is None or importlib.util.find_spec(package) is not None


def handbook_trees(train: Float32, is_fraud: Float64, test: Float32) -> Float64:
    """Boosted trees with the library's settings, as the handbook's XGBoost."""
    trees = HistGradientBoostingClassifier(random_state=0).fit(train, is_fraud)
    return np.asarray(trees.decision_function(test), dtype=np.float64)
