"""From one trained network to the smallest bundle that is as good."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from chronotope.compression.candidate_store import CandidateStore
from chronotope.compression.recipe import Recipe
from chronotope.compression.selection import (
    Candidate,
    CompressionConfig,
    pareto_front,
    rejection_reason,
    select_candidate,
    selection_reason,
    violated_bounds,
    violated_cost_bounds,
)


@dataclass(frozen=True, slots=True)
class CompressionResult:
    """Everything that was made, the uncompressed reference first, and what to ship."""

    candidates: tuple[Candidate, ...]
    config: CompressionConfig

    @property
    def chosen(self) -> Candidate:
        """What to ship."""
        return select_candidate(self.candidates, self.config)

    @property
    def holds(self) -> bool:
        """Whether what is chosen meets the objective."""
        return not violated_bounds(self.chosen, self.candidates[0], self.config)

    @property
    def reason(self) -> str:
        """Why it was chosen; if nothing meets the objective, what each candidate breaks."""
        return selection_reason(self.candidates, self.config)

    def rows(self) -> list[dict[str, object]]:
        """One row a candidate: what it costs, whether it is chosen, and if not, why."""
        chosen, front = self.chosen, {c.name for c in pareto_front(self.candidates)}
        return [
            {
                "name": candidate.name,
                **asdict(candidate.measured),
                **_judged(candidate),
                "front": candidate.name in front,
                "chosen": candidate is chosen,
                "why_not": rejection_reason(candidate, self.candidates, self.config),
            }
            for candidate in self.candidates
        ]


def compress(
    shop: CandidateStore, recipes: Sequence[Recipe], config: CompressionConfig
) -> CompressionResult:
    """Make and measure candidates, evaluate those that could be chosen, and choose.

    Evaluation is what costs time: after the reference the smallest comes first, and once one
    holds, what is larger is not evaluated, nor is what is too large or too slow anyway.

    Args:
        shop: Makes, measures and evaluates.
        recipes: What to try, the reference first.
        config: What it may cost.
    """
    made = make_distinct_candidates(shop, recipes)
    reference = shop.judged(made[0])
    found, largest_mb = [reference], math.inf
    for recipe in sorted(made[1:], key=lambda recipe: shop.measured(recipe).measured.size_mb):
        candidate = shop.measured(recipe)
        size_mb = candidate.measured.size_mb
        if size_mb <= largest_mb and not violated_cost_bounds(candidate.measured, config):
            candidate = shop.judged(recipe)
            if not violated_bounds(candidate, reference, config):
                largest_mb = min(largest_mb, size_mb * (1 + config.size_tie))
        found.append(candidate)
    return CompressionResult(tuple(found), config)


def make_distinct_candidates(shop: CandidateStore, recipes: Sequence[Recipe]) -> list[Recipe]:
    """Make all; of recipes that give equal graphs the first is kept."""
    kept: dict[str, Recipe] = {}
    for recipe in recipes:
        kept.setdefault(shop.digest(recipe), recipe)
    return list(kept.values())


def _judged(candidate: Candidate) -> dict[str, object]:
    """What an evaluation found, None where there was none."""
    of = candidate.judged
    return {
        "ndcg": None if of is None else of.ndcg,
        "acc": None if of is None else of.acc,
        "batch_ms": None if of is None else of.load.batch_ms,
        "queries_per_s": None if of is None else of.load.queries_per_s,
        "rss_mb": None if of is None else of.load.rss_mb,
        "refused": "" if of is None else of.refused,
    }
