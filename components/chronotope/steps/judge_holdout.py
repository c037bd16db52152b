"""Judge the compressed model and every baseline on the same later targets."""

from pathlib import Path
from typing import Any

import numpy as np

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.contracts.eventlog import Catalog, EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics.evaluate import Outcomes, evaluate
from chronotope.metrics.summary import bootstrap_interval, gains, slices, summarise
from chronotope.metrics.when import LognormalMixture, WhenScores, judge_when
from chronotope.models.baselines import baselines
from chronotope.steps.holdout import frozen_folds, judging_targets
from chronotope.steps.settings import TrainSettings

CHALLENGER = "challenger"
N_WHEN = 2_000
"""Targets on which *when* is judged."""


def judge_holdout(
    features: Path, settings: TrainSettings, run: Path, bundle: Path
) -> dict[str, Any]:
    """Metrics of all models; NDCG@10 of every target is kept for the gate.

    Returns:
        ``models`` (metrics by name), ``intervals`` (of NDCG@10 by name) and ``when``.
    """
    log, catalog = load_features(features)
    known = log.before(frozen_folds(run).holdout.train_end_s)
    targets = judging_targets(log, settings, run)
    challenger = OnnxRecommender.load(bundle)
    outcomes = {
        rival.name: _outcomes(rival.fit(known, catalog), log, targets, catalog)
        for rival in baselines()
    }
    outcomes[CHALLENGER] = _outcomes(challenger, log, targets, catalog)
    values = {name: gains(found.rank, 10) for name, found in outcomes.items()}
    users = log.user_idx[targets]
    masks = {f"slice.{name}": of for name, of in slices(outcomes[CHALLENGER]).items()}
    kept: dict[str, Any] = {"user": users, **values, **masks}
    np.savez(run / "holdout.npz", **kept)
    return {
        "models": {name: _finite(summarise(found)) for name, found in outcomes.items()},
        "intervals": {name: _interval(of, users) for name, of in values.items()},
        "when": _when(challenger, log, targets),
    }


def _outcomes(model: Recommender, log: EventLog, targets: Int64, catalog: Catalog) -> Outcomes:
    return evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)


def _interval(values: Float64, users: Any) -> tuple[float, float]:
    found = bootstrap_interval(values, users, n=500)
    return found.low, found.high


def _when(model: OnnxRecommender, log: EventLog, targets: Int64) -> dict[str, Any]:
    """How well the next event's time is told, in hours after the last one."""
    some = targets[:: max(1, len(targets) // N_WHEN)]
    when, hours = [], []
    for at in np.array_split(some, max(1, len(some) // 256)):
        queries = queries_at(log, at, history_len=model.history_len, time_given=False)
        when.append(model.answer(queries).when)
        hours.append((log.occurred_s[at] - queries.occurred_s[:, -1]) / 3600.0)
    log_weight, mean, log_scale = np.concatenate(when).astype(np.float64).transpose(1, 0, 2)
    found = judge_when(
        LognormalMixture(log_weight, mean, np.exp(log_scale)),
        np.maximum(np.concatenate(hours), 1 / 3600),
    )
    return _plain(found)


def _plain(found: WhenScores) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name in found.__dataclass_fields__
        for value in [getattr(found, name)]
    }


def _finite(summary: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in summary.items() if np.isfinite(value)}
