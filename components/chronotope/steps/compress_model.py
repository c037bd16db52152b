"""Compress the trained model and keep the smallest bundle that is as good."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.compress import Source, compress
from chronotope.contracts.eventlog import Catalog, EventLog
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics.evaluate import evaluate
from chronotope.metrics.summary import gains
from chronotope.models.batch import Batch
from chronotope.models.priors import Priors
from chronotope.steps.holdout import choosing_targets, frozen_folds
from chronotope.steps.settings import TrainSettings
from chronotope.training.prequential import RoundBatches, make_rounds
from chronotope.training.recommender import ChronotopeRecommender, fine_tuned

N_PROBES = 64
"""Queries whose answers by the original travel with a run, for the blessing."""


def compress_model(
    features: Path, settings: TrainSettings, run: Path, trained: Path, data_version: str
) -> dict[str, Any]:
    """Prune, distil, quantise, export and choose.

    Returns:
        ``bundle`` (the chosen folder) and ``candidates`` (a row each).
    """
    log, catalog = load_features(features)
    model = ChronotopeRecommender.load(trained, catalog)
    targets = choosing_targets(log, settings, run)
    known = log.before(frozen_folds(run).holdout.train_end_s)
    queries = queries_at(log, targets[:N_PROBES], history_len=model.history_len, time_given=True)
    np.savez(run / "probes.npz", positions=targets[:N_PROBES], scores=model.scores(queries))

    def ndcg(candidate: OnnxRecommender) -> float:
        outcomes = evaluate(candidate, log, targets, n_items=catalog.n_items, time_given=True)
        return float(gains(outcomes.rank, 10).mean())

    about = {
        "name": model.name,
        "dataset": run.parent.name,
        "data_version": data_version,
        "context": model.model.context,
        "trained_until_s": int(known.occurred_s.max()),
    }
    result = compress(
        Source(model.net, model.priors, catalog, about),
        evaluate=ndcg,
        queries=queries,
        out=run / "candidates",
        config=settings.compression,
        fine_tune=lambda net: fine_tuned(net, _lately(model, known, catalog)),
        examples=_Examples(_lately(model, known, catalog)),
    )
    return {"bundle": str(result.chosen.folder), "candidates": result.rows()}


def _lately(model: ChronotopeRecommender, known: EventLog, catalog: Catalog) -> RoundBatches:
    """Batches of the last stretch of the training time."""
    _, later = make_rounds(known, catalog, model.training)
    return RoundBatches(known, later, model.training, reads=model.model, train=True)


class _Examples:
    """Queries and priors alone, as often as asked for."""

    def __init__(self, batches: RoundBatches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Batch, Priors]]:
        """Yield (queries, priors) of one pass."""
        return ((example.batch, example.priors) for example in self.batches)
