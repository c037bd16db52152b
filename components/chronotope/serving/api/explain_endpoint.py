"""Response of ``/explain``: the events that made a score, and a counterfactual."""

import numpy as np

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float32, Int64
from chronotope.contracts.queries import Queries
from chronotope.explanations.counterfactual import Counterfactual
from chronotope.explanations.explain_items import Explanation, InfluentialEvent, explain_scores
from chronotope.explanations.why_text import why_text
from chronotope.inference.ranking import DenseRanking, describe_items, score_items
from chronotope.inference.request import RecommendOptions
from chronotope.serving.api.predict_endpoint import base_response, history_item_at
from chronotope.serving.api.requests import UserRequest
from chronotope.serving.api.responses import (
    ExplainingEvent,
    ExplainResponse,
    ItemExplanation,
    RemovedEvents,
)
from chronotope.serving.model.inference import InferenceService, PreparedRequest, model_queries


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
        item_id: Item to explain, with a counterfactual; None explains the most probable ones.

    Raises:
        DataError: The champion does not know the item.
    """
    prepared = inference_service.prepare(user_request)
    logits = inference_service.run_model(prepared, user_request).item_scores[0]
    item_metadata, model = (
        prepared.loaded_champion.item_metadata,
        prepared.loaded_champion.champion.model,
    )
    ranking = score_items(logits, prepared.known_history, item_metadata, RecommendOptions())
    item_idx = (
        ranking.best(user_request.k).items if item_id is None else _item_index(prepared, item_id)
    )

    def score(queries: Queries) -> Float32:
        return model.answer(queries).item_scores

    explanations = explain_scores(
        score,
        model_queries(prepared, user_request),
        item_idx,
        list_len=user_request.k,
        counterfactuals=item_id is not None,
    )
    base = base_response(prepared, user_request, dataset, timed=True)
    items = _item_explanations(prepared, ranking, item_idx, explanations)
    return ExplainResponse(**dict(base), items=items)


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
    prepared: PreparedRequest,
    ranking: DenseRanking,
    item_indices: Int64,
    explanations: list[Explanation],
) -> tuple[ItemExplanation, ...]:
    loaded_champion, user_history = prepared.loaded_champion, prepared.known_history
    bundle_vocabulary = loaded_champion.champion.vocabulary
    recent_activity = loaded_champion.recent_activity(prepared.request_time)
    next_items = recent_activity.follows(int(user_history.item_idx[-1]) if user_history else 0)
    items = describe_items(
        item_indices,
        ranking,
        RecommendOptions(),
        user_history,
        recent_activity,
        bundle_vocabulary,
        loaded_champion.item_metadata,
    )
    return tuple(
        ItemExplanation(
            id=item.id,
            title=item.title,
            rank=explanation.rank,
            probability=explanation.probability,
            reason=item.reason,
            why=why_text(explanation, user_history, bundle_vocabulary, item.reason),
            events=_events(prepared, explanation),
            counterfactual=_removed_events(prepared, explanation.counterfactual),
            n_user_events=int((user_history.item_idx == item_idx).sum()),
            n_transitions=int((next_items == item_idx).sum()),
            n_recent_events=int(recent_activity.counts[item_idx]),
        )
        for item_idx, item, explanation in zip(
            item_indices.tolist(), items, explanations, strict=True
        )
    )


def _events(prepared: PreparedRequest, explanation: Explanation) -> tuple[ExplainingEvent, ...]:
    return tuple(_explaining_event(prepared, event) for event in explanation.events)


def _explaining_event(prepared: PreparedRequest, event: InfluentialEvent) -> ExplainingEvent:
    history_item = history_item_at(prepared, event.position)
    return ExplainingEvent(
        item_id=history_item.item_id,
        title=history_item.title,
        occurred_at=history_item.occurred_at,
        utc_offset_min=history_item.utc_offset_min,
        effect=event.effect,
        probability_without=event.probability_without,
        rank_without=event.rank_without,
    )


def _removed_events(
    prepared: PreparedRequest, counterfactual: Counterfactual | None
) -> RemovedEvents | None:
    if counterfactual is None:
        return None
    return RemovedEvents(
        events=tuple(history_item_at(prepared, row) for row in counterfactual.position.tolist()),
        rank=counterfactual.rank,
        probability=counterfactual.probability,
    )
