"""The study draws every family, and none that has nothing to learn."""

from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from chronotope.compression.config import CompressionConfig
from chronotope.contracts.errors import ConfigError
from chronotope.models.config import BACKBONES, ModelConfig
from chronotope.pipelines.search import (
    check_item_context,
    configs_from_params,
    search_space,
    starting_point,
)
from chronotope.pipelines.settings import TrainSettings
from chronotope.training.config import TrainingConfig
from tests.models.item_context.planted import N_ITEMS, log_of

SPACE = search_space(TrainSettings())
REST = {"category_head": True, "n_hidden": 8, "learning_rate": 1e-2, "weight_decay": 1e-3}


def drawn(n: int) -> list[dict[str, Any]]:
    """Parameters of random trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [SPACE(study.ask()) for _ in range(n)]


def test_every_family_is_drawn_and_none_without_anything_to_learn() -> None:
    families = {(p["backbone"], p["kernels"]) for p in drawn(300)}
    expected = {(kind, kernels) for kind in BACKBONES for kernels in (True, False)}
    assert families == expected - {("none", False)}
    beside = {(p["kernels"], p["category_head"]) for p in drawn(300)}
    assert beside == {(True, True), (True, False), (False, False)}


def test_a_search_keeps_to_the_families_it_is_told() -> None:
    draw = search_space(TrainSettings(backbones=("gru",)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert {draw(study.ask())["backbone"] for _ in range(50)} == {"none", "gru"}


@pytest.mark.parametrize("kernels", [True, False])
def test_a_drawn_family_is_the_model_that_is_trained(kernels: bool) -> None:
    params = SPACE(FixedTrial({"backbone": "hstu", "kernels": kernels} | REST))
    model, training = configs_from_params(params, TrainSettings())
    assert (model.backbone, model.kernels, model.n_hidden) == ("hstu", kernels, 8)
    assert model.category_head is kernels  # they are scored beside kernels alone
    assert training.weight_decay == 1e-3


def test_the_search_starts_from_the_settings() -> None:
    settings = TrainSettings()
    settings = settings.model_copy(update={"model": ModelConfig(backbone="lstm", kernels=False)})
    start = starting_point(settings)
    assert search_space(settings)(FixedTrial(start)) == start


def test_item_context_in_a_catalogue_with_an_index_is_refused() -> None:
    log, catalog = log_of(-60)
    settings = TrainSettings(compression=CompressionConfig(index_above_items=N_ITEMS - 1))
    with pytest.raises(ConfigError, match="reads no item context") as error:
        check_item_context(log, catalog, settings)
    assert f"index_above_items: {N_ITEMS}" in str(error.value)
    left_out = TrainingConfig(item_context_targets=0)
    for allowed in (
        TrainSettings(compression=CompressionConfig(index_above_items=N_ITEMS)),
        settings.model_copy(update={"training": left_out}),
    ):
        check_item_context(log, catalog, allowed)
