"""Rounds never see their own future."""

import numpy as np
import pytest
import torch

from chronotope.models.config import ModelConfig
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training import prequential
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import RoundBatches, make_rounds, validation_sample


def test_priors_of_a_round_count_only_earlier_events() -> None:
    log, catalog = sample_log(), sample_catalog()
    rounds, later = make_rounds(log, catalog, TrainingConfig(n_rounds=3))
    for one in rounds + later:
        first_s = log.occurred_s[one.positions].min()
        n_before = np.expm1(one.priors.popularity.numpy()).sum()
        assert n_before <= (log.occurred_s < first_s).sum() + 1e-3


def test_the_later_round_is_later_than_every_target() -> None:
    log, catalog = sample_log(), sample_catalog()
    rounds, later = make_rounds(log, catalog, TrainingConfig(n_rounds=3))
    latest = max(log.occurred_s[one.positions].max() for one in rounds)
    assert latest < log.occurred_s[later[0].positions].min()


def test_an_epoch_visits_every_target_once() -> None:
    log, config = sample_log(), TrainingConfig(n_rounds=3, batch_size=16)
    rounds, _ = make_rounds(log, sample_catalog(), config)
    data = RoundBatches(
        log, rounds, config, model_config=ModelConfig(history_len=8), is_training=True
    )
    items = torch.cat([example.target_item for example in data])
    expected = np.concatenate([log.item_idx[one.positions] for one in rounds])
    assert sorted(items.tolist()) == sorted(expected.tolist())


def test_validation_asks_every_target_both_ways_in_batches_of_similar_lengths() -> None:
    log = sample_log()
    config = TrainingConfig(n_rounds=3, batch_size=8, targets_per_user=1, later_share=0.4)
    _, later = make_rounds(log, sample_catalog(), config)
    data = list(RoundBatches(log, later, config, model_config=ModelConfig(), is_training=False))
    hidden, given = data[::2], data[1::2]
    for batches, is_given in ((hidden, 0.0), (given, 1.0)):
        assert {float(x) for example in batches for x in example.batch.time_given} == {is_given}
        items = torch.cat([example.target_item for example in batches])
        assert sorted(items.tolist()) == sorted(log.item_idx[later[0].positions].tolist())
        widths = [example.batch.item_idx.shape[1] for example in batches]
        assert widths == sorted(widths)
        assert widths[0] < widths[-1]


def test_a_part_of_many_later_targets_chooses_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainingConfig(n_rounds=3)
    _, later = make_rounds(sample_log(), sample_catalog(), config)
    (same,) = validation_sample(later, config)
    assert same.positions.tolist() == later[0].positions.tolist()
    monkeypatch.setattr(prequential, "MAX_VALIDATION", 10)
    (some,), (again,) = (validation_sample(later, config) for _ in range(2))
    assert len(set(some.positions.tolist())) == 10
    assert set(some.positions.tolist()) < set(later[0].positions.tolist())
    assert some.positions.tolist() == again.positions.tolist()
    assert some.priors is later[0].priors


def test_popularity_is_the_log_of_one_plus_the_count() -> None:
    log, catalog = sample_log(), sample_catalog()
    counts = [(log.item_idx == item).sum() for item in range(catalog.n_items)]
    found = count_priors(log, catalog).popularity.numpy()
    np.testing.assert_allclose(found, np.log1p(counts), rtol=1e-6)
