"""One network over several logs: shared parameters, mixed batches, the same after a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ConfigError
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.transfer.parameter_scope import is_transferable
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training import trainer
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import RoundBatches, make_rounds
from chronotope.training.pretraining import (
    MixedBatches,
    PretrainingLog,
    pretrain,
    share_parameters,
)

MODEL = ModelConfig(history_len=16, n_hidden=8)
TRAINING = TrainingConfig(max_epochs=2, n_rounds=2, batch_size=32, discovery_targets=0)


def logs() -> dict[str, PretrainingLog]:
    first, second = sample_log(), sample_log(seed=1)
    return {
        "first": PretrainingLog(first, sample_catalog()),
        "second": PretrainingLog(second.take(second.user_idx <= 5), sample_catalog()),
    }


def mixed(balance: float, *, is_training: bool = True) -> MixedBatches:
    batches = [
        RoundBatches(
            each.log,
            make_rounds(*each, TRAINING)[0],
            TRAINING,
            model_config=MODEL,
            is_training=is_training,
        )
        for each in logs().values()
    ]
    return MixedBatches(batches, balance)


def test_the_transferable_parameters_are_the_same_objects() -> None:
    nets = [ChronotopeNet(MODEL, sample_catalog()) for _ in range(2)]
    share_parameters(nets[1], nets[0])
    source = dict(nets[0].named_parameters())
    for name, parameter in nets[1].named_parameters():
        assert (parameter is source[name]) == is_transferable(name), name


def test_batches_of_all_logs_are_mixed_and_each_is_seen_once() -> None:
    batches = mixed(0.5)
    order = [of.log_idx for of in batches]
    sizes = [len(of) for of in batches.batches_by_log]
    assert np.bincount(order).tolist() == sizes
    assert len(batches) == len(order)
    assert order != sorted(order)
    assert [of.log_idx for of in batches] == order  # the same epoch
    batches.set_epoch(1)
    assert [of.log_idx for of in batches] != order


@pytest.mark.parametrize(("balance", "expected_power"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_logs_are_weighed_by_the_balance(balance: float, expected_power: float) -> None:
    batches = mixed(balance)
    small, large = sorted(batches.batches_by_log, key=len)
    weight = {id(of): w for of, w in zip(batches.batches_by_log, batches.weights, strict=True)}
    ratio = (len(large) / len(small)) ** expected_power
    assert weight[id(small)] / weight[id(large)] == pytest.approx(ratio)
    first = {of.log_idx: of.batch.weight for of in batches}
    assert first[0] == pytest.approx(float(batches.weights[0]))


def test_every_log_moves_the_shared_parameters(tmp_path: Path) -> None:
    both = pretrain(logs(), MODEL, TRAINING).parameters
    alone = pretrain({"first": logs()["first"]}, MODEL, TRAINING).parameters
    assert set(both) == set(alone)
    assert not torch.equal(both["gate.2.weight"], alone["gate.2.weight"])
    again = pretrain(logs(), MODEL, TRAINING).parameters
    assert all(torch.equal(both[name], again[name]) for name in both)


def test_a_killed_pretraining_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(logs(), MODEL, TRAINING).parameters
    run = trainer.TrainingJob.run

    def one_epoch(job: trainer.TrainingJob, **options: object) -> Path:
        run(job, **options, limit_val_batches=1.0, max_steps=len(job.train_batches))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(trainer.TrainingJob, "run", one_epoch)
        with pytest.raises(KeyboardInterrupt):
            pretrain(logs(), MODEL, TRAINING, checkpoint_dir=tmp_path)
    assert (tmp_path / "last.ckpt").is_file()
    resumed = pretrain(logs(), MODEL, TRAINING, checkpoint_dir=tmp_path).parameters
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_without_a_log_or_with_columns_of_one_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a log"):
        pretrain({}, MODEL, TRAINING)
    with pytest.raises(ConfigError, match="context: rain"):
        pretrain(logs(), MODEL.model_copy(update={"context": ("rain",)}), TRAINING)
