"""Rows of the predictions table from the predictions of a block of users."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts import predictions as p
from chronotope.contracts.event_log import Float64, Int64
from chronotope.inference.request import PlaceForecast
from chronotope.scoring.batch_scorer import UserPrediction
from chronotope.serving.model.loaded import LoadedChampion


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """Origin of the rows of one scoring.

    Attributes:
        scored_at: Moment of scoring.
        model_version: Version of the model.
        data_version: Versions of the tables it was computed from.
        scoring_key: Identity of model, metadata and settings.
    """

    scored_at: datetime
    model_version: str
    data_version: str
    scoring_key: str


class PredictionRows:
    """Builder of rows; the ids and titles of the catalogue are converted once."""

    def __init__(self, loaded_champion: LoadedChampion, origin: RowOrigin) -> None:
        """Convert the catalogue.

        Args:
            loaded_champion: Model that predicted.
            origin: Origin of the rows.
        """
        bundle_vocabulary, item_metadata = (
            loaded_champion.champion.vocabulary,
            loaded_champion.item_metadata,
        )
        self._origin, self._metadata = origin, item_metadata
        self._item_ids = pa.concat_arrays([pa.nulls(1, pa.string()), bundle_vocabulary.items.ids])
        self._titles = pa.array([title or "" for title in bundle_vocabulary.titles], pa.string())
        self._categories = pa.concat_arrays(
            [pa.nulls(1, pa.string()), item_metadata.categories.ids]
        )

    def table(
        self,
        user_ids: Sequence[str],
        history_digests: Int64,
        predictions: Sequence[UserPrediction],
    ) -> pa.Table:
        """Rows of a block of users, by user and rank.

        Args:
            user_ids: External ids.
            history_digests: Digest of each user's events, shape (n_users,).
            predictions: Prediction of each user.
        """
        list_lengths = np.array([len(one.items) for one in predictions], np.int64)
        user_rows = np.repeat(np.arange(len(predictions)), list_lengths)  # (n_rows,)
        user_columns = self._user_columns(user_ids, history_digests, predictions)
        repeated = user_columns.take(pa.array(user_rows))
        item_columns = self._item_columns(predictions, list_lengths)
        columns = {name: repeated[name] for name in repeated.column_names} | item_columns
        return pa.table([columns[name] for name in p.PREDICTIONS.names], schema=p.PREDICTIONS)

    def _item_columns(
        self, predictions: Sequence[UserPrediction], list_lengths: Int64
    ) -> dict[str, pa.Array]:
        """Columns with one value for each row."""
        item_idx = np.concatenate([np.empty(0, np.int64), *(one.items for one in predictions)])
        first_rows = np.repeat(np.cumsum(list_lengths) - list_lengths, list_lengths)
        ranks = 1 + np.arange(len(item_idx)) - first_rows
        item_rows = pa.array(item_idx)
        category_rows = pa.array(self._metadata.category_idx[item_idx])
        return {
            p.RANK: pa.array(ranks, pa.int32()),
            c.ITEM_ID: self._item_ids.take(item_rows),
            c.TITLE: self._titles.take(item_rows),
            c.CATEGORY: self._categories.take(category_rows),
            c.CATEGORY_CONFIDENCE: pa.array(self._metadata.confidences(item_idx), pa.float32()),
            c.LAT: _null_if_nan(self._metadata.lat[item_idx]),
            c.LON: _null_if_nan(self._metadata.lon[item_idx]),
            p.PROBABILITY: pa.array(
                [value for one in predictions for value in one.probabilities], pa.float64()
            ),
            p.REASON: pa.array([text for one in predictions for text in one.reasons], pa.string()),
            p.IS_NEW: pa.array([flag for one in predictions for flag in one.is_new], pa.bool_()),
        }

    def _user_columns(
        self,
        user_ids: Sequence[str],
        history_digests: Int64,
        predictions: Sequence[UserPrediction],
    ) -> pa.Table:
        """Columns with one value for each user, which repeats for every rank."""
        hours = np.array([one.hours for one in predictions]).reshape(-1, 3)
        n_users, origin = len(predictions), self._origin
        places = [[_place_row(place) for place in one.places] for one in predictions]
        return pa.table(
            {
                c.USER_ID: pa.array(user_ids, pa.string()),
                p.LOW_H: _null_if_nan(hours[:, 0]),
                p.MEDIAN_H: _null_if_nan(hours[:, 1]),
                p.HIGH_H: _null_if_nan(hours[:, 2]),
                p.PLACES: pa.array(places, pa.list_(p.PLACE_TYPE)),
                p.N_HISTORY: pa.array([one.n_history for one in predictions], pa.int32()),
                p.N_UNKNOWN_ITEMS: pa.array(
                    [one.n_unknown_items for one in predictions], pa.int32()
                ),
                p.SCORED_AT: pa.repeat(
                    pa.scalar(origin.scored_at, p.PREDICTIONS.field(p.SCORED_AT).type), n_users
                ),
                p.MODEL_VERSION: pa.repeat(origin.model_version, n_users),
                p.DATA_VERSION: pa.repeat(origin.data_version, n_users),
                p.SCORING_KEY: pa.repeat(origin.scoring_key, n_users),
                p.HISTORY_DIGEST: pa.array(history_digests, pa.int64()),
            }
        )


def _place_row(place: PlaceForecast) -> tuple[str, float, float | None, float | None]:
    """Values of a place in the order of ``PLACE_TYPE``."""
    return place.id, place.probability, place.lat, place.lon


def _null_if_nan(values: Float64) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)
