"""Responses from stored predictions, while no model can be loaded."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts import predictions as p
from chronotope.contracts.errors import StoreError
from chronotope.inference.item_metadata import rounded_confidence
from chronotope.inference.ranking import none_if_nan
from chronotope.inference.request import PlaceForecast, RecommendedItem
from chronotope.serving.api.requests import PredictRequest, RecommendRequest, UserRequest
from chronotope.serving.api.responses import (
    BaseResponse,
    PredictResponse,
    RecommendResponse,
    TimeCurve,
)
from chronotope.serving.model.inference import resolve_request_time
from chronotope.serving.model.stored_predictions import StoredPredictions, source_text
from chronotope.spacetime.distances import haversine_km

POLICY: Final = "stored"
"""Policy of lists from stored predictions."""

_NO_MODEL_NOTE: Final = (
    "No model can be loaded: this is the user's list of an earlier batch scoring, without later "
    "events and without the context of the request."
)
_PAST_NOTE: Final = "The list was computed with events after the request time, too."
_FILTER_NOTE: Final = "Filters apply to the stored list only, which is not the whole catalogue."


class StoredEndpoint:
    """Endpoints of recommendations and predictions over the stored predictions."""

    def __init__(self, dataset: str, stored: StoredPredictions) -> None:
        """Wrap the stored predictions.

        Args:
            dataset: Name of the dataset.
            stored: The stored predictions.
        """
        self._dataset, self._stored = dataset, stored

    def recommend(self, recommend_request: RecommendRequest) -> RecommendResponse:
        """The user's stored list, most probable items first; never drawn at random.

        Raises:
            StoreError: There are no stored predictions for the user.
        """
        rows = self._user_rows(recommend_request)
        items, notes = _filtered_items(rows, recommend_request)
        base = self._base_response(recommend_request, rows, notes)
        return RecommendResponse(
            **dict(base),
            answer_id=uuid4().hex,
            policy=POLICY,
            items=items,
            propensities=(1.0,) * len(items),
        )

    def predict(self, predict_request: PredictRequest) -> PredictResponse:
        """The user's stored items, time and places; the time counts from the request.

        Raises:
            StoreError: There are no stored predictions for the user.
        """
        rows = self._user_rows(predict_request)
        base = self._base_response(predict_request, rows, ())
        return PredictResponse(
            **dict(base),
            history=(),
            items=_items(rows, predict_request)[: predict_request.k],
            time_forecast=_time_forecast(rows, base.request_time),
            place_forecasts=_places(rows)[: predict_request.n_places],
        )

    def _user_rows(self, user_request: UserRequest) -> pa.Table:
        user_id = user_request.user_id
        rows = pa.table({}) if user_id is None else self._stored.user_rows(user_id)
        if not len(rows):
            raise StoreError(
                "No model can be loaded, and there are no stored predictions for this user",
                received=user_id or "a history without a user id",
                way_out="Repair the model (see /health), or roll back with `chronotope rollback`",
            )
        return rows

    def _base_response(
        self, user_request: UserRequest, rows: pa.Table, notes: tuple[str, ...]
    ) -> BaseResponse:
        first_row: dict[str, Any] = rows.slice(0, 1).to_pylist()[0]
        request_time, scored_at = resolve_request_time(user_request), first_row[p.SCORED_AT]
        past_notes = (_PAST_NOTE,) if request_time < scored_at else ()
        return BaseResponse(
            dataset=self._dataset,
            version=first_row[p.MODEL_VERSION],
            user_id=user_request.user_id,
            request_time=request_time,
            n_history=first_row[p.N_HISTORY],
            n_unknown_items=first_row[p.N_UNKNOWN_ITEMS],
            source=source_text(scored_at.astimezone(UTC)),
            notes=(_NO_MODEL_NOTE, *past_notes, *notes),
        )


def _filtered_items(
    rows: pa.Table, recommend_request: RecommendRequest
) -> tuple[tuple[RecommendedItem, ...], tuple[str, ...]]:
    """Stored items that pass the filters of a request, and notes on them."""
    is_new: list[bool] = rows[p.IS_NEW].to_pylist()
    items, category = _items(rows, recommend_request), recommend_request.category
    within_km, notes = recommend_request.within_km, []
    passing = [
        item
        for item, item_is_new in zip(items, is_new, strict=True)
        if (item_is_new or not recommend_request.exclude_seen)
        and (category is None or item.category == category)
        and (within_km is None or (item.distance_km or np.inf) <= within_km)
    ]
    if recommend_request.exclude_seen or category is not None or within_km is not None:
        notes.append(_FILTER_NOTE)
    if len(passing) < recommend_request.k:
        notes.append(f"The stored list has {len(passing)} items for this request.")
    return tuple(passing[: recommend_request.k]), tuple(notes)


def _items(rows: pa.Table, user_request: UserRequest) -> tuple[RecommendedItem, ...]:
    """All stored items of a user, with their distance from the request."""
    distances = np.full(len(rows), np.nan)
    if user_request.lat is not None and user_request.lon is not None:
        lat_deg, lon_deg = (rows[name].to_numpy().astype(np.float64) for name in (c.LAT, c.LON))
        distances = haversine_km(
            lat=lat_deg, lon=lon_deg, to_lat=user_request.lat, to_lon=user_request.lon
        )
    return tuple(
        RecommendedItem(
            id=row[c.ITEM_ID],
            title=row[c.TITLE],
            probability=row[p.PROBABILITY],
            lat=row[c.LAT],
            lon=row[c.LON],
            distance_km=none_if_nan(distance_km),
            category=row[c.CATEGORY],
            reason=row[p.REASON],
            category_confidence=rounded_confidence(row.get(c.CATEGORY_CONFIDENCE)),
        )
        for row, distance_km in zip(rows.to_pylist(), distances.tolist(), strict=True)
    )


def _time_forecast(rows: pa.Table, request_time: datetime) -> TimeCurve | None:
    """Hours from the request to the stored time of the next event; None if it has passed."""
    row: dict[str, Any] = rows.slice(0, 1).to_pylist()[0]
    if row[p.MEDIAN_H] is None:
        return None
    passed_h = (request_time - row[p.SCORED_AT]) / timedelta(hours=1)
    low_h, median_h, high_h = (row[name] - passed_h for name in (p.LOW_H, p.MEDIAN_H, p.HIGH_H))
    if high_h <= 0:
        return None
    return TimeCurve(
        median_h=max(0.0, median_h),
        low_h=max(0.0, low_h),
        high_h=high_h,
        since_last_event_h=None,
        curve=(),
    )


def _places(rows: pa.Table) -> tuple[PlaceForecast, ...]:
    places: list[dict[str, Any]] = rows[p.PLACES][0].as_py()
    return tuple(
        PlaceForecast(place["place_id"], place["probability"], place["lat"], place["lon"])
        for place in places
    )
