"""Evaluation of models on later time, each trained on what was before."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.api.evaluation import ALL_TARGETS, Evaluation
from chronotope.api.log import Log
from chronotope.api.recommender import NextEventRecommender
from chronotope.api.training_noise import quiet_training
from chronotope.contracts.errors import ConfigError, NotEnoughData
from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.metrics import (
    EvaluationResult,
    LognormalMixture,
    TimeCalibration,
    bootstrap_interval,
    evaluate_time,
    hit_rate,
    ndcg,
    reciprocal_rank,
    slice_masks,
)
from chronotope.metrics import evaluate as evaluate_model
from chronotope.metrics.evaluator import BATCH_SIZE
from chronotope.splitting import targets_between
from chronotope.splitting.folds import Fold, Folds

if TYPE_CHECKING:
    import pandas as pd

    from chronotope.training.recommender import ChronotopeRecommender

METRICS: Final = ("acc_1", "acc_10", "ndcg_10", "mrr")
"""Metrics of a table by default."""

Model = NextEventRecommender | Recommender
"""A recommender of the package, a baseline, or a model of the user's own."""


def evaluate(
    models: Iterable[object] | Model,
    log: Log,
    split: Folds | Fold | Sequence[Fold],
    metrics: Sequence[str] = METRICS,
    *,
    time_given: bool = True,
    slices: Sequence[str] = ("return", "discovery"),
    max_targets: int | None = 2_000,
) -> Evaluation:
    """Train each model before each fold, and rank the true item of each later event.

    The rank is over the whole catalogue, ties in expectation. Histories are live: a target is
    predicted from all events of its user before it. Models that were fitted are not changed.

    Args:
        models: Recommenders, baselines, or models of your own that pass ``chronotope.testing``.
        log: All events.
        split: Folds of ``ct.split``; the holdout of rolling folds is left out unless it is passed.
        metrics: ``mrr``, or ``acc_k`` and ``ndcg_k`` for any k.
        time_given: Whether the time of the target is known, as in a service.
        slices: Beside all targets: return, discovery, cold_user, warm_user, cold_item, warm_item.
        max_targets: Targets of a fold, drawn at random; None takes all.

    Raises:
        ConfigError: A metric or slice is unknown, or two models have one name.
        NotEnoughData: A fold has no target.
    """
    named, folds = _named(models), _folds(split)
    rank_values = {name: _metric_function(name) for name in metrics}
    results = {name: _ModelResults() for name in named}
    for fold in folds:
        positions = _fold_targets(log, fold, max_targets)
        training_log = log.events.before(fold.train_end_s)
        for name, model in named.items():
            with quiet_training():
                fitted = _fresh(model).fit(training_log, log.index)
            results[name].add(fitted, log, positions, time_given=time_given)
    users = next(iter(results.values())).users()
    values = {
        name: {metric: value(result.ranks()) for metric, value in rank_values.items()}
        for name, result in results.items()
    }
    rows = [
        row
        for name, result in results.items()
        for row in _rows(name, values[name], result.masks(slices), users)
    ]
    times = {name: result.time_calibration() for name, result in results.items() if result.gaps_h}
    protocol = (
        f"{len(folds)} fold{'s' if len(folds) > 1 else ''}, {len(users):,} targets, full catalogue "
        f"of {log.index.n_items - 1:,} items, time {'given' if time_given else 'hidden'}, "
        "95 % intervals by resampling users"
    )
    return Evaluation(_frame(rows), protocol, times, values, users)


@dataclass(slots=True)
class _ModelResults:
    """Results of one model, a part for each fold."""

    parts: list[EvaluationResult] = field(default_factory=list)
    mixtures: list[npt.NDArray[np.float32]] = field(default_factory=list)
    gaps_h: list[Float64] = field(default_factory=list)

    def add(self, fitted: Recommender, log: Log, positions: Int64, *, time_given: bool) -> None:
        """Evaluate a model on the targets of one fold."""
        n_items = log.index.n_items
        self.parts.append(
            evaluate_model(fitted, log.events, positions, n_items=n_items, time_given=time_given)
        )
        if hasattr(fitted, "answer"):
            self._add_times(fitted, log.events, positions)  # type: ignore[arg-type]

    def _add_times(
        self, network: "ChronotopeRecommender", events: EventLog, positions: Int64
    ) -> None:
        """Predicted and true gaps of the targets, in hours."""
        for start in range(0, len(positions), BATCH_SIZE):
            batch = positions[start : start + BATCH_SIZE]
            queries = queries_at(events, batch, history_len=network.history_len, time_given=False)
            self.mixtures.append(network.answer(queries).when)
            gaps_s = events.occurred_s[batch] - queries.occurred_s[:, -1]
            self.gaps_h.append(np.maximum(gaps_s / 3600, 0.0))

    def users(self) -> npt.NDArray[np.int64]:
        """User of each target, shape (n_targets,)."""
        return np.concatenate([part.user for part in self.parts]).astype(np.int64)

    def ranks(self) -> Float64:
        """Rank of each target, shape (n_targets,)."""
        return np.concatenate([part.rank for part in self.parts])

    def masks(self, names: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
        """Masks over the targets of all folds, shape (n_targets,) each.

        Raises:
            ConfigError: A slice is unknown.
        """
        fold_masks = [slice_masks(part) for part in self.parts]
        unknown = [name for name in names if name not in fold_masks[0]]
        if unknown:
            raise ConfigError(
                "No such slice",
                received=", ".join(unknown),
                way_out=f"Known are {', '.join(fold_masks[0])}",
            )
        everything = np.ones(sum(len(part) for part in self.parts), np.bool_)
        chosen = {name: np.concatenate([masks[name] for masks in fold_masks]) for name in names}
        return {ALL_TARGETS: everything, **chosen}

    def time_calibration(self) -> TimeCalibration:
        """Calibration of the predicted gaps."""
        mixture = LognormalMixture.of_parts(np.concatenate(self.mixtures))
        return evaluate_time(mixture, np.concatenate(self.gaps_h))


def _rows(
    name: str,
    values: Mapping[str, Float64],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    users: npt.NDArray[np.int64],
) -> Iterator[tuple[Any, ...]]:
    """Rows of the tidy frame of one model; a slice without targets is left out."""
    for slice_name, mask in masks.items():
        if not mask.any():
            continue
        for metric, target_values in values.items():
            interval = bootstrap_interval(target_values[mask], users[mask])
            ends = (interval.estimate, interval.low, interval.high)
            yield (name, slice_name, metric, *ends, int(mask.sum()))


def _named(models: Iterable[object] | Model) -> dict[str, Model]:
    """Models by name, in their order."""
    is_single = isinstance(models, NextEventRecommender | Recommender | type)
    listed: list[Any] = [models] if is_single else list(models)  # type: ignore[arg-type]
    named: dict[str, Model] = {}
    for model in listed:
        if isinstance(model, type) or not isinstance(model, NextEventRecommender | Recommender):
            raise ConfigError(
                "A model has fit, observe, scores, name and history_len",
                received=repr(model),
                way_out="Pass ct.Recommender(), a baseline such as ct.Popularity(), or a model "
                "that passes chronotope.testing; classes must be called",
            )
        name = model.name
        if name in named:
            raise ConfigError(
                "Two models have one name",
                received=name,
                way_out="Evaluate them one after the other",
            )
        named[name] = model
    if not named:
        raise ConfigError("No model is given", way_out="Pass at least one, such as ct.Popularity()")
    return named


def _fresh(model: Model) -> Recommender:
    """An unfitted copy of a model."""
    if isinstance(model, NextEventRecommender):
        return model.unfitted_network()
    return copy.deepcopy(model)


def _folds(split: Folds | Fold | Sequence[Fold]) -> list[Fold]:
    if isinstance(split, Fold):
        return [split]
    return list(split.folds if isinstance(split, Folds) else split)


def _fold_targets(log: Log, fold: Fold, max_targets: int | None) -> npt.NDArray[np.int64]:
    positions = targets_between(
        log.events, fold.test_start_s, fold.test_end_s, max_targets=max_targets
    )
    if not len(positions):
        raise NotEnoughData(
            "A fold has no event of a user with a history",
            received=f"{fold.test_start_s} to {fold.test_end_s}, UTC seconds",
            way_out="Ask for fewer folds, or bring a longer log",
        )
    return positions


def _metric_function(name: str) -> Any:
    """Function from ranks to the values of a metric."""
    kind, _, depth = name.partition("_")
    if name == "mrr":
        return reciprocal_rank
    if kind in ("acc", "ndcg") and depth.isdigit() and int(depth) > 0:
        k, function = int(depth), hit_rate if kind == "acc" else ndcg
        return lambda ranks: function(ranks, k)
    raise ConfigError(
        "No such metric", received=name, way_out="Use mrr, or acc_k and ndcg_k such as ndcg_10"
    )


def _frame(rows: list[tuple[Any, ...]]) -> "pd.DataFrame":
    import pandas as pd

    names = ["model", "slice", "metric", "value", "low", "high", "n_targets"]
    return pd.DataFrame(rows, columns=names)
