"""Weights of the views and penalties of ``ColdItemModel``, chosen on held-back items."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from benchmarks.cold_item_model.kernels import ContentView, FittedKernel, Matrix, weighted_sum
from benchmarks.cold_item_model.model import (
    ColdItemConfig,
    UserFactors,
    choose_landmarks,
    solve_ridge,
    view_weights,
    with_weights,
)

RIDGES: Final = (10.0, 30.0, 100.0)
USER_RIDGES: Final = (100.0, 300.0, 1_000.0)

_MIN_GAIN: Final = 5e-3
"""Gain that a change has to bring. Finer weights than 0 and 1 were chosen by
noise: on 336 held-back films they lost .02 of NDCG@10 on the test items."""

Judge = Callable[[Matrix], float]
"""Quality of the scores (n_users, n_items) of the held-back items; larger is better."""


def tune_cold_items(
    content_views: Sequence[ContentView],
    interactions: csr_array,
    train_idx: npt.NDArray[np.integer],
    held_back_idx: npt.NDArray[np.integer],
    judge: Judge,
) -> ColdItemConfig:
    """Configuration that ranks held-back items best, by one pass over each of its values.

    A view that costs more than 0.005 gets weight 0.

    Args:
        content_views: Content of all items.
        interactions: Shape (n_items, n_users); those of the held-back items are not read.
        train_idx: Positions of the items to fit on.
        held_back_idx: Positions of the held-back items.
        judge: Quality of scores of the held-back items.
    """
    config = ColdItemConfig()
    landmark_idx = choose_landmarks(len(train_idx), config)
    view_kernels = [FittedKernel.fit(view.rows(train_idx[landmark_idx])) for view in content_views]
    train_kernels, held_back_kernels = (
        [
            view_kernel.similarity(view.features[item_idx])
            for view_kernel, view in zip(view_kernels, content_views, strict=True)
        ]
        for item_idx in (train_idx, held_back_idx)
    )
    user_factors = UserFactors.fit(interactions[train_idx], config.n_factors)
    item_factors = interactions[train_idx] @ user_factors.directions
    mean_factor = item_factors.mean(axis=0)

    def quality(tried_config: ColdItemConfig) -> float:
        kernel_weights = view_weights(content_views, tried_config)
        item_similarity = weighted_sum(train_kernels, kernel_weights)
        ridge_coefficients = solve_ridge(
            item_similarity,
            item_similarity[landmark_idx],
            item_factors - mean_factor,
            tried_config.ridge,
        )
        predicted_factors = (
            weighted_sum(held_back_kernels, kernel_weights) @ ridge_coefficients + mean_factor
        )
        return judge(user_factors.smoothed(tried_config.user_ridge) @ predicted_factors.T)

    best_config = ColdItemConfig(weights={view.name: 1.0 for view in content_views})
    best_quality = quality(best_config)
    for candidate_changes in _candidate_lists(content_views):
        for apply_change in candidate_changes:
            tried_config = apply_change(best_config)
            if tried_config == best_config:
                continue
            tried_quality = quality(tried_config)
            if tried_quality > best_quality + _MIN_GAIN:
                best_config, best_quality = tried_config, tried_quality
    return best_config


def _candidate_lists(
    content_views: Sequence[ContentView],
) -> list[list[Callable[[ColdItemConfig], ColdItemConfig]]]:
    """Changes of a configuration, one list for each of its values."""

    def with_value(field_name: str, value: float) -> Callable[[ColdItemConfig], ColdItemConfig]:
        return lambda config: config.model_copy(update={field_name: value})

    def with_weight(name: str, value: float) -> Callable[[ColdItemConfig], ColdItemConfig]:
        return lambda config: with_weights(config, {name: value})

    return [
        [with_value("ridge", value) for value in RIDGES],
        [with_value("user_ridge", value) for value in USER_RIDGES],
        *(
            [[with_weight(view.name, 0.0)] for view in content_views]
            if len(content_views) > 1
            else []
        ),
    ]
