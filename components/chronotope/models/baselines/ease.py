"""EASE: a shallow linear autoencoder over items, in closed form."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.event_log import Catalog, EventLog, Float32, Int64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries
from chronotope.models.baselines.fitted import require_fitted
from chronotope.models.baselines.popularity import item_counts


class EaseConfig(BaseModel):
    """Parameters of EASE."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    l2: float = Field(
        default=200.0, gt=0, description="Ridge added to the diagonal of the Gram matrix"
    )
    max_items: int = Field(
        default=5_000,
        ge=1,
        le=20_000,
        description="Most popular items in the model; the cost is cubic in them",
    )
    users_at_once: int = Field(
        default=4_096, ge=1, description="Users of one dense block while fitting"
    )


@dataclass(frozen=True, slots=True)
class _Weights:
    column: Int64  # (n_items,) position among the kept items; n_kept if left out
    kept_idx: Int64  # (n_kept,) item indices
    weights: torch.Tensor  # (n_kept, n_kept), zero diagonal


class Ease:
    """Linear regression of each item on all others, without itself.

    ``B = I - P diag(1 / diag P)``, ``P = (X'X + l2 I)^-1``, ``score(h) = x(h) B``

    ``X`` is the binary user-item matrix. In a catalogue larger than ``max_items``
    only the most popular items enter; all others tie with the least likely one.

    Source:
        Steck (2019), Embarrassingly Shallow Autoencoders for Sparse Data, eq. 8.
    """

    def __init__(self, config: EaseConfig | None = None) -> None:
        """Set the parameters."""
        self._config = config or EaseConfig()
        self._state: _Weights | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "ease"

    @property
    def history_len(self) -> int | None:
        """None: the model reads the whole history."""
        return None

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Solve for the item-item weights."""
        popularity = item_counts(log, catalog.n_items)
        ranked = np.argsort(-popularity, kind="stable")
        kept_idx = np.sort(ranked[: self._config.max_items])
        kept_idx = kept_idx[(kept_idx != UNKNOWN) & (popularity[kept_idx] > 0)]
        column = np.full(catalog.n_items, len(kept_idx), dtype=np.int64)
        column[kept_idx] = np.arange(len(kept_idx))
        weights = ease_weights(self._gram(log, column, len(kept_idx)), self._config.l2)
        self._state = _Weights(column=column, kept_idx=kept_idx, weights=weights)
        return self

    def observe(self, log: EventLog) -> None:
        """Do nothing: queries contain the history, and the weights are fixed."""

    def scores(self, queries: Queries) -> Float32:
        """Multiply each history, as a set of items, with the weights, shape (B, n_items)."""
        state = require_fitted(self._state, self.name)
        rows = np.repeat(np.arange(len(queries)), queries.item_idx.shape[1])
        columns = state.column[queries.item_idx.ravel()]
        user_history = _incidence(rows, columns, len(queries), len(state.kept_idx))
        kept_BK = (user_history @ state.weights).numpy()
        lowest_B1 = kept_BK.min(axis=1, keepdims=True, initial=0.0)
        scores_BI = np.repeat(lowest_B1, len(state.column), axis=1)
        scores_BI[:, state.kept_idx] = kept_BK
        return scores_BI

    def fitted_weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of the items in the model, shape (n,), and their weights, shape (n, n)."""
        state = require_fitted(self._state, self.name)
        return torch.from_numpy(state.kept_idx), state.weights

    def _gram(self, log: EventLog, column: Int64, n_kept: int) -> torch.Tensor:
        """``X'X``, shape (n_kept, n_kept), summed over blocks of users."""
        gram = torch.zeros(n_kept, n_kept)
        step = self._config.users_at_once
        for first in range(0, int(log.user_idx.max(initial=0)) + 1, step):
            lo, hi = np.searchsorted(log.user_idx, [first, first + step])
            users = log.user_idx[lo:hi].astype(np.int64) - first
            block = _incidence(users, column[log.item_idx[lo:hi]], step, n_kept)
            gram.addmm_(block.T, block)
        return gram


def _incidence(rows: Int64, columns: Int64, n_rows: int, n_columns: int) -> torch.Tensor:
    """Dense 0/1 matrix with ones at the pairs; column ``n_columns`` is dropped."""
    dense = np.zeros((n_rows, n_columns + 1), dtype=np.float32)
    dense[rows, columns] = 1.0
    return torch.from_numpy(dense)[:, :n_columns]


def ease_weights(gram: torch.Tensor, l2: float) -> torch.Tensor:
    """Weights of EASE, shape (n, n).

    Args:
        gram: Users of each pair of items, shape (n, n).
        l2: Ridge added to its diagonal.
    """
    ridge = gram + l2 * torch.eye(len(gram))
    precision = torch.cholesky_inverse(torch.linalg.cholesky(ridge))
    weights = -precision / precision.diagonal()
    return weights.fill_diagonal_(0.0)
