"""Rounds never see their own future."""

import numpy as np
import torch

from chronotope.models.config import ModelConfig
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import RoundBatches, make_rounds


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


def test_popularity_is_the_log_of_one_plus_the_count() -> None:
    log, catalog = sample_log(), sample_catalog()
    counts = [(log.item_idx == item).sum() for item in range(catalog.n_items)]
    found = count_priors(log, catalog).popularity.numpy()
    np.testing.assert_allclose(found, np.log1p(counts), rtol=1e-6)
