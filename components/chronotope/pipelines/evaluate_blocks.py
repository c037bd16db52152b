"""Evaluation of models in blocks of targets, as tasks of an engine.

The result equals that of one call of ``evaluate`` on all targets, to the last bit.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.metrics import EvaluationResult, evaluate, first_target_s, has_baskets
from chronotope.metrics.evaluator import BATCH_SIZE
from chronotope.models.baselines import baselines
from chronotope.pipelines.process_cache import cached_bundle, cached_features
from chronotope.runtime.engine import Engine
from chronotope.runtime.plugins.installed_recommenders import recommender_errors

N_BLOCK: Final = 8 * BATCH_SIZE
"""Targets per task: whole batches, so that each target shares its batch with the same others."""


@dataclass(frozen=True, slots=True)
class BaselineTask:
    """Fit and evaluation of one baseline; sent to other processes, so it holds paths, no data.

    Attributes:
        features: Feature snapshot, absolute.
        until_s: End of the training events, UTC seconds.
        targets: Positions in the log, shape (n_targets,).
        has_baskets: Whether the log has baskets.
    """

    features: Path
    until_s: int
    targets: Int64
    has_baskets: bool

    def __call__(self, baseline_idx: int) -> tuple[str, EvaluationResult]:
        """Name and evaluation of the baseline at a position of ``baselines()``."""
        log, item_catalog = cached_features(self.features)
        baseline = baselines(has_baskets=self.has_baskets)[baseline_idx]
        with recommender_errors(baseline):
            baseline.fit(log.before(self.until_s), item_catalog)
            evaluation_result = evaluate(
                baseline, log, self.targets, n_items=item_catalog.n_items, time_given=True
            )
        return baseline.name, evaluation_result


@dataclass(frozen=True, slots=True)
class BundleTask:
    """Evaluation of a bundle; sent to other processes, so it holds paths, no data.

    Attributes:
        features: Feature snapshot, absolute.
        bundle: Bundle, absolute.
        cold_before_s: Items first seen from this moment on are cold, UTC seconds.
    """

    features: Path
    bundle: Path
    cold_before_s: int

    def __call__(self, targets: Int64) -> EvaluationResult:
        """Evaluation on some targets, positions of shape (n_block,)."""
        log, item_catalog = cached_features(self.features)
        return evaluate(
            cached_bundle(self.bundle),
            log,
            targets,
            n_items=item_catalog.n_items,
            time_given=True,
            cold_before_s=self.cold_before_s,
        )


def evaluate_baselines(
    engine: Engine, features: Path, log: EventLog, until_s: int, targets: Int64
) -> dict[str, EvaluationResult]:
    """Evaluation of every baseline by name, one task each, in the order of ``baselines()``.

    Args:
        engine: Runs the tasks.
        features: Feature snapshot.
        log: Events of the snapshot.
        until_s: End of the training events, UTC seconds.
        targets: Positions in the log, shape (n_targets,).
    """
    task = BaselineTask(features.resolve(), until_s, targets, has_baskets(log, targets))
    n_baselines = len(baselines(has_baskets=task.has_baskets))
    return dict(engine.map(task, range(n_baselines)))


def evaluate_bundle(
    engine: Engine, features: Path, bundle: Path, log: EventLog, targets: Int64
) -> EvaluationResult:
    """Evaluation of a bundle, one task for each block of targets.

    Args:
        engine: Runs the tasks.
        features: Feature snapshot.
        bundle: Folder of the bundle.
        log: Events of the snapshot.
        targets: Positions in the log, shape (n_targets,).
    """
    task = BundleTask(features.resolve(), bundle.resolve(), first_target_s(log, targets))
    history_lens = (log.basket_start() - log.user_start())[targets]  # (n_targets,)
    target_order = np.argsort(history_lens, kind="stable")  # the batches of ``evaluate``
    n_blocks = max(1, -(-len(target_order) // N_BLOCK))
    blocks = [
        targets[target_order[block_idx * N_BLOCK : (block_idx + 1) * N_BLOCK]]
        for block_idx in range(n_blocks)
    ]
    return _restore_order(list(engine.map(task, blocks)), target_order)


def _restore_order(block_results: list[EvaluationResult], target_order: Int64) -> EvaluationResult:
    """Results of all blocks, in the order in which the targets were passed."""
    inverse_order = np.empty_like(target_order)
    inverse_order[target_order] = np.arange(len(target_order))
    field_names = [field.name for field in fields(EvaluationResult) if field.name != "coverage"]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(result, name) for result in block_results])[inverse_order]
        for name in field_names
    }
    return EvaluationResult(**columns)
