"""Predictions of a model over the events of a log, as data frames."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from chronotope.api.logs.frame_spec import restored_ids
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.values.id_texts import id_texts
from chronotope.inference.ranking import none_if_nan
from chronotope.inference.request import RecommendOptions
from chronotope.registry.champion import Champion
from chronotope.scoring.batch_scorer import BatchScorer, UserPrediction
from chronotope.scoring.config import ScoringConfig
from chronotope.scoring.source import ScoringSource, open_source

if TYPE_CHECKING:
    import pandas as pd

BATCH_USERS: Final = 64
"""Users in one run of the model."""

IdTypes = Mapping[str, pa.DataType]
"""Types of the ids in the user's frame, by contract column."""


@dataclass
class PredictionSource:
    """Model over the events of a lake: the code of ``chronotope score``, opened once.

    Attributes:
        source: Model, events and state of the users.
        id_types: Types of the ids that frames return.
    """

    source: ScoringSource
    id_types: IdTypes
    _stack: ExitStack

    @classmethod
    def open(
        cls, champion: Champion, root: Path, dataset: str, id_types: IdTypes
    ) -> "PredictionSource":
        """Open a model over the lake of a dataset.

        Args:
            champion: The model.
            root: Root of the project, or of a log's own lake.
            dataset: Dataset of the lake.
            id_types: Types of the ids that frames return.
        """
        exit_stack = ExitStack()
        scoring_config = ScoringConfig(root=root, k=1)
        source = exit_stack.enter_context(open_source(dataset, scoring_config, lambda *_: champion))
        return cls(source, id_types, exit_stack)

    def predict(
        self, user_ids: Sequence[str], request_time: datetime, options: RecommendOptions
    ) -> list[UserPrediction]:
        """Predictions for users, in their order.

        Args:
            user_ids: Ids as texts; an unknown one is a cold-start user.
            request_time: Time of the request; only earlier events count.
            options: Number of items and filters.
        """
        source = self.source
        batch_scorer = BatchScorer.within_memory(
            source.loaded_champion,
            source.read_state,
            options,
            request_time,
            BATCH_USERS,
            source.levels,
        )
        return batch_scorer.predict(user_ids)

    def items_frame(
        self, user_ids: Sequence[str], request_time: datetime, options: RecommendOptions
    ) -> "pd.DataFrame":
        """Recommended items: a row for each user and rank."""
        user_predictions = self.predict(user_ids, request_time, options)
        frame_rows = [
            frame_row
            for user_id, user_prediction in zip(
                self.given_ids(user_ids, c.USER_ID), user_predictions, strict=True
            )
            for frame_row in self._item_rows(user_id, user_prediction)
        ]
        column_names = [
            "user",
            "rank",
            "item",
            "title",
            "category",
            "probability",
            "is_new",
            "reason",
        ]
        return _frame(frame_rows, [*column_names, "lat", "lon"])

    def _item_rows(
        self, user_id: Any, user_prediction: UserPrediction
    ) -> Iterator[tuple[Any, ...]]:
        item_metadata = self.source.loaded_champion.item_metadata
        bundle_vocabulary, item_idx = self.source.champion.vocabulary, user_prediction.items
        item_ids = restored_ids(
            [str(name) for name in bundle_vocabulary.items.names(item_idx)],
            self.id_types.get(c.ITEM_ID),
        )
        categories = item_metadata.categories.names(item_metadata.category_idx[item_idx])
        columns = zip(
            item_idx.tolist(),
            item_ids,
            categories,
            user_prediction.probabilities,
            user_prediction.is_new,
            user_prediction.reasons,
            strict=True,
        )
        for rank, (catalog_idx, item_id, category, probability, is_new, reason) in enumerate(
            columns, 1
        ):
            place_forecast = (
                float(item_metadata.lat[catalog_idx]),
                float(item_metadata.lon[catalog_idx]),
            )
            item_title = bundle_vocabulary.titles[catalog_idx] or None
            yield (
                user_id,
                rank,
                item_id,
                item_title,
                category,
                probability,
                is_new,
                reason,
                *place_forecast,
            )

    def times_frame(
        self, user_ids: Sequence[str], request_time: datetime, zone: Any
    ) -> "pd.DataFrame":
        """Predicted time of the next event: a row for each user, NaN without a history."""
        user_predictions = self.predict(user_ids, request_time, RecommendOptions(k=1))
        frame_rows = []
        for user_id, user_prediction in zip(
            self.given_ids(user_ids, c.USER_ID), user_predictions, strict=True
        ):
            low_h, median_h, high_h = (
                none_if_nan(hours) for hours in user_prediction.hours.tolist()
            )
            expected_time = None if median_h is None else request_time + timedelta(hours=median_h)
            local_time = (
                None
                if expected_time is None
                else expected_time.astimezone(zone).replace(microsecond=0)
            )
            frame_rows.append(
                (user_id, low_h, median_h, high_h, local_time, user_prediction.n_history)
            )
        column_names = ["user", "low_h", "median_h", "high_h", "expected_at", "n_history"]
        return _frame(frame_rows, column_names)

    def places_frame(
        self, user_ids: Sequence[str], request_time: datetime, k: int
    ) -> "pd.DataFrame":
        """Likeliest next places: a row for each user and rank."""
        if self.source.loaded_champion.items_are_places:
            item_idx = self.items_frame(user_ids, request_time, RecommendOptions(k=k))
            column_names = ["user", "rank", "item", "title", "probability", "lat", "lon"]
            return item_idx[column_names].rename(columns={"item": "place"})
        user_predictions = self.predict(user_ids, request_time, RecommendOptions(k=1))
        frame_rows = [
            (
                user_id,
                rank,
                place_forecast.id,
                None,
                place_forecast.probability,
                place_forecast.lat,
                place_forecast.lon,
            )
            for user_id, user_prediction in zip(
                self.given_ids(user_ids, c.USER_ID), user_predictions, strict=True
            )
            for rank, place_forecast in enumerate(user_prediction.places[:k], 1)
        ]
        places_frame = _frame(
            frame_rows, ["user", "rank", "place", "title", "probability", "lat", "lon"]
        )
        places_frame["place"] = restored_ids(
            places_frame["place"].to_list(), self.id_types.get(c.PLACE_ID)
        )
        return places_frame

    def given_ids(self, id_values: Sequence[str], id_column: str) -> list[Any]:
        """Ids in the type of the user's frame; texts that are no such id stay texts."""
        id_type = self.id_types.get(id_column)
        if id_type is None or not all(text.lstrip("-").isdigit() for text in id_values):
            return list(id_values)
        return restored_ids(list(id_values), id_type)

    def close(self) -> None:
        """Close the interaction log, if one is open."""
        self._stack.close()


def user_texts(user_ids: object) -> list[str]:
    """Ids as the lake stores them.

    Args:
        user_ids: One id, or a list, array or column of ids.

    Raises:
        ConfigError: There is none, or one is missing or no id.
    """
    is_single = isinstance(user_ids, str | int | float | np.integer)
    given_ids = [user_ids] if is_single else list(user_ids)  # type: ignore[call-overload]
    if not given_ids:
        raise ConfigError("No user is named", received=user_ids, way_out="Pass at least one id")
    try:
        item_ids = id_texts(pa.array(given_ids))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConfigError(
            "Ids of users must be of one type", received=given_ids, way_out="Convert them to texts"
        ) from error
    if item_ids.texts.null_count:
        refusal_reasons = "; ".join(f"an id {reason}" for reason in item_ids.refusals)
        raise ConfigError(
            "Not every user has an id", received=refusal_reasons, way_out="Drop these rows"
        )
    return [str(text) for text in item_ids.texts.to_pylist()]


def _frame(frame_rows: list[tuple[Any, ...]], column_names: list[str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(frame_rows, columns=column_names)
