"""The served model and the frozen first champion on the same targets of a round."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from benchmarks.replay.traffic import Traffic
from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.open_bundle import open_bundle
from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import NoiseConfig, filter_noise
from chronotope.metrics import (
    EvaluationResult,
    evaluate,
    ndcg,
    paired_difference,
    summarise_metrics,
)
from chronotope.splitting.targets import targets_between

METRICS = ("acc_1", "acc_10", "ndcg_10", "mrr", "return_acc_10", "discovery_acc_10")


@dataclass(frozen=True)
class Judge:
    """Evaluator of bundles on the whole traffic.

    Attributes:
        log, catalog: The whole dataset; a target is predicted from the events before it.
    """

    log: EventLog
    catalog: Catalog

    @classmethod
    def over(cls, traffic: Traffic, out: Path) -> Self:
        """Build the features of the whole traffic, once; noise is removed as in training."""
        keep, _ = filter_noise(traffic.rows, NoiseConfig())
        config = FeaturesConfig(items_are_places=traffic.spec.items_are_places)
        rows = traffic.rows.filter(pa.array(keep))
        built = build_features(rows, None, config=config, out=out, data_version="whole")
        return cls(*load_features(built.path))

    def targets(self, start_s: int, end_s: int) -> Int64:
        """Events of a time interval whose user has a history."""
        return targets_between(self.log, start_s, end_s)

    def outcomes(self, bundle: Path, targets: Int64) -> EvaluationResult:
        """Ranks by a bundle, with live histories and given request times."""
        model = RemappedRecommender(open_bundle(bundle), read_vocabulary(bundle), self.catalog)
        n_items = self.catalog.n_items
        return evaluate(model, self.log, targets, n_items=n_items, time_given=True)


def compared(served: EvaluationResult, frozen: EvaluationResult) -> dict[str, Any]:
    """Metrics of both models, and the paired difference of NDCG@10 with its interval over users."""
    told = {"served": summarise_metrics(served), "frozen": summarise_metrics(frozen)}
    gain = paired_difference(ndcg(served.rank, 10), ndcg(frozen.rank, 10), served.user)
    return {
        "n_targets": len(served),
        **{name: {of: values[of] for of in METRICS} for name, values in told.items()},
        "gain": {"estimate": gain.estimate, "low": gain.low, "high": gain.high},
    }


def keep(path: Path, outcomes: EvaluationResult) -> None:
    """Write outcomes to a file."""
    np.savez(path, **{f.name: getattr(outcomes, f.name) for f in fields(EvaluationResult)})


def kept(paths: Sequence[Path]) -> EvaluationResult:
    """Outcomes of several files, one after the other."""
    found = [dict(np.load(path)) for path in paths]
    joined: dict[str, Any] = {
        f.name: np.concatenate([np.atleast_1d(each[f.name]) for each in found])
        for f in fields(EvaluationResult)
        if f.name != "coverage"
    }
    return EvaluationResult(**joined)
