"""Answers ``/recommend``: items, kept for whoever asks again, sometimes drawn at random."""

from datetime import UTC
from uuid import uuid4

import numpy as np

from chronotope.contracts.eventlog import Float64, Int64
from chronotope.lake import Interaction
from chronotope.serving.asking import Asked, Asking
from chronotope.serving.impressions import ImpressionWriter
from chronotope.serving.kept import KeptAnswers, Key, Shared
from chronotope.serving.questions import RecommendRequest
from chronotope.serving.replies import Recommended
from chronotope.serving.settings import ServeSettings
from chronotope.serving.telemetry import Telemetry
from chronotope.steps.ranking import Scored, score_items, tell_items
from chronotope.steps.recommend import tell_notes

POOL = 100
"""Items from which a random list is drawn, or k if that is more."""


class Recommending:
    """Makes lists, keeps them and logs what was shown."""

    def __init__(
        self,
        settings: ServeSettings,
        asking: Asking,
        telemetry: Telemetry,
        shown: ImpressionWriter | None,
        shared: Shared | None = None,
    ) -> None:
        """Start with an empty cache.

        Args:
            settings: Of the service.
            asking: Runs the graph.
            telemetry: Counts.
            shown: Logs what was shown; None logs nothing.
            shared: Answers of other workers.
        """
        self._settings, self._asking, self._shown = settings, asking, shown
        self._kept = KeptAnswers(
            settings.cached_answers,
            telemetry.cache("answers"),
            shared=shared,
            count_shared=telemetry.cache("shared answers"),
        )

    def recommend(self, question: RecommendRequest) -> Recommended:
        """Which items?"""
        said = self._listed(question).model_copy(update={"answer_id": uuid4().hex})
        if self._shown is not None:
            self._shown.put(_impression(said))
        return said

    def _listed(self, question: RecommendRequest) -> Recommended:
        """An answer still without an id of its own."""
        asked = self._asking.asked(question)
        key = self._key(question, asked)
        found = None if key is None else self._kept.get(key)
        if found is None:
            found = self._compute(question, asked)
            if key is not None:
                self._kept.put(key, found)
        return found

    def _key(self, question: RecommendRequest, asked: Asked) -> Key | None:
        """Of equal keys the answer is the same; None for what is not kept.

        The key holds the version and the latest that the user did: an answer that a swap or an
        event made wrong is never found again.
        """
        if question.user_id is None or question.epsilon:
            return None
        second = int(asked.at.timestamp())
        span = 1 if question.at is not None else self._settings.answer_lasts_s
        told = question.model_dump_json(exclude={"at", "history"})
        offset = None if question.at is None else question.at.utcoffset()
        return (span, second // span, offset, asked.told_until, *asked.opened.key, told)

    def _compute(self, question: RecommendRequest, asked: Asked) -> Recommended:
        wish, opened = question.wish(), asked.opened
        logits = self._asking.answer(asked, question).item_scores[0]
        scored = score_items(logits, asked.past, opened.facts, wish)
        chosen, propensities, policy = _choose(scored, wish.k, question.epsilon)
        words, crowd = opened.champion.vocabulary, opened.crowd(asked.at)
        items = tell_items(chosen, scored, asked.past, crowd, words, opened.facts)
        champion, n_history = opened.champion, asked.n_history
        return Recommended(
            dataset=self._settings.dataset,
            version=champion.version,
            user_id=question.user_id,
            at=asked.at,
            n_history=n_history,
            n_unknown=asked.n_unknown,
            notes=tell_notes(champion, n_history, asked.at, found=bool(items), timed=True),
            answer_id="",
            policy=policy,
            items=items,
            propensities=tuple(propensities.tolist()),
        )


def _choose(scored: Scored, k: int, epsilon: float) -> tuple[Int64, Float64, str]:
    """The best k, or with probability epsilon a random k of the best ``POOL``.

    The propensity of an item at a position: ``(1 - e) [it is the best there] + e / pool``.
    """
    if not epsilon:
        best = scored.best(k)
        return best, np.ones(len(best)), "greedy"
    pool = scored.best(max(k, POOL))
    best, draw = pool[:k], np.random.default_rng()
    chosen = draw.permutation(pool)[:k] if draw.random() < epsilon else best
    propensities = (1 - epsilon) * (chosen == best) + epsilon / max(1, len(pool))
    return chosen, propensities, f"epsilon {epsilon:g} of {len(pool)}"


def _impression(said: Recommended) -> Interaction:
    return Interaction(
        key=said.answer_id,
        kind="impression",
        payload={
            "answer_id": said.answer_id,
            "user_id": said.user_id,
            "at": said.at.astimezone(UTC).isoformat(),
            "items": [item.id for item in said.items],
            "probabilities": [item.probability for item in said.items],
            "propensities": list(said.propensities),
            "version": said.version,
            "policy": said.policy,
        },
    )
