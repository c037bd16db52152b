"""Small city and training of some seconds, for smoke tests; the results have no meaning."""

from typing import Any, Final

from chronotope.datasets.city import CityConfig

CITY: Final = CityConfig(n_events=5_000, n_users=60, n_items=40, days=60, seed=3)

TRAINING: Final[dict[str, Any]] = {
    "folds": {"k": 1},
    "study": {"n_trials": 1},
    "backbones": ["none"],
    "model": {"history_len": 16},
    "training": {"max_epochs": 1, "n_rounds": 2},
    "compression": {
        "variants": ["int8_tables"], "pruned_units": 0.0, "student": False, "n_runs": 10,
        "max_latency_ms": 10_000,
    },
    "gate": {"max_p_value": 0.5, "max_slice_drop": 0.2},
    "bless": {"max_latency_ms": 10_000},
    "max_fold_targets": 100,
    "max_holdout_targets": 300,
}  # fmt: skip
