"""The wider search of compression: combinations of network, tables and bits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chronotope.compression.candidate_store import CandidateStore
from chronotope.compression.compress import CompressionResult
from chronotope.compression.graph_variants import Variant
from chronotope.compression.recipe import NetworkKind, Recipe
from chronotope.compression.selection import Candidate, CompressionConfig, violated_cost_bounds
from chronotope.tuning.pareto_search import ConstraintCheck, SearchBudget, search_front
from chronotope.tuning.study import ParameterSuggester

REMOVED_UNITS: Final = (0.25, 0.5, 0.75)
ZERO_WEIGHTS: Final = (0.0, 0.3, 0.6)
HISTORY_LENS: Final = (16, 32, 64, 128, 256, 512)
WIDTHS: Final = (4, 8, 12, 16, 24)
N_SUCCESSORS: Final = (0, 2, 4, 8, 16)
"""Steps coarse enough that many candidates share a network, which is what costs time."""

OF_NETWORK: Final[dict[NetworkKind, tuple[str, ...]]] = {
    "full": (),
    "narrow": ("removed_units",),
    "student": ("history_len", "n_hidden"),
}
"""What sets networks of one kind apart."""

OF_ALL: Final = ("zero_weights", "n_successors", "n_codes", "rerank")
"""What can be done to any network."""


def search_recipes(
    shop: CandidateStore, fixed: Sequence[Recipe], config: CompressionConfig, history_len: int
) -> CompressionResult:
    """Evaluate the fixed candidates, then those that the search proposes, and choose.

    Objectives are NDCG@10 lost, size and latency; the bounds of the config steer the
    search, and what breaks one on size or latency is not evaluated.

    Args:
        shop: Makes, measures and evaluates.
        fixed: What is tried first, the reference at the head.
        config: Budget and bounds.
        history_len: Events that the trained network reads.
    """
    reference = shop.judged(fixed[0])
    found: dict[str, Candidate] = {}

    def judge(params: dict[str, object]) -> ConstraintCheck:
        recipe = Recipe.model_validate(params)
        candidate = shop.measured(recipe)
        if candidate.name == reference.name or not violated_cost_bounds(candidate.measured, config):
            candidate = shop.judged(recipe)
        found.setdefault(shop.digest(recipe), candidate)
        return check_constraints(candidate, reference, config)

    space = recipe_space(fixed, history_len)
    search_front(
        space,
        judge,
        first=[space.suggested(recipe) for recipe in fixed],
        n_objectives=3,
        budget=SearchBudget(config.n_trials, config.timeout_s, config.seed),
    )
    return CompressionResult(tuple(found.values()), config)


def check_constraints(
    candidate: Candidate, reference: Candidate, config: CompressionConfig
) -> ConstraintCheck:
    """Costs of a candidate and by how much it breaks the bounds, as shares of them."""
    cost = candidate.measured
    excess = {
        "size": cost.size_mb / config.max_size_mb - 1,
        "latency": cost.p50_ms / config.max_latency_ms - 1,
    }
    if candidate.judged is None:
        return ConstraintCheck(None, excess)
    lost = reference.ndcg - candidate.ndcg
    if math.isnan(lost):
        return ConstraintCheck(None, {**excess, "ndcg": 1.0})
    excess["ndcg"] = lost - config.max_ndcg_loss
    excess["refused"] = float(bool(candidate.judged.refused))
    return ConstraintCheck((lost, cost.size_mb, cost.p50_ms), excess)


def recipe_space(fixed: Sequence[Recipe], history_len: int) -> "RecipeSampler":
    """What may be drawn: the usual steps, and the values of the fixed recipes.

    Args:
        fixed: Recipes that the search begins with.
        history_len: Events that the trained network reads.
    """
    lens = [n for n in HISTORY_LENS if n <= history_len]
    steps = {
        "removed_units": REMOVED_UNITS,
        "history_len": lens or [history_len],
        "n_hidden": WIDTHS,
        "zero_weights": ZERO_WEIGHTS,
        "n_successors": N_SUCCESSORS,
    }
    own = {name: {getattr(recipe, name) for recipe in fixed} - {0} for name in steps}
    merged = {name: sorted({*usual, *own[name]}) for name, usual in steps.items()}
    merged["n_successors"].append(merged["n_successors"].pop(0))  # 0 keeps all: the most
    for name in ("n_codes", "rerank"):
        merged[name] = sorted({getattr(recipe, name) for recipe in fixed})
    return RecipeSampler(
        {name: tuple(values) for name, values in merged.items()},
        tuple(dict.fromkeys(recipe.network for recipe in fixed)),
        tuple(dict.fromkeys(recipe.variant for recipe in fixed)),
    )


@dataclass(frozen=True, slots=True)
class RecipeSampler:
    """Draws recipes; what a network does not need is left out, so that equal ones are equal.

    Attributes:
        steps: Values by name, in order: the sampler knows which are neighbours.
        networks: Kinds of networks.
        variants: How graphs are stored.
    """

    steps: dict[str, tuple[float, ...]]
    networks: tuple[NetworkKind, ...]
    variants: tuple[Variant, ...]

    def __call__(self, trial: ParameterSuggester) -> dict[str, object]:
        """Draw what ``Recipe`` takes."""
        network = trial.suggest_categorical("network", self.networks)
        drawn = {
            name: self.steps[name][trial.suggest_int(name, 0, len(self.steps[name]) - 1)]
            for name in (*OF_NETWORK[network], *OF_ALL)
        }
        variant = trial.suggest_categorical("variant", self.variants)
        return {"network": network, **drawn, "variant": variant}

    def suggested(self, recipe: Recipe) -> dict[str, Any]:
        """What would have to be suggested for a recipe to be drawn."""
        names = (*OF_NETWORK[recipe.network], *OF_ALL)
        at = {name: self.steps[name].index(getattr(recipe, name)) for name in names}
        return {"network": recipe.network, **at, "variant": recipe.variant}
