"""Explanation of one item for one user by the champion, outside of a service."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float32
from chronotope.contracts.queries import Queries
from chronotope.explanations.explain_items import Explanation, explain_scores
from chronotope.explanations.term_shares import TermShare, champion_terms
from chronotope.explanations.why_text import why_text
from chronotope.inference.explanations import explain_items
from chronotope.inference.history import UserHistory, history_to_queries
from chronotope.inference.recommend import activity_before, read_request
from chronotope.inference.request import RecommendOptions
from chronotope.registry.champion import Champion, load_champion

_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NamedEvent:
    """Event of the history that an explanation names.

    Attributes:
        item_id, title: Its item.
        occurred_at: Its time.
        rank_without, probability_without: Of the explained item without this event; None for
            events of a counterfactual.
    """

    item_id: str
    title: str
    occurred_at: datetime
    rank_without: int | None = None
    probability_without: float | None = None


@dataclass(frozen=True, slots=True)
class UserExplanation:
    """Explanation of one item for one user.

    Attributes:
        dataset, version: The champion.
        user_id, request_time: User and time of the request.
        item_id, title: The item.
        rank, probability: Among all items.
        reason: Fact of the history or of all users' activity.
        why: Text for the user.
        events: Events that raised the score most, the strongest first.
        removed: Events of the counterfactual; empty without one.
        rank_without_removed: Rank of the item without them.
        terms: Terms of the trained network's score, the largest first; empty if its file or its
            data are gone.
    """

    dataset: str
    version: str
    user_id: str
    request_time: datetime
    item_id: str
    title: str
    rank: int
    probability: float
    reason: str
    why: str
    events: tuple[NamedEvent, ...]
    removed: tuple[NamedEvent, ...]
    rank_without_removed: int | None
    terms: tuple[TermShare, ...]


def explain_user(
    root: Path,
    dataset: str,
    user_id: str,
    request_time: datetime,
    *,
    item_id: str | None = None,
    list_len: int = 10,
    load: Callable[[Path, str], Champion] = load_champion,
) -> UserExplanation:
    """Why the champion ranks an item for a user as it does.

    Args:
        root: Project root.
        dataset: Dataset of the champion.
        user_id: External id.
        request_time: Request time, with a time zone.
        item_id: The item; None explains the most probable one.
        list_len: Length of the list that the counterfactual takes the item out of.
        load: Loader of the champion.

    Raises:
        ConfigError: No such dataset.
        DataError: The champion does not know the item.
        StoreError: There is no champion yet.
    """
    request = read_request(
        root, dataset, user_id, request_time, options=RecommendOptions(), load=load
    )
    champion, user_history, request_time = request.champion, request.history, request.request_time
    user_idx = int(request.vocabulary.users.index([request.stored_id])[0])
    query = history_to_queries(user_history, user_idx, request_time, context=request.context)

    def score(queries: Queries) -> Float32:
        return champion.model.answer(queries).item_scores

    item_idx = _item_index(champion, item_id, score(query)[0])
    (explanation,) = explain_scores(
        score, query, np.array([item_idx]), list_len=list_len, counterfactuals=True
    )
    activity = activity_before(request)
    reason = next(
        explain_items(
            np.array([item_idx]), user_history, activity, request.vocabulary, request.metadata
        )
    )
    terms = champion_terms(root, dataset, champion, query, item_idx)
    outcome = _Outcome(item_idx, explanation, user_history, champion, reason, terms)
    return _user_explanation(dataset, user_id, request_time, outcome)


class _Outcome(NamedTuple):
    """What was computed for one item."""

    item_idx: int
    explanation: Explanation
    history: UserHistory
    champion: Champion
    reason: str
    terms: tuple[TermShare, ...]


def _user_explanation(
    dataset: str, user_id: str, request_time: datetime, outcome: _Outcome
) -> UserExplanation:
    item_idx, explanation, user_history, champion, reason, terms = outcome
    counterfactual, bundle_vocabulary = explanation.counterfactual, champion.vocabulary
    removed_rows = [] if counterfactual is None else counterfactual.position.tolist()
    return UserExplanation(
        dataset=dataset,
        version=champion.version,
        user_id=user_id,
        request_time=request_time,
        item_id=str(bundle_vocabulary.items.name(item_idx)),
        title=bundle_vocabulary.titles[item_idx] or "",
        rank=explanation.rank,
        probability=explanation.probability,
        reason=reason,
        why=why_text(explanation, user_history, bundle_vocabulary, reason),
        events=_influential(explanation, user_history, champion),
        removed=tuple(_named_event(row, user_history, champion) for row in removed_rows),
        rank_without_removed=None if counterfactual is None else counterfactual.rank,
        terms=terms,
    )


def _item_index(champion: Champion, item_id: str | None, logits: Float32) -> int:
    if item_id is None:
        return 1 + int(logits[1:].argmax())
    item_idx = int(champion.vocabulary.items.index([item_id])[0])
    if not item_idx:
        raise DataError(
            "The champion does not know this item",
            received=item_id,
            way_out="Train a model on events of this item",
        )
    return item_idx


def _influential(
    explanation: Explanation, history: UserHistory, champion: Champion
) -> tuple[NamedEvent, ...]:
    return tuple(
        _named_event(
            event.position, history, champion, event.rank_without, event.probability_without
        )
        for event in explanation.events
    )


def _named_event(
    row: int,
    history: UserHistory,
    champion: Champion,
    rank_without: int | None = None,
    probability_without: float | None = None,
) -> NamedEvent:
    item_idx = int(history.item_idx[row])
    return NamedEvent(
        str(champion.vocabulary.items.name(item_idx)),
        champion.vocabulary.titles[item_idx] or "",
        _UNIX_EPOCH + timedelta(seconds=int(history.occurred_s[row])),
        rank_without,
        probability_without,
    )
