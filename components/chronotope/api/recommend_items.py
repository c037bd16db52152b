"""Recommendations of any model by the protocol: baselines, installed models and a user's own."""

import copy
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.api.evaluate_models import Model, named_models
from chronotope.api.logs.frame_spec import restored_ids
from chronotope.api.logs.log import Log
from chronotope.api.moments import to_moment
from chronotope.api.predictions import user_texts
from chronotope.api.recommender import NextEventRecommender
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import EventLog, Int32, Int64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries, queries_at
from chronotope.spacetime.clock import utc_offsets

if TYPE_CHECKING:
    import pandas as pd

_BATCH_USERS: Final = 256
_COLUMNS: Final = ["user", "rank", "item", "title", "category", "score", "is_new"]


def recommend(
    model: Model | str,
    log: Log,
    users: object,
    at: object = None,
    *,
    k: int = 10,
    new_only: bool = False,
) -> "pd.DataFrame":
    """Items that a model ranks highest for users, trained on the events before a moment.

    A ``ct.Recommender`` has a method of its own, which neither trains again nor ranks by scores
    alone; it gives probabilities and reasons.

    Args:
        model: Baseline, installed recommender or model of your own; a baseline or an installed
            one by name, too. It stays as it is: a copy is trained.
        log: All events.
        users: One id, or a list or column of ids; without events, of cold-start users.
        at: Moment of the request; by default the second after the last event of the log.
        k: Number of items.
        new_only: Only items that the user has not had yet.

    Returns:
        A row for each user and rank: item, title, category, score, whether it is new to the user.
        Items of equal score are in the order of their ids.

    Raises:
        ConfigError: The model is no recommender, or k is no positive number.
        NotEnoughData: No event is before the moment.
    """
    ((_, checked_model),) = named_models([model]).items()
    if isinstance(checked_model, NextEventRecommender):
        raise ConfigError(
            "A ct.Recommender recommends by itself", way_out="Call model.fit(log).recommend(users)"
        )
    if k < 1:
        raise ConfigError("k must be at least 1", received=k)
    request_time = log.next_second if at is None else to_moment(at, log.time_zone)
    known_log, request_s = log.before(request_time), int(request_time.timestamp())
    user_ids = user_texts(users)
    fitted_model = copy.deepcopy(checked_model).fit(known_log.events, known_log.index)
    request_offset_min = 0
    if log.spec.local_zone is not None:
        request_offset_min = int(utc_offsets(np.array([request_s]), log.spec.local_zone)[0])
    user_idx = known_log.index.users.index(user_ids)
    frame_rows: list[tuple[Any, ...]] = []
    for start_idx in range(0, len(user_idx), _BATCH_USERS):
        batch_users = user_idx[start_idx : start_idx + _BATCH_USERS]
        user_queries = _queries_of_users(
            fitted_model, known_log.events, batch_users, request_s, request_offset_min
        )
        item_scores = np.array(fitted_model.scores(user_queries), np.float64)  # (B, n_items)
        frame_rows += _ranked_rows(known_log, batch_users, item_scores, k=k, new_only=new_only)
    return _ranked_frame(frame_rows, log, user_ids)


def _queries_of_users(
    fitted_model: Recommender,
    known_events: EventLog,
    user_idx: Int32,
    request_s: int,
    request_offset_min: int,
) -> Queries:
    """A query of each user: an event is appended to each history and asked for."""
    n_asked = len(user_idx)
    asked_events = np.isin(known_events.user_idx, user_idx[user_idx != UNKNOWN])
    user_events = known_events.take(asked_events)
    # Users by position, so that repeated and unknown users have rows of their own.
    history_starts = np.searchsorted(user_events.user_idx, user_idx, side="left")
    history_ends = np.searchsorted(user_events.user_idx, user_idx, side="right")
    history_ends = np.where(user_idx == UNKNOWN, history_starts, history_ends)
    lengths = history_ends - history_starts
    event_rows = np.concatenate(
        [np.arange(start, end) for start, end in zip(history_starts, history_ends, strict=True)]
        or [np.empty(0, np.int64)]
    ).astype(np.int64)
    row_users = np.repeat(np.arange(n_asked), lengths)

    def with_requests(column: npt.NDArray[Any], request_value: int) -> npt.NDArray[Any]:
        return np.concatenate([column[event_rows], np.full(n_asked, request_value, column.dtype)])

    request_log = EventLog.sorted(
        user_idx=np.concatenate([row_users, np.arange(n_asked)]),
        item_idx=with_requests(user_events.item_idx, UNKNOWN),
        occurred_s=with_requests(user_events.occurred_s, request_s),
        utc_offset_min=with_requests(user_events.utc_offset_min, request_offset_min),
        place_idx=with_requests(user_events.place_idx, UNKNOWN),
    )
    request_positions: Int64 = np.cumsum(lengths + 1) - 1
    user_queries = queries_at(
        request_log, request_positions, history_len=fitted_model.history_len, time_given=True
    )
    query_arrays = user_queries.arrays() | {"user_idx": user_idx.astype(np.int32)}
    return Queries.of_arrays(query_arrays)


def _ranked_rows(
    known_log: Log,
    user_idx: Int32,
    item_scores: npt.NDArray[np.float64],
    *,
    k: int,
    new_only: bool,
) -> list[tuple[Any, ...]]:
    """Rows of the best items of each user, without the user."""
    item_catalog, known_events = known_log.index, known_log.events
    titles = item_catalog.item_title
    frame_rows: list[tuple[Any, ...]] = []
    for asked_user, user_scores in zip(user_idx, item_scores, strict=True):
        is_known = known_events.user_idx == asked_user
        had_items = np.unique(known_events.item_idx[is_known]) if asked_user else np.empty(0, int)
        user_scores[UNKNOWN] = -np.inf
        if new_only:
            user_scores[had_items] = -np.inf
        best_items = np.argsort(-user_scores, kind="stable")[:k]
        best_items = best_items[np.isfinite(user_scores[best_items])]
        frame_rows.append(
            (
                item_catalog.items.names(best_items),
                [str(titles[item]) if len(titles) else "" for item in best_items],
                item_catalog.categories.names(item_catalog.item_category[best_items]),
                user_scores[best_items].tolist(),
                (~np.isin(best_items, had_items)).tolist(),
            )
        )
    return frame_rows


def _ranked_frame(
    frame_rows: list[tuple[Any, ...]], log: Log, user_ids: list[str]
) -> "pd.DataFrame":
    """Frame of the ranked items, ids in the type of the user's frame."""
    import pandas as pd

    user_type, item_type = (log.id_types.get(name) for name in (c.USER_ID, c.ITEM_ID))
    is_whole = all(user_id.lstrip("-").isdigit() for user_id in user_ids)
    given_users = restored_ids(user_ids, user_type if is_whole else None)
    table_rows = [
        (given_user, rank, item_id, *attributes)
        for given_user, columns in zip(given_users, frame_rows, strict=True)
        for rank, (item_id, *attributes) in enumerate(zip(*columns, strict=True), 1)
    ]
    ranked_frame = pd.DataFrame(table_rows, columns=_COLUMNS)
    ranked_frame["item"] = restored_ids(ranked_frame["item"].to_list(), item_type)
    return ranked_frame
