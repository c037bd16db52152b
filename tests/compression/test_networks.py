"""Networks are made as a recipe says, and read again as they were."""

from pathlib import Path

import pytest
import torch

from chronotope.compression.config import CompressionConfig
from chronotope.compression.networks import TeacherData, make_network, read_network, write_network
from chronotope.compression.recipe import Recipe, fixed_recipes
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import first_successors
from chronotope.testing.recommender_suite import sample_catalog
from tests.compression.test_distill import BATCH, PRIORS, teacher

TEACHER_DATA = TeacherData(fine_tune=lambda net: net, examples=lambda: [(BATCH, PRIORS)])
RECIPES = (
    Recipe(),
    Recipe(network="narrow", removed_units=0.5),
    Recipe(network="student", history_len=8, n_hidden=4),
    Recipe(network="student", history_len=8, n_hidden=4, zero_weights=0.6),
)


def made(recipe: Recipe) -> ChronotopeNet:
    return make_network(recipe, teacher(), sample_catalog(), TEACHER_DATA)


def n_zero(net: ChronotopeNet) -> int:
    return sum(int((p == 0).sum()) for p in net.parameters() if p.ndim == 2)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.network_name)
def test_a_network_that_was_kept_says_the_same(recipe: Recipe, tmp_path: Path) -> None:
    net = made(recipe)
    write_network(net, tmp_path / "nets" / "net.pt")
    again = read_network(tmp_path / "nets" / "net.pt", sample_catalog())
    with torch.no_grad():
        for one, other in zip(net(BATCH, PRIORS), again(BATCH, PRIORS), strict=True):
            assert torch.equal(one, other)
    assert not again.training


def test_smaller_networks_are_smaller_and_sparse_ones_hold_zeros() -> None:
    full, narrow, student, _ = (
        sum(p.numel() for p in made(recipe).parameters()) for recipe in RECIPES
    )
    assert max(narrow, student) < full
    assert n_zero(made(RECIPES[3])) > n_zero(made(RECIPES[2])) + 100


def test_the_first_successors_are_the_strongest() -> None:
    few = first_successors(PRIORS, 3)
    assert few.next_item.shape[1] == few.neighbour_weight.shape[1] == 3
    assert torch.equal(few.next_item_log, PRIORS.next_item_log.topk(3, dim=1).values)
    assert first_successors(PRIORS, 0) is PRIORS


def test_names_tell_candidates_apart_and_nothing_else() -> None:
    student = {"network": "student", "history_len": 8, "n_hidden": 4}
    one, other = Recipe(**student), Recipe(**student, n_successors=4, variant="int8_tables")
    assert one.network_name == other.network_name == "student-h8-w4"
    assert other.name == "student-h8-w4-top4-int8_tables"
    assert one.behaviour == one.model_copy(update={"variant": "exact_tables"}).behaviour
    recipes = fixed_recipes(CompressionConfig(pruned_weights=0.3), 32)
    assert len({recipe.name for recipe in recipes}) == len(recipes) == 4 * 6
    assert recipes[0] == Recipe()
    assert {recipe.history_len for recipe in recipes} == {0, 32}
    cut = fixed_recipes(CompressionConfig(successors=4, variants=("int8_tables",)), 32)
    assert [recipe.name for recipe in cut if recipe.n_successors] == [
        "full-top4-float32",
        "full-top4-int8_tables",
    ]
