"""The wider search of compression finds the best recipe of a made-up world, within bounds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chronotope.compression.bundle_cost import BundleCost, LoadCost
from chronotope.compression.config import CompressionConfig
from chronotope.compression.recipe import Recipe, fixed_recipes
from chronotope.compression.selection import Candidate, CandidateEvaluation
from chronotope.tuning.recipe_search import check_constraints, recipe_space, search_recipes

VARIANTS = ("exact_tables", "int8_tables")
BITS = {"float32": 4.0, "exact_tables": 3.0, "int8_tables": 1.0}


@dataclass
class FakeStore:
    """Costs by a law: each part of a recipe saves some bytes and loses some accuracy."""

    asked: list[Recipe] = field(default_factory=list)

    def measure(self, recipe: Recipe) -> Candidate:
        kept = (recipe.n_successors or 32) / 32
        width = {"full": 1.0, "narrow": 0.9, "student": 0.5}[recipe.network]
        size_mb = BITS[recipe.variant] * (0.2 + kept) * width
        measured = BundleCost(size_mb, 2 * width, 3 * width)
        return Candidate(recipe.name, Path(recipe.name), measured, None)

    def evaluate(self, recipe: Recipe) -> Candidate:
        self.asked.append(recipe)
        lost = 0.002 * (recipe.network != "full") + 0.02 * recipe.zero_weights
        lost += 0.05 * (0 < recipe.n_successors < 4) + 0.001 * (recipe.variant == "int8_tables")
        made, load = self.measure(recipe), LoadCost(1.0, 1.0)
        evaluation = CandidateEvaluation(0.5 - lost, 0.6, load)
        return Candidate(made.name, made.bundle_dir, made.cost, evaluation)

    def digest(self, recipe: Recipe) -> str:
        return recipe.name


def explored(**config: Any) -> tuple[FakeStore, Any]:
    store, told = FakeStore(), CompressionConfig(variants=VARIANTS, **config)
    return store, search_recipes(store, fixed_recipes(told, 256), told, 256)  # type: ignore[arg-type]


def test_a_wider_search_finds_what_the_fixed_recipes_do_not_hold() -> None:
    store, result = explored(n_trials=40, max_ndcg_loss=0.01)
    assert len(result.candidates) == len(store.asked) - 1 == 40  # the reference is asked twice
    fixed = fixed_recipes(result.config, 256)
    assert [c.name for c in result.candidates[: len(fixed)]] == [r.name for r in fixed]
    best_fixed = min(store.measure(recipe).cost.size_mb for recipe in fixed)
    assert result.chosen.cost.size_mb < 0.5 * best_fixed
    assert result.chosen.ndcg >= 0.49
    assert "-top4-" in result.chosen.name or "-top8-" in result.chosen.name


def test_what_is_too_slow_is_not_evaluated() -> None:
    store, result = explored(n_trials=25, max_latency_ms=1.5)
    assert {recipe.network for recipe in store.asked[1:]} == {"student", "full"}
    assert [r for r in store.asked if r.network == "full"] == [Recipe(), Recipe()]
    assert result.chosen.cost.p50_ms <= 1.5


@dataclass(frozen=True)
class Told:
    """A trial whose values are known."""

    values: dict[str, Any]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        assert low <= self.values[name] <= high
        return int(self.values[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        raise NotImplementedError

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        assert self.values[name] in choices
        return self.values[name]


def test_a_fixed_recipe_is_drawn_from_what_is_suggested_for_it() -> None:
    fixed = fixed_recipes(CompressionConfig(student_hidden=13, pruned_units=0.4), 128)
    space = recipe_space(fixed, 128)
    assert len({recipe.network for recipe in fixed}) == 3
    for recipe in fixed:
        drawn = space(Told(space.suggestions(recipe)))
        assert Recipe.model_validate(drawn) == recipe


def test_a_student_reads_no_more_than_its_teacher() -> None:
    space = recipe_space(fixed_recipes(CompressionConfig(), 100), 100)
    assert space.param_steps["history_len"] == (16, 32, 64)
    assert space.param_steps["n_successors"][-1] == 0  # all of them
    assert recipe_space(fixed_recipes(CompressionConfig(), 8), 8).param_steps["history_len"] == (8,)


def test_no_accuracy_at_all_is_far_out_of_bounds() -> None:
    store = FakeStore()
    reference = store.evaluate(Recipe())
    evaluation = CandidateEvaluation(float("nan"), 0.0, LoadCost(1.0, 1.0))
    broken = Candidate("broken", Path(), reference.cost, evaluation)
    assert check_constraints(broken, reference, CompressionConfig()).costs is None
    assert check_constraints(broken, reference, CompressionConfig()).excess["ndcg"] > 0
    assert check_constraints(reference, reference, CompressionConfig()).costs == (0.0, 4.8, 2.0)
