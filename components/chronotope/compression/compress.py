"""Compression of one trained network to the smallest bundle that meets the objective."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chronotope.compression.candidate_store import CandidateStore
from chronotope.compression.config import CompressionConfig
from chronotope.compression.recipe import Recipe
from chronotope.compression.selection import (
    Candidate,
    pareto_front,
    rejection_reason,
    select_candidate,
    selection_reason,
    violated_bounds,
    violated_cost_bounds,
)

DRAFT_SIZE_ERROR: Final = 0.01
"""Relative difference that is allowed for between the size of a draft and that of the candidate."""


@dataclass(frozen=True, slots=True)
class CandidateSummary:
    """One row of a compression's result table; None where the candidate was not evaluated.

    Attributes:
        name: Network and variant.
        size_mb: As of ``BundleCost``.
        p50_ms: As of ``BundleCost``.
        p99_ms: As of ``BundleCost``.
        ndcg: NDCG@10.
        acc: Acc@10.
        batch_ms: As of ``LoadCost``.
        queries_per_s: As of ``LoadCost``.
        rss_mb: As of ``LoadCost``.
        refused: Reason why it may not be shipped; empty if it may.
        front: Whether it is on the Pareto front.
        chosen: Whether it is selected.
        why_not: Reason why it is not selected; empty if it is.
    """

    name: str
    size_mb: float
    p50_ms: float
    p99_ms: float
    ndcg: float | None
    acc: float | None
    batch_ms: float | None
    queries_per_s: float | None
    rss_mb: float | None
    refused: str
    front: bool
    chosen: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class CompressionResult:
    """All candidates, the uncompressed reference first, and the selected one."""

    candidates: tuple[Candidate, ...]
    config: CompressionConfig

    @property
    def chosen(self) -> Candidate:
        """The candidate to ship."""
        return select_candidate(self.candidates, self.config)

    @property
    def meets_objective(self) -> bool:
        """Whether the selected candidate breaks no bound."""
        return not violated_bounds(self.chosen, self.candidates[0], self.config)

    @property
    def reason(self) -> str:
        """Reason of the selection; if nothing meets the objective, the bounds each one breaks."""
        return selection_reason(self.candidates, self.config)

    def summaries(self) -> tuple[CandidateSummary, ...]:
        """One row a candidate: its costs, whether it is selected, and if not, why."""
        front_names = {candidate.name for candidate in pareto_front(self.candidates)}
        return tuple(self._summary(candidate, front_names) for candidate in self.candidates)

    def _summary(self, candidate: Candidate, front_names: set[str]) -> CandidateSummary:
        cost, evaluation_result = candidate.cost, candidate.evaluation
        load_cost = None if evaluation_result is None else evaluation_result.load
        return CandidateSummary(
            name=candidate.name,
            size_mb=cost.size_mb,
            p50_ms=cost.p50_ms,
            p99_ms=cost.p99_ms,
            ndcg=None if evaluation_result is None else evaluation_result.ndcg,
            acc=None if evaluation_result is None else evaluation_result.acc,
            batch_ms=None if load_cost is None else load_cost.batch_ms,
            queries_per_s=None if load_cost is None else load_cost.queries_per_s,
            rss_mb=None if load_cost is None else load_cost.rss_mb,
            refused="" if evaluation_result is None else evaluation_result.refused,
            front=candidate.name in front_names,
            chosen=candidate is self.chosen,
            why_not=rejection_reason(candidate, self.candidates, self.config),
        )


def compress(
    store: CandidateStore, recipes: Sequence[Recipe], config: CompressionConfig
) -> CompressionResult:
    """Measure drafts of all candidates, train and evaluate those that could be selected, select.

    Training and evaluation dominate the cost: after the reference the smallest comes first; once
    one meets the objective, larger ones are neither trained nor evaluated, nor are those that
    break a cost bound. Size and latency do not depend on the training, so a draft shows both.

    Args:
        store: Makes, measures and evaluates candidates.
        recipes: Recipes to try, the reference first.
        config: The objective.
    """
    distinct_recipes = make_distinct_candidates(store, recipes)
    reference = store.evaluate(distinct_recipes[0])
    candidates, max_size_mb = [reference], math.inf
    drafts = [(recipe, store.draft(recipe)) for recipe in distinct_recipes[1:]]
    for recipe, draft in sorted(drafts, key=lambda pair: pair[1].cost.size_mb):
        candidate = draft
        if _can_be_selected(candidate, max_size_mb * (1 + DRAFT_SIZE_ERROR), config):
            candidate = store.measure(recipe)
        if candidate is not draft and _can_be_selected(candidate, max_size_mb, config):
            candidate = store.evaluate(recipe)
            if not violated_bounds(candidate, reference, config):
                max_size_mb = min(max_size_mb, candidate.cost.size_mb * (1 + config.size_tie))
        candidates.append(candidate)
    return CompressionResult(tuple(candidates), config)


def _can_be_selected(candidate: Candidate, max_size_mb: float, config: CompressionConfig) -> bool:
    is_small = candidate.cost.size_mb <= max_size_mb
    return is_small and not violated_cost_bounds(candidate.cost, config)


def make_distinct_candidates(store: CandidateStore, recipes: Sequence[Recipe]) -> list[Recipe]:
    """Make drafts of all candidates; of those of a network with equal files the first remains."""
    recipe_by_digest: dict[tuple[str, str], Recipe] = {}
    for recipe in recipes:
        draft_key = recipe.network_name, store.draft_digest(recipe)
        recipe_by_digest.setdefault(draft_key, recipe)
    return list(recipe_by_digest.values())
