"""Response of ``/predict``: next items, time and places."""

from datetime import UTC, datetime, timedelta

import numpy as np

from chronotope.contracts.event_log import Float64
from chronotope.inference.forecast import (
    RemainingWait,
    forecast_places,
    forecast_time,
    remaining_wait,
)
from chronotope.inference.interval_levels import forecast_levels
from chronotope.inference.ranking import describe_items, none_if_nan, score_items
from chronotope.inference.recommend import answer_notes
from chronotope.serving.api.requests import PredictRequest, UserRequest
from chronotope.serving.api.responses import (
    BaseResponse,
    HistoryItem,
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
    bundle_vocabulary, item_metadata = (
        loaded_champion.champion.vocabulary,
        loaded_champion.item_metadata,
    )
    options = predict_request.recommend_options()
    ranking = score_items(model_output.item_scores[0], user_history, item_metadata, options)
    item_indices = ranking.best(predict_request.k).items
    recent_activity = loaded_champion.recent_activity(prepared.request_time)
    wait = remaining_wait(model_output.when, user_history, prepared.request_time)
    version = loaded_champion.champion.version
    time_curve = _time_curve(wait, forecast_levels(inference_service.workspace, dataset, version))
    base = base_response(prepared, predict_request, dataset, timed=time_curve is not None)
    return PredictResponse(
        **dict(base),
        history=_history_items(prepared, predict_request.n_history),
        items=describe_items(
            item_indices,
            ranking,
            options,
            user_history,
            recent_activity,
            bundle_vocabulary,
            item_metadata,
        ),
        time_forecast=time_curve,
        place_forecasts=forecast_places(
            model_output.place_scores[0], bundle_vocabulary, item_metadata, predict_request.n_places
        ),
    )


def base_response(
    prepared: PreparedRequest, user_request: UserRequest, dataset: str, *, timed: bool
) -> BaseResponse:
    """Fields of every model response.

    Args:
        prepared: The request with the state of its user.
        user_request: The request.
        dataset: Name of the dataset.
        timed: Whether the response has a time forecast.
    """
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
    n_events = len(prepared.known_history)
    rows = range(max(0, n_events - n_latest), n_events)
    return tuple(history_item_at(prepared, row) for row in rows)


def history_item_at(prepared: PreparedRequest, row: int) -> HistoryItem:
    """Event of the history that the model reads.

    Args:
        prepared: The request with the state of its user.
        row: Position among the known events, oldest first.
    """
    user_history, item_metadata = prepared.known_history, prepared.loaded_champion.item_metadata
    bundle_vocabulary, item_idx = (
        prepared.loaded_champion.champion.vocabulary,
        user_history.item_idx[row],
    )
    return HistoryItem(
        item_id=str(bundle_vocabulary.items.name(int(item_idx))),
        title=bundle_vocabulary.titles[int(item_idx)] or "",
        occurred_at=_UNIX_EPOCH + timedelta(seconds=int(user_history.occurred_s[row])),
        utc_offset_min=int(user_history.utc_offset_min[row]),
        lat=none_if_nan(float(item_metadata.lat[item_idx])),
        lon=none_if_nan(float(item_metadata.lon[item_idx])),
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
