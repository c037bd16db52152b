"""Several processes that share batches end where one process ends."""

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ChronotopeError
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.lightning_module import NextEventModule
from chronotope.training.prequential import RoundBatches, TrainingBatch, make_rounds
from chronotope.training.recommender import ChronotopeRecommender

MODEL = ModelConfig(history_len=16, backbone="gru", backbone_len=4, d_model=8, dropout=0.0)
TRAINING = TrainingConfig(max_epochs=2, n_rounds=2, batch_size=64)


def module_and_example() -> tuple[NextEventModule, TrainingBatch]:
    rounds, _ = make_rounds(sample_log(), sample_catalog(), TRAINING)
    batches = RoundBatches(sample_log(), rounds, TRAINING, model_config=MODEL, is_training=True)
    net = ChronotopeNet(MODEL, sample_catalog())
    return NextEventModule(net, TRAINING, n_steps=1), next(iter(batches))


def test_shared_batches_are_parts_of_the_same_batches() -> None:
    rounds, _ = make_rounds(sample_log(), sample_catalog(), TRAINING)
    whole = RoundBatches(sample_log(), rounds, TRAINING, model_config=MODEL, is_training=True)
    parts = [whole.shard(rank, 2) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        torch.testing.assert_close(
            torch.cat([first.target_item, second.target_item]), batch.target_item
        )
    assert whole.shard_spec == (0, 1)


def test_batches_without_the_events_of_other_users_are_the_same() -> None:
    training = TRAINING.model_copy(update={"full_softmax_items": 0, "n_negatives": 4})
    rounds, _ = make_rounds(sample_log(), sample_catalog(), training)
    whole = RoundBatches(sample_log(), rounds, training, model_config=MODEL, is_training=True)
    users = np.unique(whole.log.user_idx[whole.target_positions])
    first = [time_round.positions[:3] for time_round in rounds]  # of few users
    few = [replace(r, positions=p) for r, p in zip(rounds, first, strict=True)]
    whole = RoundBatches(sample_log(), few, training, model_config=MODEL, is_training=True)
    reduced = whole.for_helpers()
    assert len(reduced.log) < len(whole.log)
    assert len(np.unique(reduced.log.user_idx)) < len(users)
    for batch, same in zip(whole, reduced, strict=True):
        for tensor, of_same in zip(batch.batch, same.batch, strict=True):
            torch.testing.assert_close(of_same, tensor)
        torch.testing.assert_close(same.target_item, batch.target_item)
        torch.testing.assert_close(same.gap_features, batch.gap_features)
        torch.testing.assert_close(same.candidates, batch.candidates)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_weighted_losses_of_the_shares_average_to_the_loss_of_the_batch(n: int) -> None:
    module, example = module_and_example()
    whole = module.training_step(example, 0)
    shares = [module.training_step(example.shard(rank, n), 0) for rank in range(n)]
    torch.testing.assert_close(torch.stack(shares).mean(), whole)
    assert sum(len(example.shard(rank, n).target_item) for rank in range(n)) == len(
        example.target_item
    )


def test_a_process_for_whom_no_row_is_left_has_no_weight() -> None:
    one = module_and_example()[1].shard(0, 64)._replace(weight=1.0)
    assert len(one.target_item) == 1
    idle = one.shard(1, 2)
    assert (len(idle.target_item), idle.weight, one.shard(0, 2).weight) == (1, 0.0, 2.0)


class Noting:
    """Keeps the losses; what it holds cannot be sent to another process."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.connection = (n for n in ())

    def metrics(self, values: Any, *, step: int = 0) -> None:
        self.losses.append(values["later_loss"])

    def params(self, values: object) -> None:
        """Nothing to do."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Nothing to do."""


def trained(**changed: Any) -> tuple[np.ndarray, list[float]]:
    tracker = Noting()
    training = TRAINING.model_copy(update=changed)
    model = ChronotopeRecommender(MODEL, training, tracker=tracker)
    net = model.fit(sample_log(), sample_catalog()).net
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()]), tracker.losses


@pytest.mark.slow
def test_two_processes_train_as_one_on_sampled_candidates() -> None:
    told = {"full_softmax_items": 0, "n_negatives": 4}
    alone, losses_alone = trained(**told)
    together, losses = trained(**told, n_processes=2)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert losses == pytest.approx(losses_alone, abs=1e-4)
    assert len(losses) == TRAINING.max_epochs
    assert not torch.distributed.is_initialized()
    assert not multiprocessing.active_children()


class Murdering(Noting):
    """Kills the helpers in the second epoch."""

    def metrics(self, values: Any, *, step: int = 0) -> None:
        for helper in multiprocessing.active_children() if step else ():
            os.kill(helper.pid or 0, signal.SIGKILL)


@pytest.mark.slow
def test_a_lost_helper_is_a_clear_error_and_the_training_goes_on_after_it(tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"n_processes": 2, "max_epochs": 3})
    model = ChronotopeRecommender(MODEL, training, checkpoint_dir=tmp_path, tracker=Murdering())
    with pytest.raises(ChronotopeError, match="was lost"):
        model.fit(sample_log(), sample_catalog())
    assert not multiprocessing.active_children()
    assert (tmp_path / "last.ckpt").exists()
    alone, tracker = training.model_copy(update={"n_processes": 1}), Noting()
    model = ChronotopeRecommender(MODEL, alone, checkpoint_dir=tmp_path, tracker=tracker)
    model.fit(sample_log(), sample_catalog())
    assert len(tracker.losses) == 2  # of three epochs
