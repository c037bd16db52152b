"""Search over compression recipes: combinations of network, size of tables and storage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chronotope.compression.candidate_store import CandidateStore
from chronotope.compression.compress import CompressionResult
from chronotope.compression.config import CompressionConfig, Variant
from chronotope.compression.recipe import NetworkKind, Recipe
from chronotope.compression.selection import Candidate, violated_cost_bounds
from chronotope.tuning.pareto_search import ConstraintCheck, SearchBudget, search_front
from chronotope.tuning.study import ParameterSuggester

REMOVED_UNITS: Final = (0.25, 0.5, 0.75)
ZERO_WEIGHTS: Final = (0.0, 0.3, 0.6)
HISTORY_LENS: Final = (16, 32, 64, 128, 256, 512)
HIDDEN_WIDTHS: Final = (4, 8, 12, 16, 24)
N_SUCCESSORS: Final = (0, 2, 4, 8, 16)
"""Coarse steps: many candidates share a network, and training networks dominates the cost."""

NETWORK_PARAMS: Final[dict[NetworkKind, tuple[str, ...]]] = {
    "full": (),
    "narrow": ("removed_units",),
    "student": ("history_len", "n_hidden"),
}
"""Parameters of each kind of network."""

SHARED_PARAMS: Final = ("zero_weights", "n_successors", "n_codes", "rerank")
"""Parameters of every kind of network."""


def search_recipes(
    store: CandidateStore,
    fixed_recipes: Sequence[Recipe],
    config: CompressionConfig,
    history_len: int,
) -> CompressionResult:
    """Evaluate the fixed candidates, then those that the search proposes, and select.

    Objectives are the loss of NDCG@10, size and latency; the bounds of the config constrain the
    search, and a candidate that breaks one on size or latency is not evaluated.

    Args:
        store: Makes, measures and evaluates candidates.
        fixed_recipes: Recipes to try first, the reference at the head.
        config: Budget and bounds.
        history_len: Events that the trained network reads.
    """
    reference = store.evaluate(fixed_recipes[0])
    candidate_by_digest: dict[str, Candidate] = {}

    def evaluate_params(params: dict[str, object]) -> ConstraintCheck:
        recipe = Recipe.model_validate(params)
        candidate = store.measure(recipe)
        is_reference = candidate.name == reference.name
        if is_reference or not violated_cost_bounds(candidate.cost, config):
            candidate = store.evaluate(recipe)
        candidate_by_digest.setdefault(store.digest(recipe), candidate)
        return check_constraints(candidate, reference, config)

    search_space = recipe_space(fixed_recipes, history_len)
    search_front(
        search_space,
        evaluate_params,
        first=[search_space.suggestions(recipe) for recipe in fixed_recipes],
        n_objectives=3,
        budget=SearchBudget(config.n_trials, config.timeout_s, config.seed),
    )
    return CompressionResult(tuple(candidate_by_digest.values()), config)


def check_constraints(
    candidate: Candidate, reference: Candidate, config: CompressionConfig
) -> ConstraintCheck:
    """Costs of a candidate, and the excess over each bound as a share of it."""
    bundle_cost = candidate.cost
    excess = {
        "size": bundle_cost.size_mb / config.max_size_mb - 1,
        "latency": bundle_cost.p50_ms / config.max_latency_ms - 1,
    }
    if candidate.evaluation is None:
        return ConstraintCheck(None, excess)
    ndcg_loss = reference.ndcg - candidate.ndcg
    if math.isnan(ndcg_loss):
        return ConstraintCheck(None, {**excess, "ndcg": 1.0})
    excess["ndcg"] = ndcg_loss - config.max_ndcg_loss
    excess["refused"] = float(bool(candidate.evaluation.refused))
    return ConstraintCheck((ndcg_loss, bundle_cost.size_mb, bundle_cost.p50_ms), excess)


def recipe_space(fixed_recipes: Sequence[Recipe], history_len: int) -> "RecipeSampler":
    """Search space of recipes: the usual steps, and the values of the fixed recipes.

    Args:
        fixed_recipes: Recipes that the search begins with.
        history_len: Events that the trained network reads.
    """
    history_lens = [n_events for n_events in HISTORY_LENS if n_events <= history_len]
    usual_steps = {
        "removed_units": REMOVED_UNITS,
        "history_len": history_lens or [history_len],
        "n_hidden": HIDDEN_WIDTHS,
        "zero_weights": ZERO_WEIGHTS,
        "n_successors": N_SUCCESSORS,
    }
    merged_steps = {
        param: sorted({*steps, *({getattr(recipe, param) for recipe in fixed_recipes} - {0})})
        for param, steps in usual_steps.items()
    }
    # 0 stands for all successors, so it is the largest
    merged_steps["n_successors"].append(merged_steps["n_successors"].pop(0))
    for param in ("n_codes", "rerank"):
        merged_steps[param] = sorted({getattr(recipe, param) for recipe in fixed_recipes})
    return RecipeSampler(
        {param: tuple(steps) for param, steps in merged_steps.items()},
        tuple(dict.fromkeys(recipe.network for recipe in fixed_recipes)),
        tuple(dict.fromkeys(recipe.variant for recipe in fixed_recipes)),
    )


@dataclass(frozen=True, slots=True)
class RecipeSampler:
    """Search space of recipes; parameters that a network does not use are left out.

    Attributes:
        param_steps: Ordered values by parameter; the sampler uses their order.
        network_kinds: Kinds of networks.
        variants: Storage variants.
    """

    param_steps: dict[str, tuple[float, ...]]
    network_kinds: tuple[NetworkKind, ...]
    variants: tuple[Variant, ...]

    def __call__(self, trial: ParameterSuggester) -> dict[str, object]:
        """Sample the fields of a ``Recipe``."""
        network_kind = trial.suggest_categorical("network", self.network_kinds)
        sampled_params = {
            param: self.param_steps[param][
                trial.suggest_int(param, 0, len(self.param_steps[param]) - 1)
            ]
            for param in (*NETWORK_PARAMS[network_kind], *SHARED_PARAMS)
        }
        variant = trial.suggest_categorical("variant", self.variants)
        return {"network": network_kind, **sampled_params, "variant": variant}

    def suggestions(self, recipe: Recipe) -> dict[str, Any]:
        """Suggested values from which a recipe is sampled."""
        param_names = (*NETWORK_PARAMS[recipe.network], *SHARED_PARAMS)
        step_idx = {
            param: self.param_steps[param].index(getattr(recipe, param)) for param in param_names
        }
        return {"network": recipe.network, **step_idx, "variant": recipe.variant}
