"""Answers ``/recommend``: items, kept for whoever asks again, sometimes drawn at random."""

from datetime import UTC
from typing import Any
from uuid import uuid4

from chronotope.experiments.experiment import Exploration
from chronotope.inference.ranking import describe_items
from chronotope.inference.recommend import answer_notes
from chronotope.lake import Interaction
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.api.responses import RecommendResponse
from chronotope.serving.model.arms import ArmAssignment, ExperimentArms
from chronotope.serving.model.inference import InferenceService, PreparedRequest
from chronotope.serving.model.selection import exploration_settings, select_items
from chronotope.serving.model.shadow import ShadowTask, ShadowWorker
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.impressions import ImpressionWriter
from chronotope.serving.state.response_cache import Key, ResponseCache, SharedCache
from chronotope.serving.telemetry import Telemetry


class RecommendEndpoint:
    """Makes lists, keeps them and logs what was shown."""

    def __init__(
        self,
        settings: ServeSettings,
        asking: InferenceService,
        arms: ExperimentArms,
        telemetry: Telemetry,
        shown: ImpressionWriter | None,
        shared: SharedCache | None = None,
    ) -> None:
        """Start with an empty cache.

        Args:
            settings: Of the service.
            asking: Runs the graph.
            arms: Who answers whom.
            telemetry: Counts.
            shown: Logs what was shown; None logs nothing.
            shared: Answers of other workers.
        """
        self._settings, self._asking, self._arms, self._shown = settings, asking, arms, shown
        self._kept = ResponseCache(
            settings.cached_answers,
            telemetry.cache("answers"),
            shared=shared,
            count_shared=telemetry.cache("shared answers"),
        )
        self.shadowing = ShadowWorker(self._shadow, telemetry)

    def recommend(self, question: RecommendRequest) -> RecommendResponse:
        """Which items?"""
        champion, answer_id = self._asking.champion, uuid4().hex
        placed = self._arms.placed(question.user_id, champion)
        said = self._listed(question, placed, answer_id)
        if self._shown is not None:
            self._shown.put(_impression(said, question, fell_back=placed.fell_back))
            for shadow in self._arms.shadows(question.user_id, champion):
                asked = question.model_copy(update={"at": said.at})
                self.shadowing.put(ShadowTask(asked, shadow, answer_id))
        return said

    def _shadow(self, task: ShadowTask) -> None:
        """Answer for the log alone."""
        name = "" if task.shadow.arm is None else task.shadow.arm.name
        said = self._listed(task.question, task.shadow, f"{task.answer_id}-{name}")
        if self._shown is not None:
            self._shown.put(_impression(said, task.question, shadow_of=task.answer_id))

    def _listed(
        self, question: RecommendRequest, placed: ArmAssignment, answer_id: str
    ) -> RecommendResponse:
        """An answer, found or made."""
        asked = self._asking.asked(question, placed.opened)
        how = exploration_settings(question, placed.how)
        key = None if how.share else self._key(question, asked)
        found = None if key is None else self._kept.get(key)
        if found is None:
            found = self._compute(question, asked, how, answer_id)
            if key is not None:
                self._kept.put(key, found)
        ran = self._settings.experiment if placed.arm else None
        names = {"experiment": ran and ran.name, "arm": placed.arm and placed.arm.name}
        return found.model_copy(update={"answer_id": answer_id, **names})

    def _key(self, question: RecommendRequest, asked: PreparedRequest) -> Key | None:
        """Of equal keys the answer is the same; None for what is not kept.

        The key holds the version and the latest that the user did: an answer that a swap or an
        event made wrong is never found again.
        """
        if question.user_id is None:
            return None
        second = int(asked.at.timestamp())
        span = 1 if question.at is not None else self._settings.answer_lasts_s
        told = question.model_dump_json(exclude={"at", "history"})
        offset = None if question.at is None else question.at.utcoffset()
        return (span, second // span, offset, asked.told_until, *asked.opened.key, told)

    def _compute(
        self, question: RecommendRequest, asked: PreparedRequest, how: Exploration, answer_id: str
    ) -> RecommendResponse:
        wish, opened = question.wish(), asked.opened
        ranking = self._asking.ranking(asked, question, wish)
        words, crowd = opened.champion.vocabulary, opened.crowd(asked.at)
        # the id is the seed, so that the draw can be made again
        chosen = select_items(ranking, question, how, opened.facts, crowd, answer_id)
        past, facts = asked.past, opened.facts
        items = describe_items(chosen.items, ranking, wish, past, crowd, words, facts)
        champion, n_history = opened.champion, asked.n_history
        notes = answer_notes(champion, n_history, asked.at, found=bool(items), timed=True)
        return RecommendResponse(
            dataset=self._settings.dataset,
            version=champion.version,
            user_id=question.user_id,
            at=asked.at,
            n_history=n_history,
            n_unknown=asked.n_unknown,
            notes=(*notes, *chosen.notes),
            answer_id=answer_id,
            policy=chosen.policy,
            explored=chosen.explored,
            items=items,
            propensities=tuple(chosen.propensities.tolist()),
        )


def _impression(
    said: RecommendResponse,
    question: RecommendRequest,
    *,
    fell_back: bool = False,
    shadow_of: str | None = None,
) -> Interaction:
    """What was shown, with all that is needed to judge another policy by it."""
    about = {"experiment": said.experiment, "arm": said.arm, "shadow_of": shadow_of}
    who = {"user_id", "history", "at"}
    probabilities = [item.probability for item in said.items]
    payload: dict[str, Any] = {
        "answer_id": said.answer_id,
        "user_id": said.user_id,
        "at": said.at.astimezone(UTC).isoformat(),
        "items": [item.id for item in said.items],
        "probabilities": [] if None in probabilities else probabilities,
        "propensities": list(said.propensities),
        "version": said.version,
        "policy": said.policy,
        "explored": said.explored,
        "question": question.model_dump(mode="json", exclude_defaults=True, exclude=who),
        **{name: of for name, of in about.items() if of is not None},
    }
    if fell_back:
        payload["fell_back"] = True
    return Interaction(key=said.answer_id, kind="impression", payload=payload)
