"""Judge models on many targets as tasks of an engine, equal to judging them at once."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.metrics.evaluate import BATCH, EvaluationResult, evaluate, first_target_s
from chronotope.models.baselines import baselines
from chronotope.pipelines.process_cache import cached_bundle, cached_features
from chronotope.runtime.engine import Engine

N_BLOCK: Final = 8 * BATCH
"""Targets a task: whole batches, so that each is scored beside the same others."""


@dataclass(frozen=True, slots=True)
class BaselineTask:
    """Fits a baseline, by its place in ``baselines()``, and judges it; holds paths, not data.

    Attributes:
        features: Feature snapshot, absolute.
        until_s: What lies before this is known, UTC seconds.
        targets: Positions in the log.
    """

    features: Path
    until_s: int
    targets: Int64

    def __call__(self, at: int) -> tuple[str, EvaluationResult]:
        """Its name and how it does."""
        log, catalog = cached_features(self.features)
        rival = baselines()[at].fit(log.before(self.until_s), catalog)
        found = evaluate(rival, log, self.targets, n_items=catalog.n_items, time_given=True)
        return rival.name, found


@dataclass(frozen=True, slots=True)
class BundleTask:
    """Judges a bundle on some targets; holds paths, not data.

    Attributes:
        features: Feature snapshot, absolute.
        bundle: Bundle, absolute.
        cold_before_s: Moment before which items had to be seen, UTC seconds.
    """

    features: Path
    bundle: Path
    cold_before_s: int

    def __call__(self, targets: Int64) -> EvaluationResult:
        """How it does on them."""
        log, catalog = cached_features(self.features)
        return evaluate(
            cached_bundle(self.bundle),
            log,
            targets,
            n_items=catalog.n_items,
            time_given=True,
            cold_before_s=self.cold_before_s,
        )


def evaluate_baselines(
    engine: Engine, features: Path, until_s: int, targets: Int64
) -> dict[str, EvaluationResult]:
    """Every baseline, a task each, in the order of ``baselines()``.

    Args:
        engine: Does the tasks.
        features: Feature snapshot.
        until_s: What lies before this is known, UTC seconds.
        targets: Positions in the log.
    """
    judge = BaselineTask(features.resolve(), until_s, targets)
    return dict(engine.map(judge, range(len(baselines()))))


def evaluate_bundle(
    engine: Engine, features: Path, bundle: Path, log: EventLog, targets: Int64
) -> EvaluationResult:
    """A bundle, a task for each block of targets: what ``evaluate`` finds of all of them.

    Args:
        engine: Does the tasks.
        features: Feature snapshot.
        bundle: Folder of the bundle.
        log: What the snapshot holds.
        targets: Positions in the log.
    """
    judge = BundleTask(features.resolve(), bundle.resolve(), first_target_s(log, targets))
    n_history = (log.basket_start() - log.user_start())[targets]
    order = np.argsort(n_history, kind="stable")  # as ``evaluate`` makes its batches
    n_blocks = max(1, -(-len(order) // N_BLOCK))
    blocks = [targets[order[at * N_BLOCK : (at + 1) * N_BLOCK]] for at in range(n_blocks)]
    return _put_back(list(engine.map(judge, blocks)), order)


def _put_back(parts: list[EvaluationResult], order: Int64) -> EvaluationResult:
    """Outcomes of blocks, in the order in which the targets were given."""
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    names = [field.name for field in fields(EvaluationResult) if field.name != "coverage"]
    whole: dict[str, Any] = {
        name: np.concatenate([getattr(of, name) for of in parts])[back] for name in names
    }
    return EvaluationResult(**whole)
