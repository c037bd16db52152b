"""Scores of items without events, from their content: kernel ridge regression to user factors.

With the training items' interactions Y (n, n_users), their truncated singular value decomposition
Y ~ U S V', and the similarity K of items by content, the scores of new items are::

    k (K + r I)^-1 (Y - m) V F V' + m V F V',    F = S^2 / (S^2 + u)

The first factor predicts from content who interacts with an item (kernel ridge regression; m is
the mean over the items). The second smooths the prediction across users who behave alike, as a
ridge regression between users does. All is closed form: nothing is drawn, nothing iterates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_array

from benchmarks.cold_item_model.kernels import ContentView, FittedKernel, Matrix, weighted_sum
from chronotope.contracts.errors import ConfigError, NotEnoughData

_JITTER = 1e-6


class ColdItemConfig(BaseModel):
    """Regularisation of the model of new items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, float] = Field(
        default_factory=dict, description="Weight of each view by name; 1 if it is not named"
    )
    ridge: float = Field(30.0, gt=0, description="Ridge penalty of the regression on content")
    user_ridge: float = Field(300.0, ge=0, description="Ridge penalty of the smoothing over users")
    n_factors: int = Field(256, ge=1, le=2_048, description="Number of user factors at most")
    max_landmarks: int = Field(
        2_000, ge=10, le=10_000, description="Training items that new ones are compared with"
    )
    seed: int = Field(0, ge=0, description="Seed of the choice among more training items")


@dataclass(frozen=True, slots=True)
class UserFactors:
    """Truncated singular value decomposition of the interactions.

    Attributes:
        directions: Right singular vectors, shape (n_users, d).
        squared_values: Squared singular values, shape (d,).
    """

    directions: Matrix
    squared_values: Matrix

    @classmethod
    def fit(cls, interactions: csr_array, n_factors: int) -> Self:
        """Factors of the users, by the eigenvectors of the smaller Gram matrix.

        Args:
            interactions: Shape (n_items, n_users).
            n_factors: Number of factors at most.
        """
        if min(interactions.shape) > 4 * n_factors:
            from scipy.sparse.linalg import svds

            start_vector = np.ones(
                min(interactions.shape)
            )  # a fixed start: equal results every time
            _, singular_values, right_vectors = svds(
                interactions.astype(np.float64), k=n_factors, v0=start_vector
            )
            return cls(right_vectors[::-1].T, singular_values[::-1] ** 2)
        _, singular_values, right_vectors = np.linalg.svd(
            interactions.toarray(), full_matrices=False
        )
        return cls(right_vectors[:n_factors].T, singular_values[:n_factors] ** 2)

    def smoothed(self, user_ridge: float) -> Matrix:
        """Factors of the users, shape (n_users, d), shrunk along weak directions.

        Args:
            user_ridge: Penalty u; a direction of squared value s keeps s / (s + u).
        """
        kept_share = self.squared_values / (self.squared_values + user_ridge + 1e-12)
        return np.asarray(self.directions * kept_share)


@dataclass(frozen=True, slots=True)
class ColdItemModel:
    """Fitted model.

    Attributes:
        kernels: Similarity to the landmarks, one for each view.
        weights: Weight of each view.
        coefficients: Shape (n_landmarks, d).
        mean_factor: Factor of an item of which nothing is known, shape (d,).
        user_factors: Shape (n_users, d).
    """

    kernels: tuple[FittedKernel, ...]
    weights: tuple[float, ...]
    coefficients: Matrix
    mean_factor: Matrix
    user_factors: Matrix

    @classmethod
    def fit(
        cls,
        content_views: Sequence[ContentView],
        interactions: csr_array,
        config: ColdItemConfig = ColdItemConfig(),  # noqa: B008 - frozen
    ) -> Self:
        """Fit on items with events.

        Args:
            content_views: Content of the training items.
            interactions: 1 where a user had an item, shape (n_items, n_users).
            config: Regularisation.

        Raises:
            NotEnoughData: There are no interactions.
            ConfigError: The views have different numbers of items.
        """
        n_items = interactions.shape[0]
        if interactions.nnz == 0:
            raise NotEnoughData("No item has an event", way_out="Ingest the events first")
        if any(len(view.features) != n_items for view in content_views):
            raise ConfigError(
                "The views do not have the items of the interactions",
                received={view.name: len(view.features) for view in content_views},
                way_out=f"Pass {n_items} rows in each",
            )
        landmark_idx = choose_landmarks(n_items, config)
        kernels = tuple(FittedKernel.fit(view.rows(landmark_idx)) for view in content_views)
        weights = view_weights(content_views, config)
        item_similarity = weighted_sum(
            [
                view_kernel.similarity(view.features)
                for view_kernel, view in zip(kernels, content_views, strict=True)
            ],
            weights,
        )  # (n_items, n_landmarks)
        user_factors = UserFactors.fit(interactions, config.n_factors)
        item_factors = interactions @ user_factors.directions  # (n_items, d)
        mean_factor = item_factors.mean(axis=0)
        coefficients = solve_ridge(
            item_similarity, item_similarity[landmark_idx], item_factors - mean_factor, config.ridge
        )
        return cls(
            kernels, weights, coefficients, mean_factor, user_factors.smoothed(config.user_ridge)
        )

    def item_factors(self, content_views: Sequence[ContentView]) -> Matrix:
        """Factors of new items, shape (n_new, d).

        Args:
            content_views: Their content: the same views in the same order.

        Raises:
            ConfigError: The views are others.
        """
        expected_names = [view_kernel.view.name for view_kernel in self.kernels]
        if [view.name for view in content_views] != expected_names:
            raise ConfigError(
                "The model was fitted on other views of the items",
                received=[view.name for view in content_views],
                way_out=f"Pass {expected_names}",
            )
        item_similarity = weighted_sum(
            [
                view_kernel.similarity(view.features)
                for view_kernel, view in zip(self.kernels, content_views, strict=True)
            ],
            self.weights,
        )
        return np.asarray(item_similarity @ self.coefficients + self.mean_factor)

    def scores(
        self, content_views: Sequence[ContentView], user_idx: npt.NDArray[np.integer] | None = None
    ) -> Matrix:
        """Scores of new items, shape (n_users, n_new); larger is better.

        Args:
            content_views: Content of the new items.
            user_idx: Users; None for all.
        """
        chosen_factors = self.user_factors if user_idx is None else self.user_factors[user_idx]
        return np.asarray(chosen_factors @ self.item_factors(content_views).T)


def solve_ridge(
    item_similarity: Matrix, landmark_similarity: Matrix, target_factors: Matrix, ridge: float
) -> Matrix:
    """Coefficients of kernel ridge regression, shape (n_landmarks, d).

    With all items as landmarks that is ``(K + r I)^-1 targets``; with some of them the subset of
    regressors (Smola and Schoelkopf 2000).

    Args:
        item_similarity: Items against landmarks, shape (n_items, n_landmarks).
        landmark_similarity: Landmarks against landmarks.
        target_factors: Shape (n_items, d).
        ridge: Penalty r.
    """
    if len(item_similarity) == len(landmark_similarity):
        linear_system, right_side = (
            landmark_similarity + ridge * np.eye(len(landmark_similarity)),
            target_factors,
        )
    else:
        linear_system = item_similarity.T @ item_similarity + ridge * landmark_similarity
        linear_system += (
            _JITTER * np.trace(linear_system) / len(linear_system) * np.eye(len(linear_system))
        )
        right_side = item_similarity.T @ target_factors
    return np.asarray(np.linalg.solve(linear_system, right_side))


def with_weights(config: ColdItemConfig, weights: Mapping[str, float]) -> ColdItemConfig:
    """The same configuration with other weights of the views.

    Args:
        config: Configuration.
        weights: Weights to replace.
    """
    return config.model_copy(update={"weights": config.weights | dict(weights)})


def view_weights(content_views: Sequence[ContentView], config: ColdItemConfig) -> tuple[float, ...]:
    """Weight of each view.

    Args:
        content_views: The views.
        config: Configuration.
    """
    return tuple(config.weights.get(view.name, 1.0) for view in content_views)


def choose_landmarks(n_items: int, config: ColdItemConfig) -> npt.NDArray[np.int64]:
    """Positions of the training items that others are compared with.

    Args:
        n_items: Number of training items.
        config: Configuration.
    """
    if n_items <= config.max_landmarks:
        return np.arange(n_items)
    rng = np.random.default_rng(config.seed)
    return np.sort(rng.choice(n_items, config.max_landmarks, replace=False))
