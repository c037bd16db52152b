"""Items without events: what their content says is found again, and noise is not."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from benchmarks.cold_item_model.kernels import ContentView, FittedKernel, weighted_sum
from benchmarks.cold_item_model.model import ColdItemConfig, ColdItemModel, UserFactors, solve_ridge
from benchmarks.cold_item_model.tuning import tune_cold_items
from chronotope.contracts.errors import ConfigError, NotEnoughData

N_ITEMS, N_USERS = 200, 60


def world(seed: int = 0) -> tuple[list[ContentView], csr_array, np.ndarray]:
    """Items of four kinds, users who like one kind; the content shows the kind, with noise."""
    rng = np.random.default_rng(seed)
    kinds, taste = rng.integers(4, size=N_ITEMS), rng.integers(4, size=N_USERS)
    liked = kinds[:, None] == taste[None]
    events = rng.random((N_ITEMS, N_USERS)) < np.where(liked, 0.3, 0.03)
    vectors = np.eye(4)[kinds] @ rng.normal(size=(4, 16)) + 0.3 * rng.normal(size=(N_ITEMS, 16))
    views = [
        ContentView("vectors", vectors),
        ContentView("noise", rng.normal(size=(N_ITEMS, 16))),
    ]
    return views, csr_array(events.astype(np.float64)), liked.T


def share_liked(scores: np.ndarray, liked: np.ndarray) -> float:
    top_items = np.argsort(-scores, axis=1)[:, :5]
    return float(np.take_along_axis(liked, top_items, axis=1).mean())


def test_new_items_reach_the_users_who_like_their_kind() -> None:
    views, events, liked = world()
    train, test = np.arange(150), np.arange(150, N_ITEMS)
    model = ColdItemModel.fit([view.rows(train) for view in views], events[train])
    scores = model.scores([view.rows(test) for view in views])
    assert scores.shape == (N_USERS, 50)
    assert share_liked(scores, liked[:, test]) > 0.9
    np.testing.assert_allclose(
        model.scores([view.rows(test[:3]) for view in views], np.array([4, 7])),
        scores[[4, 7], :3],
    )


def test_content_without_meaning_predicts_nothing() -> None:
    views, events, liked = world()
    train, test = np.arange(150), np.arange(150, N_ITEMS)
    model = ColdItemModel.fit([views[1].rows(train)], events[train])
    assert share_liked(model.scores([views[1].rows(test)]), liked[:, test]) < 0.45


def test_the_scores_are_those_of_the_formula() -> None:
    views, events, _ = world()
    train, test = np.arange(40), np.arange(40, 50)
    config = ColdItemConfig(ridge=2.0, user_ridge=5.0, n_factors=2_000)
    model = ColdItemModel.fit([view.rows(train) for view in views], events[train], config)
    kernels = [FittedKernel.fit(view.rows(train)) for view in views]
    similarity = sum(k.similarity(v.features[train]) for k, v in zip(kernels, views, strict=True))
    to_new = sum(k.similarity(v.features[test]) for k, v in zip(kernels, views, strict=True))
    dense = events[train].toarray()
    mean = dense.mean(0)
    regression = to_new @ np.linalg.solve(similarity + 2 * np.eye(40), dense - mean) + mean
    gram = dense.T @ dense
    expected = regression @ np.linalg.solve(gram + 5 * np.eye(N_USERS), gram)
    scores = model.scores([view.rows(test) for view in views])
    np.testing.assert_allclose(scores, expected.T, atol=1e-8)


def test_missing_content_scores_as_the_average_item() -> None:
    views, events, _ = world()
    model = ColdItemModel.fit(views[:1], events)
    unknown = ContentView("vectors", np.array([np.zeros(16), np.full(16, np.nan)]))
    np.testing.assert_allclose(
        model.item_factors([unknown]), np.tile(model.mean_factor, (2, 1)), atol=1e-12
    )


def test_landmarks_stand_for_a_large_catalogue() -> None:
    views, events, liked = world()
    train, test = np.arange(150), np.arange(150, N_ITEMS)
    config = ColdItemConfig(max_landmarks=60, ridge=1.0)
    model = ColdItemModel.fit([views[0].rows(train)], events[train], config)
    assert model.coefficients.shape[0] == 60
    assert share_liked(model.scores([views[0].rows(test)]), liked[:, test]) > 0.9


def test_all_items_as_landmarks_are_the_exact_regression() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 40))
    similarity, targets = features @ features.T, rng.normal(size=(30, 2))
    exact = solve_ridge(similarity, similarity, targets, 3.0)
    np.testing.assert_allclose(
        exact, np.linalg.solve(similarity + 3 * np.eye(30), targets), atol=1e-10
    )


def test_a_large_sparse_matrix_gives_the_leading_factors_of_a_dense_one() -> None:
    rng = np.random.default_rng(0)
    low_rank = rng.random((300, 5)) @ rng.random((5, 90)) + 0.01 * rng.random((300, 90))
    sparse_factors = UserFactors.fit(csr_array(low_rank), 5)
    dense_factors = UserFactors.fit(csr_array(low_rank[:, :90]), 60)
    np.testing.assert_allclose(
        sparse_factors.squared_values, dense_factors.squared_values[:5], rtol=1e-6
    )
    alignment = np.abs((sparse_factors.directions * dense_factors.directions[:, :5]).sum(0))
    np.testing.assert_allclose(alignment, 1, atol=1e-5)


def test_wrong_input_is_refused() -> None:
    views, events, _ = world()
    with pytest.raises(ConfigError, match="Pass 200 rows in each"):
        ColdItemModel.fit([views[0].rows(np.arange(5))], events)
    with pytest.raises(NotEnoughData, match="No item has an event"):
        ColdItemModel.fit(views, csr_array((N_ITEMS, N_USERS)))
    with pytest.raises(ConfigError, match="other views"):
        ColdItemModel.fit(views, events).scores(views[:1])


@pytest.mark.parametrize("kernel", ["cosine", "rbf"])
def test_a_kernel_is_one_for_an_item_and_itself(kernel: str) -> None:
    features = np.random.default_rng(0).normal(size=(6, 3))
    fitted = FittedKernel.fit(ContentView("view", features, kernel))  # type: ignore[arg-type]
    similarity = fitted.similarity(features)
    np.testing.assert_allclose(np.diag(similarity), 1)
    np.testing.assert_allclose(similarity, similarity.T)
    assert np.linalg.eigvalsh(similarity).min() > -1e-9
    empty = FittedKernel.fit(ContentView("view", np.zeros((2, 3)), kernel))  # type: ignore[arg-type]
    assert not empty.similarity(features).any()
    np.testing.assert_array_equal(weighted_sum([similarity, similarity], [1, 0]), similarity)


def test_penalties_and_views_are_chosen_on_held_back_items() -> None:
    views, events, liked = world()
    train, held_back = np.arange(120), np.arange(120, 160)
    blanked = events.toarray()
    blanked[held_back] = 0  # held-back events are not read
    configs = [
        tune_cold_items(
            views,
            csr_array(matrix),
            train,
            held_back,
            lambda s: share_liked(s, liked[:, held_back]),
        )
        for matrix in (events.toarray(), blanked)
    ]
    assert configs[0] == configs[1]
    assert configs[0].weights["vectors"] == 1

    def harmed_by_noise(scores: np.ndarray) -> float:
        return -float(np.abs(scores).mean())

    tuned = tune_cold_items(views, events, train, held_back, harmed_by_noise)
    assert tuned.ridge > 30 or tuned.user_ridge > 300
