"""Evaluation of models in blocks of targets, as tasks of an engine.

The result equals that of one call of ``evaluate`` on all targets, to the last bit.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.metrics import (
    EvaluationResult,
    TargetSpans,
    evaluate,
    has_baskets,
    is_cold_item,
)
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
class BlockTargets:
    """Targets of one task.

    Attributes:
        positions: Positions in the log, shape (n_block,).
        is_cold_item: Whether each target's item is cold, which all events decide.
    """

    positions: Int64
    is_cold_item: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BundleTask:
    """Evaluation of a bundle; sent to other processes, so it holds paths, no data.

    Attributes:
        features: Feature snapshot, absolute.
        bundle: Bundle, absolute.
    """

    features: Path
    bundle: Path

    def __call__(self, block: BlockTargets) -> EvaluationResult:
        """Evaluation on some targets; of the log, only the events of their users are read."""
        log, item_catalog = cached_features(self.features)
        user_log, positions = log_of_targets(log, block.positions)
        result = evaluate(
            cached_bundle(self.bundle),
            user_log,
            positions,
            n_items=item_catalog.n_items,
            time_given=True,
            cold_targets=block.is_cold_item,
        )
        return replace(result, position=block.positions)


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
    task = BundleTask(features.resolve(), bundle.resolve())
    history_lens = TargetSpans.of(log, targets).n_history
    target_order = np.argsort(history_lens, kind="stable")  # the batches of ``evaluate``
    is_cold = is_cold_item(log, targets)
    n_blocks = max(1, -(-len(target_order) // N_BLOCK))
    block_rows = [
        target_order[block_idx * N_BLOCK : (block_idx + 1) * N_BLOCK]
        for block_idx in range(n_blocks)
    ]
    target_blocks = [BlockTargets(targets[rows], is_cold[rows]) for rows in block_rows]
    return _restore_order(list(engine.map(task, target_blocks)), target_order)


def log_of_targets(log: EventLog, positions: Int64) -> tuple[EventLog, Int64]:
    """Events of the users of some targets, and the positions of the targets among them.

    Args:
        log: All events.
        positions: Positions of the targets in the log, shape (n_targets,).
    """
    target_users = log.user_idx[positions]
    distinct_users, user_rank = np.unique(target_users, return_inverse=True)
    first_row, end_row = (
        np.searchsorted(log.user_idx, distinct_users, side) for side in ("left", "right")
    )
    n_events = end_row - first_row
    # from positions in the log of these users to those in the whole
    row_shift = first_row - (np.cumsum(n_events) - n_events)
    rows = np.repeat(row_shift, n_events) + np.arange(n_events.sum())
    return log.take(rows), positions - row_shift[user_rank]


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
