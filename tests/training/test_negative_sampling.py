"""Sampled candidates stand for the whole catalogue without bias."""

import numpy as np
import torch

from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.negative_sampling import sample_candidates
from chronotope.training.recommender import ChronotopeRecommender


def test_the_partition_function_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=500)).float()
    expected = scores[1:].exp().sum().item()
    own = np.arange(1, 40)
    found = []
    for _ in range(400):
        chosen = sample_candidates(own, 500, 60, rng)
        found.append((scores[chosen.item_idx] + chosen.log_weight)[1:].exp().sum().item())
    assert abs(np.mean(found) / expected - 1) < 4 * np.std(found) / expected / np.sqrt(400)
    assert np.std(found) > 0


def test_every_candidate_is_distinct_and_own_items_are_in() -> None:
    chosen = sample_candidates(np.array([[3, 3, 0], [9, 0, 1]]), 12, 4, np.random.default_rng(0))
    items = chosen.item_idx.tolist()
    assert items[:4] == [0, 1, 3, 9]
    assert len(set(items)) == len(items) == 8


def test_scores_of_candidates_are_those_of_the_whole_catalogue() -> None:
    log = sample_log()
    model = ChronotopeRecommender(training=TrainingConfig(max_epochs=1, n_rounds=2))
    model.fit(log, sample_catalog())
    batch = to_batch(queries_at(log, np.arange(50, 60), history_len=32, time_given=True), 32)
    own = torch.unique(batch.item_idx)
    candidates = torch.cat([torch.zeros(1, dtype=torch.int64), own[own > 0]])
    with torch.no_grad():
        whole = model.net(batch, model.priors).item_scores[:, candidates]
        some = model.net(batch, model.priors, candidates).item_scores
    torch.testing.assert_close(some[:, 1:], whole[:, 1:])


def test_a_large_catalogue_trains_on_candidates() -> None:
    config = TrainingConfig(max_epochs=2, n_rounds=2, full_softmax_items=5, n_negatives=3)
    model = ChronotopeRecommender(training=config).fit(sample_log(), sample_catalog())
    queries = queries_at(sample_log(), np.arange(40, 50), history_len=64, time_given=True)
    assert np.isfinite(model.scores(queries)).all()
