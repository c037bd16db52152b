"""Evaluation of models on later time, each trained on what was before."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.api.evaluation import ALL_TARGETS, Evaluation
from chronotope.api.logs.log import Log
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
from chronotope.models.baselines import baselines
from chronotope.splitting import targets_between
from chronotope.splitting.folds import Fold, Folds

if TYPE_CHECKING:
    import pandas as pd

    from chronotope.training.recommender import ChronotopeRecommender

METRICS: Final = ("acc_1", "acc_10", "ndcg_10", "mrr")
"""Metrics of a table by default."""

RankFunction = Callable[[Float64], Float64]
"""Function from ranks of targets to their values of a metric, shape (n_targets,) both."""

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
        models: Recommenders, baselines, models of your own that pass ``chronotope.testing``, or
            names of baselines and of installed recommenders.
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
    models_by_name, time_folds = named_models(models), _folds(split)
    rank_functions = {metric: _metric_function(metric) for metric in metrics}
    model_results = {model_name: _ModelResults() for model_name in models_by_name}
    for time_fold in time_folds:
        positions = _fold_targets(log, time_fold, max_targets)
        training_log = log.events.before(time_fold.train_end_s)
        for model_name, model in models_by_name.items():
            with quiet_training():
                fitted_model = _fresh(model).fit(training_log, log.index)
            model_results[model_name].add(fitted_model, log, positions, time_given=time_given)
    protocol = _protocol_text(log, time_folds, time_given)
    return _summarise(model_results, rank_functions, slices, protocol)


def _protocol_text(log: Log, time_folds: Sequence[Fold], time_given: bool) -> str:
    """What is predicted from what."""
    n_folds, n_items = len(time_folds), log.index.n_items - 1
    return (
        f"{n_folds} fold{'s' if n_folds > 1 else ''}, full catalogue of {n_items:,} items, time "
        f"{'given' if time_given else 'hidden'}, 95 % intervals by resampling users"
    )


def _summarise(
    model_results: Mapping[str, "_ModelResults"],
    rank_functions: Mapping[str, RankFunction],
    slices: Sequence[str],
    protocol: str,
) -> Evaluation:
    """Metrics of all models on the targets of all folds."""
    target_users = next(iter(model_results.values())).users()
    metric_values = {
        model_name: {
            metric: rank_function(results.ranks())
            for metric, rank_function in rank_functions.items()
        }
        for model_name, results in model_results.items()
    }
    table_rows = [
        table_row
        for model_name, results in model_results.items()
        for table_row in _rows(
            model_name, metric_values[model_name], results.masks(slices), target_users
        )
    ]
    time_calibrations = {
        model_name: results.time_calibration()
        for model_name, results in model_results.items()
        if results.gaps_h
    }
    protocol = f"{len(target_users):,} targets, {protocol}"
    return Evaluation(_frame(table_rows), protocol, time_calibrations, metric_values, target_users)


@dataclass(slots=True)
class _ModelResults:
    """Results of one model, a part for each fold."""

    parts: list[EvaluationResult] = field(default_factory=list)
    mixtures: list[npt.NDArray[np.float32]] = field(default_factory=list)
    gaps_h: list[Float64] = field(default_factory=list)

    def add(
        self, fitted_model: Recommender, log: Log, positions: Int64, *, time_given: bool
    ) -> None:
        """Evaluate a model on the targets of one fold."""
        n_items = log.index.n_items
        self.parts.append(
            evaluate_model(
                fitted_model, log.events, positions, n_items=n_items, time_given=time_given
            )
        )
        if hasattr(fitted_model, "answer"):
            self._add_times(fitted_model, log.events, positions)  # type: ignore[arg-type]

    def _add_times(
        self, network: "ChronotopeRecommender", events: EventLog, positions: Int64
    ) -> None:
        """Predicted and true gaps of the targets, in hours."""
        for start_idx in range(0, len(positions), BATCH_SIZE):
            target_batch = positions[start_idx : start_idx + BATCH_SIZE]
            query_batch = queries_at(
                events, target_batch, history_len=network.history_len, time_given=False
            )
            self.mixtures.append(network.answer(query_batch).when)
            gaps_s = events.occurred_s[target_batch] - query_batch.occurred_s[:, -1]
            self.gaps_h.append(np.maximum(gaps_s / 3600, 0.0))

    def users(self) -> npt.NDArray[np.int64]:
        """User of each target, shape (n_targets,)."""
        return np.concatenate([part.user for part in self.parts]).astype(np.int64)

    def ranks(self) -> Float64:
        """Rank of each target, shape (n_targets,)."""
        return np.concatenate([part.rank for part in self.parts])

    def masks(self, column_names: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
        """Masks over the targets of all folds, shape (n_targets,) each.

        Raises:
            ConfigError: A slice is unknown.
        """
        fold_masks = [slice_masks(part) for part in self.parts]
        unknown_names = [
            model_name for model_name in column_names if model_name not in fold_masks[0]
        ]
        if unknown_names:
            raise ConfigError(
                "No such slice",
                received=", ".join(unknown_names),
                way_out=f"Known are {', '.join(fold_masks[0])}",
            )
        all_targets = np.ones(sum(len(part) for part in self.parts), np.bool_)
        chosen_masks = {
            model_name: np.concatenate(
                [slice_masks_by_name[model_name] for slice_masks_by_name in fold_masks]
            )
            for model_name in column_names
        }
        return {ALL_TARGETS: all_targets, **chosen_masks}

    def time_calibration(self) -> TimeCalibration:
        """Calibration of the predicted gaps."""
        gap_mixture = LognormalMixture.of_parts(np.concatenate(self.mixtures))
        return evaluate_time(gap_mixture, np.concatenate(self.gaps_h))


def _rows(
    model_name: str,
    metric_values: Mapping[str, Float64],
    slice_masks_by_name: Mapping[str, npt.NDArray[np.bool_]],
    target_users: npt.NDArray[np.int64],
) -> Iterator[tuple[Any, ...]]:
    """Rows of the tidy frame of one model; a slice without targets is left out."""
    for slice_name, slice_mask in slice_masks_by_name.items():
        if not slice_mask.any():
            continue
        for metric, target_values in metric_values.items():
            mean_interval = bootstrap_interval(target_values[slice_mask], target_users[slice_mask])
            interval_ends = (mean_interval.estimate, mean_interval.low, mean_interval.high)
            yield (model_name, slice_name, metric, *interval_ends, int(slice_mask.sum()))


def named_models(models: Iterable[object] | Model) -> dict[str, Model]:
    """Models by name, in their order; names stand for baselines and installed recommenders.

    Args:
        models: Models, or one.

    Raises:
        ConfigError: One is no model, or two have one name.
    """
    is_single = isinstance(models, NextEventRecommender | Recommender | type | str)
    model_list: list[Any] = [models] if is_single else list(models)  # type: ignore[arg-type]
    models_by_name: dict[str, Model] = {}
    for given_model in model_list:
        model = _model_of_name(given_model) if isinstance(given_model, str) else given_model
        if isinstance(model, type) or not isinstance(model, NextEventRecommender | Recommender):
            raise ConfigError(
                "A model has fit, observe, scores, name and history_len",
                received=repr(model),
                way_out="Pass ct.Recommender(), a baseline such as ct.Popularity(), or a model "
                "that passes chronotope.testing; classes must be called",
            )
        model_name = model.name
        if model_name in models_by_name:
            raise ConfigError(
                "Two models have one name",
                received=model_name,
                way_out="Evaluate them one after the other",
            )
        models_by_name[model_name] = model
    if not models_by_name:
        raise ConfigError("No model is given", way_out="Pass at least one, such as ct.Popularity()")
    return models_by_name


def _model_of_name(model_name: str) -> Recommender:
    """Baseline or installed recommender of a name."""
    known_models = {model.name: model for model in baselines()}
    if model_name not in known_models:
        raise ConfigError(
            "No baseline and no installed recommender has this name",
            received=model_name,
            way_out=f"Known are {', '.join(known_models)}",
        )
    return known_models[model_name]


def _fresh(model: Model) -> Recommender:
    """An unfitted copy of a model."""
    if isinstance(model, NextEventRecommender):
        return model.unfitted_network()
    return copy.deepcopy(model)


def _folds(split: Folds | Fold | Sequence[Fold]) -> list[Fold]:
    if isinstance(split, Fold):
        return [split]
    return list(split.folds if isinstance(split, Folds) else split)


def _fold_targets(log: Log, time_fold: Fold, max_targets: int | None) -> npt.NDArray[np.int64]:
    positions = targets_between(
        log.events, time_fold.test_start_s, time_fold.test_end_s, max_targets=max_targets
    )
    if not len(positions):
        raise NotEnoughData(
            "A fold has no event of a user with a history",
            received=f"{time_fold.test_start_s} to {time_fold.test_end_s}, UTC seconds",
            way_out="Ask for fewer folds, or bring a longer log",
        )
    return positions


def _metric_function(metric: str) -> RankFunction:
    """Function from ranks to the values of a metric."""
    metric_kind, _, metric_depth = metric.partition("_")
    if metric == "mrr":
        return reciprocal_rank
    if metric_kind in ("acc", "ndcg") and metric_depth.isdigit() and int(metric_depth) > 0:
        k, rank_function = int(metric_depth), hit_rate if metric_kind == "acc" else ndcg
        return lambda ranks: rank_function(ranks, k)
    raise ConfigError(
        "No such metric",
        received=metric,
        way_out="Use mrr, or acc_k and ndcg_k such as ndcg_10",
    )


def _frame(table_rows: list[tuple[Any, ...]]) -> "pd.DataFrame":
    import pandas as pd

    column_names = ["model", "slice", "metric", "value", "low", "high", "n_targets"]
    return pd.DataFrame(table_rows, columns=column_names)
