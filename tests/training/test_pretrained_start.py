"""A training starts where another log left off, whatever the catalogue and its columns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.queries import queries_at
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer.checkpoint import (
    PretrainedCheckpoint,
    read_checkpoint,
    transferable_state,
    write_checkpoint,
)
from chronotope.testing.recommender_suite import close, sample_catalog, sample_content, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.pretrained_start import load_parameters, open_checkpoint, start_parameters
from chronotope.training.recommender import ChronotopeRecommender

MODEL = ModelConfig(history_len=16, n_hidden=8)
TRAINING = TrainingConfig(max_epochs=2, n_rounds=2, batch_size=64, discovery_targets=0)
QUERIES = queries_at(sample_log(), np.arange(20, 60), history_len=16, time_given=True)
CATEGORIES = (
    "repeat_head.item_features.category_embedding.weight",
    "time_head.category_embedding.weight",
)


@pytest.fixture(scope="module")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parameters trained on another log."""
    log = sample_log(seed=5)
    net = ChronotopeRecommender(MODEL, TRAINING).fit(log, sample_catalog()).net
    path = tmp_path_factory.mktemp("checkpoint") / "a.safetensors"
    write_checkpoint(path, PretrainedCheckpoint(MODEL, transferable_state(net), ""))
    return path


def started(path: Path, **fields: object) -> TrainingConfig:
    return TRAINING.model_copy(update={"init": str(path), **fields})


def test_without_a_pass_the_parameters_are_those_of_the_checkpoint(checkpoint_path: Path) -> None:
    config = started(checkpoint_path, transfer_epochs=0)
    model = ChronotopeRecommender(MODEL, config).fit(sample_log(), sample_catalog())
    state, checkpoint = model.net.state_dict(), read_checkpoint(checkpoint_path)
    for name, value in checkpoint.parameters.items():
        expected = value.expand_as(state[name]) if name in CATEGORIES else value
        assert torch.equal(state[name], expected), name
    assert np.isfinite(model.scores(QUERIES)).all()
    assert model.priors.popularity.any()


def test_a_pass_changes_them_the_same_way_each_time(checkpoint_path: Path) -> None:
    log, catalog = sample_log(), sample_catalog()
    config = started(checkpoint_path, transfer_epochs=1)
    model = ChronotopeRecommender(MODEL, config).fit(log, catalog)
    loaded = read_checkpoint(checkpoint_path).parameters["gate.2.bias"]
    assert not torch.equal(model.net.state_dict()["gate.2.bias"], loaded)
    again = ChronotopeRecommender(MODEL, config).fit(log, catalog)
    np.testing.assert_array_equal(again.scores(QUERIES), model.scores(QUERIES))


def test_the_schedule_is_gentler_than_from_scratch(checkpoint_path: Path) -> None:
    net = ChronotopeNet(MODEL, sample_catalog())
    assert start_parameters(net, TRAINING) is TRAINING
    config = start_parameters(net, started(checkpoint_path, transfer_epochs=7, transfer_rate=0.25))
    assert (config.max_epochs, config.learning_rate) == (2, 0.25 * TRAINING.learning_rate)


def test_a_context_column_changes_nothing_at_first(checkpoint_path: Path) -> None:
    log, checkpoint = sample_log(), read_checkpoint(checkpoint_path)
    rain = np.random.default_rng(0).random(len(log)).astype(np.float32)
    scores = []
    for columns in ((), ("rain",)):
        config = started(checkpoint_path, transfer_epochs=0)
        model = ChronotopeRecommender(MODEL.model_copy(update={"context": columns}), config)
        model.fit(replace(log, context={"rain": rain}), sample_catalog())
        queries = queries_at(
            replace(log, context={"rain": rain}), np.arange(20, 60), history_len=16, time_given=True
        )
        scores.append(model.scores(queries))
    close(scores[0], scores[1])
    assert checkpoint.parameters["gate.0.weight"].shape[1] + 2 == model.net.gate[0].in_features


def test_heads_that_the_checkpoint_has_not_keep_their_start(checkpoint_path: Path) -> None:
    catalog = sample_catalog()
    config = ModelConfig(n_hidden=8, category_head=True, backbone="gru", d_model=8)
    net = ChronotopeNet(config, replace(catalog, content=sample_content(catalog)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    load_parameters(net, read_checkpoint(checkpoint_path))
    for name, value in net.state_dict().items():
        if name.startswith(("category_head.", "backbone.", "content_head.", "item_tables.")):
            assert torch.equal(value, before[name]), name


def test_another_width_is_refused_with_the_way_out(checkpoint_path: Path) -> None:
    net = ChronotopeNet(ModelConfig(n_hidden=16), sample_catalog())
    with pytest.raises(ConfigError, match=r"another shape.*training\.init: scratch"):
        load_parameters(net, read_checkpoint(checkpoint_path))


def test_other_names_are_refused(checkpoint_path: Path) -> None:
    net, checkpoint = ChronotopeNet(MODEL, sample_catalog()), read_checkpoint(checkpoint_path)
    fewer = {name: of for name, of in checkpoint.parameters.items() if name != "gate.0.weight"}
    for parameters in (fewer, checkpoint.parameters | {"old_head.weight": torch.zeros(1)}):
        with pytest.raises(ConfigError, match="other parameters"):
            load_parameters(net, replace(checkpoint, parameters=parameters))


def test_an_address_of_the_registry_is_resolved_by_the_flow_only() -> None:
    with pytest.raises(ConfigError, match="flow train-model"):
        open_checkpoint("mlflow:/pretrained-network/1")
