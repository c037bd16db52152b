"""Responses of ``/predict`` and ``/explain``: next items, time and places, and their reasons."""

from datetime import UTC, datetime, timedelta

import numpy as np

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64, Int64
from chronotope.inference.forecast import (
    RemainingWait,
    forecast_places,
    forecast_time,
    remaining_wait,
)
from chronotope.inference.interval_levels import forecast_levels
from chronotope.inference.ranking import DenseRanking, describe_items, none_if_nan, score_items
from chronotope.inference.recommend import answer_notes
from chronotope.inference.request import RecommendOptions
from chronotope.serving.api.requests import PredictRequest, UserRequest
from chronotope.serving.api.responses import (
    BaseResponse,
    ExplainResponse,
    HistoryItem,
    ItemExplanation,
    PredictResponse,
    TimeCurve,
    TimeCurvePoint,
)
from chronotope.serving.model.inference import InferenceService, PreparedRequest

N_CURVE_POINTS = 48
"""Points of the time curve, denser for short waits."""

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_CURVE_H = 1 / 60
_CURVE_ENDS = (0.01, 0.99)  # quantiles


def predict(
    inference_service: InferenceService, dataset: str, predict_request: PredictRequest
) -> PredictResponse:
    """Response of ``POST /predict``.

    Args:
        inference_service: Prepares the request and runs the model.
        dataset: Name of the dataset.
        predict_request: The request.
    """
    prepared = inference_service.prepare(predict_request)
    model_output = inference_service.run_model(prepared, predict_request)
    loaded_champion, user_history = prepared.loaded_champion, prepared.known_history
    vocabulary, metadata = loaded_champion.champion.vocabulary, loaded_champion.item_metadata
    options = predict_request.recommend_options()
    ranking = score_items(model_output.item_scores[0], user_history, metadata, options)
    item_indices = ranking.best(predict_request.k).items
    recent_activity = loaded_champion.recent_activity(prepared.request_time)
    wait = remaining_wait(model_output.when, user_history, prepared.request_time)
    version = loaded_champion.champion.version
    time_curve = _time_curve(wait, forecast_levels(inference_service.workspace, dataset, version))
    base = _base_response(prepared, predict_request, dataset, timed=time_curve is not None)
    return PredictResponse(
        **dict(base),
        history=_history_items(prepared, predict_request.n_history),
        items=describe_items(
            item_indices, ranking, options, user_history, recent_activity, vocabulary, metadata
        ),
        time_forecast=time_curve,
        place_forecasts=forecast_places(
            model_output.place_scores[0], vocabulary, metadata, predict_request.n_places
        ),
    )


def explain(
    inference_service: InferenceService,
    dataset: str,
    user_request: UserRequest,
    item_id: str | None,
) -> ExplainResponse:
    """Response of ``GET /explain``.

    Args:
        inference_service: Prepares the request and runs the model.
        dataset: Name of the dataset.
        user_request: The request.
        item_id: Item to explain; None explains the most probable ones.

    Raises:
        DataError: The champion does not know the item.
    """
    prepared = inference_service.prepare(user_request)
    logits = inference_service.run_model(prepared, user_request).item_scores[0]
    metadata = prepared.loaded_champion.item_metadata
    ranking = score_items(logits, prepared.known_history, metadata, RecommendOptions())
    item_indices = (
        ranking.best(user_request.k).items if item_id is None else _item_index(prepared, item_id)
    )
    base = _base_response(prepared, user_request, dataset, timed=True)
    return ExplainResponse(**dict(base), items=_item_explanations(prepared, ranking, item_indices))


def _base_response(
    prepared: PreparedRequest, user_request: UserRequest, dataset: str, *, timed: bool
) -> BaseResponse:
    champion, request_time = prepared.loaded_champion.champion, prepared.request_time
    return BaseResponse(
        dataset=dataset,
        version=champion.version,
        user_id=user_request.user_id,
        request_time=request_time,
        n_history=prepared.n_history,
        n_unknown_items=prepared.n_unknown_items,
        notes=answer_notes(
            champion, prepared.n_history, request_time, has_items=True, has_time=timed
        ),
    )


def _history_items(prepared: PreparedRequest, n_latest: int) -> tuple[HistoryItem, ...]:
    user_history, metadata = prepared.known_history, prepared.loaded_champion.item_metadata
    vocabulary = prepared.loaded_champion.champion.vocabulary
    first_row = max(0, len(user_history) - n_latest)
    return tuple(
        HistoryItem(
            item_id=str(vocabulary.items.name(item_idx)),
            title=vocabulary.titles[item_idx] or "",
            occurred_at=_UNIX_EPOCH + timedelta(seconds=int(user_history.occurred_s[row])),
            utc_offset_min=int(user_history.utc_offset_min[row]),
            lat=none_if_nan(float(metadata.lat[item_idx])),
            lon=none_if_nan(float(metadata.lon[item_idx])),
        )
        for row, item_idx in enumerate(user_history.item_idx[first_row:].tolist(), first_row)
    )


def _time_curve(wait: RemainingWait | None, levels: Float64) -> TimeCurve | None:
    time_forecast = forecast_time(wait, levels)
    if wait is None or time_forecast is None:
        return None
    first_h, last_h = np.maximum(wait.quantiles(np.array(_CURVE_ENDS)), _MIN_CURVE_H)
    curve_hours = np.geomspace(first_h, max(last_h, 2 * first_h), N_CURVE_POINTS)
    curve_values = (wait.passed_by(curve_hours), curve_hours, wait.density(curve_hours))
    curve_points = zip(*(values.tolist() for values in curve_values), strict=True)
    return TimeCurve(
        median_h=time_forecast.median_h,
        low_h=time_forecast.low_h,
        high_h=time_forecast.high_h,
        since_last_event_h=wait.elapsed_h,
        curve=tuple(
            TimeCurvePoint(cdf=cdf, hours=hours, density=density)
            for cdf, hours, density in curve_points
        ),
    )


def _item_index(prepared: PreparedRequest, item_id: str) -> Int64:
    item_idx = prepared.loaded_champion.item_idx_of.get(item_id)
    if item_idx is None:
        raise DataError(
            "The champion does not know this item",
            received=item_id,
            way_out="Train a model on events of this item",
        )
    return np.array([item_idx])


def _item_explanations(
    prepared: PreparedRequest, ranking: DenseRanking, item_indices: Int64
) -> tuple[ItemExplanation, ...]:
    loaded_champion, user_history = prepared.loaded_champion, prepared.known_history
    recent_activity = loaded_champion.recent_activity(prepared.request_time)
    next_items = recent_activity.follows(int(user_history.item_idx[-1]) if user_history else 0)
    items = describe_items(
        item_indices,
        ranking,
        RecommendOptions(),
        user_history,
        recent_activity,
        loaded_champion.champion.vocabulary,
        loaded_champion.item_metadata,
    )
    probabilities = ranking.probabilities(item_indices)
    return tuple(
        ItemExplanation(
            id=item.id,
            title=item.title,
            rank=1 + int((ranking.log_probability > ranking.log_probability[item_idx]).sum()),
            probability=probability,
            reason=item.reason,
            n_user_events=int((user_history.item_idx == item_idx).sum()),
            n_transitions=int((next_items == item_idx).sum()),
            n_recent_events=int(recent_activity.counts[item_idx]),
        )
        for item_idx, item, probability in zip(
            item_indices.tolist(), items, probabilities, strict=True
        )
    )
