"""Settings without a training, and a search that chooses between checkpoint and scratch."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial

from chronotope.contracts.errors import StoreError
from chronotope.models.config import ModelConfig
from chronotope.pipelines.pretraining.start import (
    retraining_settings,
    with_local_checkpoint,
    zero_shot_settings,
)
from chronotope.pipelines.search import (
    configs_from_params,
    context_columns,
    search_space,
    starting_point,
)
from chronotope.pipelines.settings import TrainSettings
from chronotope.testing.recommender_suite import sample_log
from chronotope.training.config import SCRATCH, SHIPPED, TrainingConfig

PRETRAINED = TrainSettings(training=TrainingConfig(init=SHIPPED))
REST = {"learning_rate": 1e-2, "weight_decay": 1e-3}


def test_without_a_training_there_is_nothing_to_search_or_distil() -> None:
    settings = zero_shot_settings(TrainSettings(model=ModelConfig(backbone="gru", context=("x",))))
    assert settings.training.is_zero_shot
    assert settings.training.init == SHIPPED
    assert (settings.study.n_trials, settings.folds.k, settings.backbones) == (1, 1, ("none",))
    assert (settings.model.backbone, settings.model.context) == ("none", ())
    assert not settings.compression.student
    assert settings.compression.pruned_units == 0
    assert TrainSettings.model_validate(settings.model_dump()) == settings
    assert context_columns(sample_log(), settings) == ()


def test_a_champion_without_training_is_trained_when_it_is_retrained() -> None:
    settings = retraining_settings(zero_shot_settings(TrainSettings()))
    assert (settings.training.init, settings.training.transfer_epochs) == (SHIPPED, 2)
    assert retraining_settings(PRETRAINED) is PRETRAINED


def test_a_checkpoint_of_the_settings_stays() -> None:
    settings = TrainSettings(training=TrainingConfig(init="mine.safetensors"))
    assert zero_shot_settings(settings).training.init == "mine.safetensors"


def test_the_search_starts_from_the_checkpoint_and_compares_with_scratch() -> None:
    start, space = starting_point(PRETRAINED), search_space(PRETRAINED)
    assert start["init"] == SHIPPED
    assert space(FixedTrial(start)) == start
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space(study.ask()) for _ in range(200)]
    assert {params["init"] for params in drawn} == {SHIPPED, SCRATCH}
    for params in drawn:
        if params["init"] == SHIPPED:  # the sizes of the checkpoint
            assert params["backbone"] == "none"
            assert (params["n_hidden"], params["category_head"]) == (64, False)
    assert len({params["n_hidden"] for params in drawn if params["init"] == SCRATCH}) > 5


def test_a_drawn_start_is_the_one_that_is_trained() -> None:
    params = search_space(PRETRAINED)(
        FixedTrial(
            {"backbone": "none", "init": SCRATCH, "category_head": True, "n_hidden": 8} | REST
        )
    )
    assert configs_from_params(params, PRETRAINED)[1].init == SCRATCH
    assert configs_from_params({}, PRETRAINED)[1].init == SHIPPED
    assert "init" not in starting_point(TrainSettings())


def test_an_address_of_a_missing_version_is_an_error(tmp_path: Path) -> None:
    training = TrainingConfig(init="mlflow:/kernels/1")
    with pytest.raises(StoreError, match="no such model version"):
        with_local_checkpoint(training, TrainSettings(root=tmp_path))
    assert with_local_checkpoint(TrainingConfig(), TrainSettings()) == TrainingConfig()
