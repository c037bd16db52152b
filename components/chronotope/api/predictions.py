"""Predictions of a model over the events of a log, as data frames."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from chronotope.api.frame_spec import restored_ids
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
        stack = ExitStack()
        config = ScoringConfig(root=root, k=1)
        source = stack.enter_context(open_source(dataset, config, lambda *_: champion))
        return cls(source, id_types, stack)

    def predict(
        self, users: Sequence[str], moment: datetime, options: RecommendOptions
    ) -> list[UserPrediction]:
        """Predictions for users, in their order.

        Args:
            users: Ids as texts; an unknown one is a cold-start user.
            moment: Time of the request; only earlier events count.
            options: Number of items and filters.
        """
        source = self.source
        scorer = BatchScorer.within_memory(
            source.loaded_champion, source.read_state, options, moment, BATCH_USERS, source.levels
        )
        return scorer.predict(users)

    def items_frame(
        self, users: Sequence[str], moment: datetime, options: RecommendOptions
    ) -> "pd.DataFrame":
        """Recommended items: a row for each user and rank."""
        predictions = self.predict(users, moment, options)
        rows = [
            row
            for user, prediction in zip(self.given_ids(users, c.USER_ID), predictions, strict=True)
            for row in self._item_rows(user, prediction)
        ]
        names = ["user", "rank", "item", "title", "category", "probability", "is_new", "reason"]
        return _frame(rows, [*names, "lat", "lon"])

    def _item_rows(self, user: Any, prediction: UserPrediction) -> Iterator[tuple[Any, ...]]:
        metadata = self.source.loaded_champion.item_metadata
        vocabulary, items = self.source.champion.vocabulary, prediction.items
        ids = restored_ids(
            [str(name) for name in vocabulary.items.names(items)], self.id_types.get(c.ITEM_ID)
        )
        categories = metadata.categories.names(metadata.category_idx[items])
        columns = zip(
            items.tolist(),
            ids,
            categories,
            prediction.probabilities,
            prediction.is_new,
            prediction.reasons,
            strict=True,
        )
        for rank, (index, item, category, probability, is_new, reason) in enumerate(columns, 1):
            place = (float(metadata.lat[index]), float(metadata.lon[index]))
            title = vocabulary.titles[index] or None
            yield (user, rank, item, title, category, probability, is_new, reason, *place)

    def times_frame(self, users: Sequence[str], moment: datetime, zone: Any) -> "pd.DataFrame":
        """Predicted time of the next event: a row for each user, NaN without a history."""
        predictions = self.predict(users, moment, RecommendOptions(k=1))
        rows = []
        for user, prediction in zip(self.given_ids(users, c.USER_ID), predictions, strict=True):
            low_h, median_h, high_h = (none_if_nan(hours) for hours in prediction.hours.tolist())
            expected = None if median_h is None else moment + timedelta(hours=median_h)
            local = None if expected is None else expected.astimezone(zone).replace(microsecond=0)
            rows.append((user, low_h, median_h, high_h, local, prediction.n_history))
        names = ["user", "low_h", "median_h", "high_h", "expected_at", "n_history"]
        return _frame(rows, names)

    def places_frame(self, users: Sequence[str], moment: datetime, k: int) -> "pd.DataFrame":
        """Likeliest next places: a row for each user and rank."""
        if self.source.loaded_champion.items_are_places:
            items = self.items_frame(users, moment, RecommendOptions(k=k))
            names = ["user", "rank", "item", "title", "probability", "lat", "lon"]
            return items[names].rename(columns={"item": "place"})
        predictions = self.predict(users, moment, RecommendOptions(k=1))
        rows = [
            (user, rank, place.id, None, place.probability, place.lat, place.lon)
            for user, prediction in zip(self.given_ids(users, c.USER_ID), predictions, strict=True)
            for rank, place in enumerate(prediction.places[:k], 1)
        ]
        frame = _frame(rows, ["user", "rank", "place", "title", "probability", "lat", "lon"])
        frame["place"] = restored_ids(frame["place"].to_list(), self.id_types.get(c.PLACE_ID))
        return frame

    def given_ids(self, texts: Sequence[str], column: str) -> list[Any]:
        """Ids in the type of the user's frame; texts that are no such id stay texts."""
        id_type = self.id_types.get(column)
        if id_type is None or not all(text.lstrip("-").isdigit() for text in texts):
            return list(texts)
        return restored_ids(list(texts), id_type)

    def close(self) -> None:
        """Close the interaction log, if one is open."""
        self._stack.close()


def user_texts(users: object) -> list[str]:
    """Ids as the lake stores them.

    Args:
        users: One id, or a list, array or column of ids.

    Raises:
        ConfigError: There is none, or one is missing or no id.
    """
    is_single = isinstance(users, str | int | float | np.integer)
    values = [users] if is_single else list(users)  # type: ignore[call-overload]
    if not values:
        raise ConfigError("No user is named", received=users, way_out="Pass at least one id")
    try:
        ids = id_texts(pa.array(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConfigError(
            "Ids of users must be of one type", received=values, way_out="Convert them to texts"
        ) from error
    if ids.texts.null_count:
        reasons = "; ".join(f"an id {reason}" for reason in ids.refusals)
        raise ConfigError("Not every user has an id", received=reasons, way_out="Drop these rows")
    return [str(text) for text in ids.texts.to_pylist()]


def _frame(rows: list[tuple[Any, ...]], names: list[str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=names)
