"""Replay of the champion on later events, each predicted from earlier events only."""

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
"""Items of an answer that count as recommended."""

_BATCH = 256


@dataclass(frozen=True, slots=True)
class ReplayedPredictions:
    """Predictions of the champion for one window.

    Attributes:
        window: Its number.
        outcomes: Rank of what happened, for each target.
        entropy: Mean over the answers, nats.
        named: How often each item was among the best ``TOP``, the unknown left out.
        unknown: Share of targets whose item the champion has never heard of.
        pit: Predicted probability of a wait no longer than the true one, the time hidden,
            shape (n_targets,).
    """

    window: int
    outcomes: EvaluationResult
    entropy: float
    named: Int64
    unknown: float
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
    """Ask about the latest windows that began after the champion's training, oldest first.

    Windows with fewer than ``min_rows`` targets are left out.

    Args:
        champion: Speaks the ids of the catalogue.
        event_log: Everything that happened.
        catalog: Its items.
        time_windows: How time is cut.
        monitor_config: How many windows and targets.
        after_s: Last event of the champion's training, UTC seconds.
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
                _answered(champion, event_log, catalog, window, target_positions)
            )
    return replayed_windows


def _answered(
    champion: RemappedRecommender,
    event_log: EventLog,
    catalog: Catalog,
    window: int,
    target_positions: Int64,
) -> ReplayedPredictions:
    recorder = _Noting(champion, catalog.n_items)
    outcomes = evaluate(
        recorder, event_log, target_positions, n_items=catalog.n_items, time_given=True
    )
    return ReplayedPredictions(
        window=window,
        outcomes=outcomes,
        entropy=recorder.entropy / len(target_positions),
        named=recorder.named[1:],
        unknown=float((champion.item_mapping[event_log.item_idx[target_positions]] == 0).mean()),
        pit=_pit(champion, event_log, target_positions),
    )


class _Noting:
    """The champion, which notes of its answers what the evaluator does not keep."""

    def __init__(self, champion: RemappedRecommender, n_items: int) -> None:
        self.champion, self.entropy = champion, 0.0
        self.named = np.zeros(n_items, dtype=np.int64)

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
        scores = self.champion.scores(query_batch)
        self.entropy += float(answer_entropy(scores).sum())
        self.named += np.bincount(top_items(scores, TOP).ravel(), minlength=len(self.named))
        return scores


def _pit(champion: RemappedRecommender, event_log: EventLog, target_positions: Int64) -> Float64:
    """Where the true wait falls in the predicted one, as it was told with the time hidden."""
    replayed_windows = []
    for target_batch in np.array_split(target_positions, -(-len(target_positions) // _BATCH)):
        query_batch = queries_at(
            event_log, target_batch, history_len=champion.history_len, time_given=False
        )
        time_mixture = LognormalMixture.of_parts(champion.answer(query_batch).when)
        replayed_windows.append(
            time_mixture.cdf(
                (event_log.occurred_s[target_batch] - query_batch.occurred_s[:, -1]) / 3600.0
            )
        )
    return np.concatenate(replayed_windows)
