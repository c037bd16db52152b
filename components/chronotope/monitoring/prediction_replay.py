"""Replay of the champion on events after its training, each predicted from earlier ones only."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.queries import Queries, queries_at
from chronotope.metrics import (
    EvaluationResult,
    LognormalMixture,
    answer_entropy,
    evaluate,
    top_items,
)
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.windows import Windows
from chronotope.splitting.targets import targets_between

TOP = 10
"""Length of the lists whose diversity is measured."""

_BATCH_SIZE = 256


@dataclass(frozen=True, slots=True)
class ReplayedPredictions:
    """Predictions of the champion for one window.

    Attributes:
        window: Index of the window.
        outcomes: Rank of the true item of each target.
        entropy: Mean entropy of the predicted item distributions, nats.
        n_recommended: Number of top-``TOP`` lists that contain each item, without the unknown
            item, shape (n_items - 1,).
        unknown_share: Share of targets whose item is not in the champion's vocabulary.
        pit: Probability integral transform of the time to the next event: the predicted
            probability of a time no longer than the true one, shape (n_targets,).
    """

    window: int
    outcomes: EvaluationResult
    entropy: float
    n_recommended: Int64
    unknown_share: float
    pit: Float64


def replay_predictions(
    champion: RemappedRecommender,
    event_log: EventLog,
    catalog: Catalog,
    time_windows: Windows,
    monitor_config: MonitorConfig,
    *,
    after_s: int,
) -> list[ReplayedPredictions]:
    """Predict the latest windows that began after the champion's training, oldest first.

    Windows with fewer than ``min_rows`` targets are left out.

    Args:
        champion: The champion, mapped to the indices of the catalogue.
        event_log: All events.
        catalog: Items and places of the events.
        time_windows: Windows of the comparison.
        monitor_config: Number of windows and of targets.
        after_s: Time of the last event that the champion was trained on, UTC seconds.
    """
    replayed_windows = []
    for window in range(max(0, time_windows.n - monitor_config.prediction_windows), time_windows.n):
        window_start_s, max_targets = time_windows.start_s(window), monitor_config.max_targets
        if window_start_s <= after_s:
            continue
        window_end_s = window_start_s + time_windows.length_s
        target_positions = targets_between(
            event_log,
            window_start_s,
            window_end_s,
            max_targets=max_targets,
            seed=monitor_config.seed,
        )
        if len(target_positions) >= monitor_config.min_rows:
            replayed_windows.append(
                _replay_window(champion, event_log, catalog, window, target_positions)
            )
    return replayed_windows


def _replay_window(
    champion: RemappedRecommender,
    event_log: EventLog,
    catalog: Catalog,
    window: int,
    target_positions: Int64,
) -> ReplayedPredictions:
    recorder = _RecordingRecommender(champion, catalog.n_items)
    outcomes = evaluate(
        recorder, event_log, target_positions, n_items=catalog.n_items, time_given=True
    )
    return ReplayedPredictions(
        window=window,
        outcomes=outcomes,
        entropy=recorder.entropy / len(target_positions),
        n_recommended=recorder.n_recommended[1:],
        unknown_share=float(
            (champion.item_mapping[event_log.item_idx[target_positions]] == 0).mean()
        ),
        pit=_pit(champion, event_log, target_positions),
    )


class _RecordingRecommender:
    """Wrapper of the champion that records the diversity of its lists during an evaluation.

    Attributes:
        champion: The champion.
        entropy: Sum of the entropies of its predictions, nats.
        n_recommended: Number of top lists that contain each item, shape (n_items,).
    """

    def __init__(self, champion: RemappedRecommender, n_items: int) -> None:
        self.champion, self.entropy = champion, 0.0
        self.n_recommended = np.zeros(n_items, dtype=np.int64)

    @property
    def name(self) -> str:
        return self.champion.name

    @property
    def history_len(self) -> int | None:
        return self.champion.history_len

    def fit(self, event_log: EventLog, catalog: Catalog) -> Self:
        self.champion.fit(event_log, catalog)
        return self

    def observe(self, event_log: EventLog) -> None:
        self.champion.observe(event_log)

    def scores(self, query_batch: Queries) -> npt.NDArray[np.floating]:
        item_scores = self.champion.scores(query_batch)
        self.entropy += float(answer_entropy(item_scores).sum())
        self.n_recommended += np.bincount(
            top_items(item_scores, TOP).ravel(), minlength=len(self.n_recommended)
        )
        return item_scores


def _pit(champion: RemappedRecommender, event_log: EventLog, target_positions: Int64) -> Float64:
    """Probability integral transform of the time to the next event, with the time hidden.

    Returns:
        Predicted cumulative probability of the true time, shape (n_targets,).
    """
    pit_batches = []
    for target_batch in np.array_split(target_positions, -(-len(target_positions) // _BATCH_SIZE)):
        query_batch = queries_at(
            event_log, target_batch, history_len=champion.history_len, time_given=False
        )
        time_mixture = LognormalMixture.of_parts(champion.answer(query_batch).when)
        gap_h = (event_log.occurred_s[target_batch] - query_batch.occurred_s[:, -1]) / 3600.0
        pit_batches.append(time_mixture.cdf(gap_h))
    return np.concatenate(pit_batches)
