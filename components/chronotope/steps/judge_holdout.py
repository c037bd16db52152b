"""Train once more on everything before the holdout, and judge all models on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.compression.export import export_onnx
from chronotope.contracts.eventlog import Catalog, EventLog, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics.evaluate import Outcomes, evaluate
from chronotope.metrics.summary import gains, slices, summarise
from chronotope.models.baselines import FirstOrderMarkov, Popularity, PopularityLastDays, UserCounts
from chronotope.splitting.folds import load_folds
from chronotope.splitting.targets import targets_between
from chronotope.steps.settings import TrainSettings
from chronotope.steps.tune_parameters import configs
from chronotope.training.recommender import ChronotopeRecommender

N_PROBES = 64
"""Queries whose answers travel with a bundle, for the blessing."""


def train_final(
    features: Path, settings: TrainSettings, run: Path, params: dict[str, Any], version: str
) -> Path:
    """Train on all events before the holdout and write the bundle.

    Returns:
        Folder of the bundle; beside it ``probes.npz`` holds queries and their scores.
    """
    log, catalog = load_features(features)
    holdout = load_folds(run / "folds.json").holdout
    model_config, training_config = configs(params, settings)
    model = ChronotopeRecommender(
        model_config, training_config, folder=run / "checkpoints", progress=True
    )
    model.fit(log.before(holdout.train_end_s), catalog)
    bundle = run / "bundle"
    bundle.mkdir(parents=True, exist_ok=True)
    export_onnx(model.net, model.priors, bundle / MODEL)
    write_bundle(
        bundle,
        catalog,
        name=model.name,
        dataset=run.parent.name,
        data_version=version,
        history_len=model.model.history_len,
        trained_until_s=int(holdout.train_end_s),
    )
    _keep_probes(model, log, _holdout_targets(log, settings, run)[:N_PROBES], run)
    return bundle


def judge_holdout(
    model: Recommender, features: Path, settings: TrainSettings, run: Path
) -> dict[str, dict[str, float]]:
    """Judge a model and every baseline on the same later targets.

    Per-target values are kept in ``holdout.npz`` for the gate.

    Returns:
        Metrics by model, the judged model under ``challenger``.
    """
    log, catalog = load_features(features)
    holdout = load_folds(run / "folds.json").holdout
    known = log.before(holdout.train_end_s)
    targets = _holdout_targets(log, settings, run)
    rivals: list[Recommender] = [
        Popularity(),
        PopularityLastDays(),
        UserCounts(),
        FirstOrderMarkov(),
    ]
    outcomes = {
        rival.name: _outcomes(rival.fit(known, catalog), log, targets, catalog) for rival in rivals
    }
    outcomes["challenger"] = _outcomes(model, log, targets, catalog)
    values = {name: gains(found.rank, 10) for name, found in outcomes.items()}
    masks = {f"slice.{k}": v for k, v in slices(outcomes["challenger"]).items()}
    kept: dict[str, Any] = {"user": log.user_idx[targets], **values, **masks}
    np.savez(run / "holdout.npz", **kept)
    found = {name: _finite(summarise(of)) for name, of in outcomes.items()}
    (run / "metrics.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found


def _holdout_targets(log: EventLog, settings: TrainSettings, run: Path) -> Int64:
    holdout = load_folds(run / "folds.json").holdout
    return targets_between(
        log, holdout.test_start_s, holdout.test_end_s, max_targets=settings.max_holdout_targets
    )


def _outcomes(model: Recommender, log: EventLog, targets: Int64, catalog: Catalog) -> Outcomes:
    return evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)


def _keep_probes(model: ChronotopeRecommender, log: EventLog, at: Int64, run: Path) -> None:
    queries = queries_at(log, at, history_len=model.history_len, time_given=True)
    np.savez(run / "probes.npz", positions=at, scores=model.scores(queries))


def _finite(summary: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in summary.items() if np.isfinite(value)}
