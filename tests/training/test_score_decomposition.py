"""The terms of a trained recommender sum to its scores."""

import numpy as np

from chronotope.contracts.queries import queries_at
from chronotope.models.config import ModelConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from chronotope.training.score_decomposition import recommender_terms


def test_terms_of_a_trained_recommender_sum_to_its_scores() -> None:
    log = sample_log()
    training = TrainingConfig(max_epochs=1, n_rounds=2, max_targets=200)
    model = ChronotopeRecommender(ModelConfig(history_len=12, kernel_len=8), training)
    model.fit(log, sample_catalog())
    queries = queries_at(log, np.arange(50, 90, 4), history_len=30, time_given=True)
    terms = recommender_terms(model, queries)
    sums = terms.values.sum(0).numpy()[:, 1:]
    assert np.allclose(sums, model.scores(queries)[:, 1:], atol=1e-4)
    assert np.abs(terms.values[-1].numpy()[:, 1:]).max() < 1e-4
