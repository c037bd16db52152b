"""Answers ``/predict`` and ``/explain``: what, when, where, and why."""

from datetime import UTC, datetime, timedelta

import numpy as np

from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Int64
from chronotope.inference.forecast import (
    RemainingWait,
    forecast_places,
    forecast_time,
    remaining_wait,
)
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

N_POINTS = 48
"""Points of the when-curve, closer together where the wait is short."""


def predict(asking: InferenceService, dataset: str, question: PredictRequest) -> PredictResponse:
    """What, when and where?"""
    asked = asking.asked(question)
    said, opened = asking.answer(asked, question), asked.opened
    words, facts = opened.champion.vocabulary, opened.facts
    wish = question.wish()
    scored = score_items(said.item_scores[0], asked.past, facts, wish)
    chosen, crowd = scored.best(question.k).items, opened.crowd(asked.at)
    when = _curve(remaining_wait(said.when, asked.past, asked.at))
    common = _common(asked, question, dataset, timed=when is not None)
    return PredictResponse(
        **dict(common),
        history=_history(asked, question.n_history),
        items=describe_items(chosen, scored, wish, asked.past, crowd, words, facts),
        when=when,
        where=forecast_places(said.place_scores[0], words, facts, question.n_places),
    )


def explain(
    asking: InferenceService, dataset: str, question: UserRequest, item_id: str | None
) -> ExplainResponse:
    """Why has an item its rank, or why are the likeliest ones the likeliest?

    Raises:
        DataError: The champion does not know the item.
    """
    asked = asking.asked(question)
    logits = asking.answer(asked, question).item_scores[0]
    scored = score_items(logits, asked.past, asked.opened.facts, RecommendOptions())
    chosen = scored.best(question.k).items if item_id is None else _index(asked, item_id)
    common = _common(asked, question, dataset, timed=True)
    return ExplainResponse(**dict(common), items=_reasons(asked, scored, chosen))


def _common(
    asked: PreparedRequest, question: UserRequest, dataset: str, *, timed: bool
) -> BaseResponse:
    champion = asked.opened.champion
    return BaseResponse(
        dataset=dataset,
        version=champion.version,
        user_id=question.user_id,
        at=asked.at,
        n_history=asked.n_history,
        n_unknown=asked.n_unknown,
        notes=answer_notes(champion, asked.n_history, asked.at, found=True, timed=timed),
    )


def _history(asked: PreparedRequest, n: int) -> tuple[HistoryItem, ...]:
    past, words, facts = asked.past, asked.opened.champion.vocabulary, asked.opened.facts
    latest = range(max(0, len(past) - n), len(past))
    return tuple(
        HistoryItem(
            item_id=str(words.items.name(int(past.item_idx[row]))),
            title=words.titles[past.item_idx[row]] or "",
            occurred_at=_EPOCH + timedelta(seconds=int(past.occurred_s[row])),
            utc_offset_min=int(past.utc_offset_min[row]),
            lat=none_if_nan(float(facts.lat[past.item_idx[row]])),
            lon=none_if_nan(float(facts.lon[past.item_idx[row]])),
        )
        for row in latest
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST_H = 1 / 60


def _curve(wait: RemainingWait | None) -> TimeCurve | None:
    told = forecast_time(wait)
    if wait is None or told is None:
        return None
    first, last = np.maximum(wait.quantiles(np.array([0.01, 0.99])), _SHORTEST_H)
    hours = np.geomspace(first, max(last, 2 * first), N_POINTS)
    told_of = (wait.passed_by(hours), hours, wait.density(hours))
    points = zip(*(values.tolist() for values in told_of), strict=True)
    return TimeCurve(
        median_h=told.median_h,
        low_h=told.low_h,
        high_h=told.high_h,
        silent_h=wait.silent_h,
        curve=tuple(TimeCurvePoint(q=q, hours=h, density=d) for q, h, d in points),
    )


def _index(asked: PreparedRequest, item_id: str) -> Int64:
    found = asked.opened.item_of.get(item_id)
    if found is None:
        raise DataError(
            "The champion does not know this item",
            received=item_id,
            way_out="It will after a training that has seen it",
        )
    return np.array([found])


def _reasons(
    asked: PreparedRequest, scored: DenseRanking, chosen: Int64
) -> tuple[ItemExplanation, ...]:
    opened, past = asked.opened, asked.past
    crowd, words = opened.crowd(asked.at), opened.champion.vocabulary
    follows = crowd.follows(int(past.item_idx[-1]) if len(past) else 0)
    items = describe_items(chosen, scored, RecommendOptions(), past, crowd, words, opened.facts)
    return tuple(
        ItemExplanation(
            id=item.id,
            title=item.title,
            rank=1 + int((scored.log_probability > scored.log_probability[i]).sum()),
            probability=probability,
            reason=item.reason,
            n_own=int((past.item_idx == i).sum()),
            n_follows=int((follows == i).sum()),
            n_recent=int(crowd.counts[i]),
        )
        for i, item, probability in zip(
            chosen.tolist(), items, scored.probabilities(chosen), strict=True
        )
    )
