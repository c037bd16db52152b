"""The crowd's scores against hand-written sums, and the plane against the globe."""

import numpy as np
import torch

from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.item_tables import ItemTables, project_km
from chronotope.models.prior_scores import PRIOR_NAMES, PriorWeights, prior_scores
from chronotope.models.priors import count_priors
from chronotope.spacetime.distances import haversine_km
from chronotope.testing.recommender_suite import sample_catalog, sample_log


def only(name: str) -> torch.Tensor:
    """Scores of one prior with weight one, for the last events of the sample."""
    log, catalog = sample_log(), sample_catalog()
    items, priors = ItemTables(catalog), count_priors(log, catalog)
    batch = to_batch(queries_at(log, np.arange(380, 400), history_len=8, time_given=True), 8)
    weights = torch.zeros(20, len(PRIOR_NAMES))
    weights[:, PRIOR_NAMES.index(name)] = 1.0
    view = items.view(priors, None)
    return prior_scores(batch, priors, items, view, PriorWeights(torch.ones(20, 8), weights))


def test_popularity_alone_ranks_by_count() -> None:
    counts = np.bincount(sample_log().item_idx, minlength=16)
    np.testing.assert_allclose(only("popularity").numpy()[0], np.log1p(counts), rtol=1e-6)


def test_distance_alone_is_the_log_of_the_way() -> None:
    log, catalog = sample_log(), sample_catalog()
    last = queries_at(log, np.arange(380, 400), history_len=8, time_given=True).item_idx[:, -1]
    lat, lon = catalog.item_lat, catalog.item_lon
    way_km = haversine_km(lat=lat[last], lon=lon[last], to_lat=lat[7], to_lon=lon[7])
    expected = -np.log1p(2 * way_km)
    np.testing.assert_allclose(only("distance").numpy()[:, 7], expected, rtol=5e-3, atol=1e-3)


def test_taste_counts_the_history_of_each_category() -> None:
    log, catalog = sample_log(), sample_catalog()
    items = queries_at(log, np.arange(380, 400), history_len=8, time_given=True).item_idx
    category = catalog.item_category[7]
    counts = (catalog.item_category[items] == category).sum(1)
    np.testing.assert_allclose(only("taste").numpy()[:, 7], np.log1p(counts), rtol=1e-6)


def test_unknown_coordinates_lie_nowhere() -> None:
    xy_km, located = project_km(np.array([40.0, np.nan]), np.array([-74.0, -74.0]))
    assert located.tolist() == [True, False]
    assert xy_km[1].tolist() == [0.0, 0.0]
