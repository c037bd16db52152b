"""GF-CF: collaborative filtering as a graph filter, without training."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse
from scipy.sparse.linalg import svds

from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries
from chronotope.models.baselines.fitted import require_fitted


class GfCfConfig(BaseModel):
    """Parameters of GF-CF."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.3, ge=0, description="Weight of the ideal low-pass filter")
    n_factors: int = Field(
        default=128, ge=1, le=2_048, description="Singular vectors that pass the ideal filter"
    )


@dataclass(frozen=True, slots=True)
class _Filter:
    normalised: sparse.csr_array  # (n_users, n_items)
    vectors: Float64  # (n_items, n_factors), orthonormal
    root: Float64  # (n_items,) square root of each item's number of users


class GfCf:
    """A linear and an ideal low-pass filter over the graph of users and items.

    ``score(h) = x(h) (N'N + alpha D^-1/2 V V' D^1/2)``, ``N = E^-1/2 R D^-1/2``

    ``R`` is the binary user-item matrix, ``E`` and ``D`` hold its row and column sums,
    ``V`` are the first right singular vectors of ``N``. ``N'N`` is never formed, so the
    memory is that of the events.

    Source:
        Shen et al. (2021), How Powerful is Graph Convolution for Recommendation?, eq. 13.
    """

    def __init__(self, config: GfCfConfig | None = None) -> None:
        """Set the parameters."""
        self._config = config or GfCfConfig()
        self._state: _Filter | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "gfcf"

    @property
    def history_len(self) -> int | None:
        """None: the model reads the whole history."""
        return None

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Normalise the user-item matrix and compute its first singular vectors."""
        users = np.unique(log.user_idx, return_inverse=True)[1].ravel()
        taken = _incidence(users, log.item_idx, (len(np.unique(users)), catalog.n_items))
        root = np.sqrt(np.asarray(taken.sum(0)).ravel())
        of_user = np.sqrt(np.asarray(taken.sum(1)).ravel())
        scaled = sparse.diags_array(_inverse(of_user)) @ taken @ sparse.diags_array(_inverse(root))
        normalised = sparse.csr_array(scaled)
        self._state = _Filter(normalised, _vectors(normalised, self._config.n_factors), root)
        return self

    def observe(self, log: EventLog) -> None:
        """Do nothing: queries contain the history, and the filter is fixed."""

    def scores(self, queries: Queries) -> Float64:
        """Filter each history, as a set of items, shape (B, n_items)."""
        state = require_fitted(self._state, self.name)
        rows = np.repeat(np.arange(len(queries)), queries.item_idx.shape[1])
        user_history = _incidence(rows, queries.item_idx.ravel(), (len(queries), len(state.root)))
        linear = (user_history @ state.normalised.T) @ state.normalised
        factors = (user_history * _inverse(state.root)) @ state.vectors  # (B, n_factors)
        ideal = (factors @ state.vectors.T) * state.root
        return np.asarray(linear.toarray() + self._config.alpha * ideal, dtype=np.float64)


def _incidence(rows: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """0/1 matrix with ones at the pairs; the unknown item is left out."""
    known = items != UNKNOWN
    pairs = np.unique(np.stack([rows[known], items[known]]), axis=1)
    return sparse.csr_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=shape)


def _vectors(normalised: sparse.csr_array, n_factors: int) -> Float64:
    """First right singular vectors, shape (n_items, at most n_factors)."""
    smaller = min(normalised.shape)
    n_factors = min(n_factors, smaller - 1)
    if n_factors < 1 or normalised.nnz == 0:
        return np.zeros((normalised.shape[1], 1))
    start = np.random.default_rng(0).normal(size=smaller)
    _, _, row_vectors = svds(normalised, k=n_factors, v0=start)
    return np.asarray(row_vectors.T, dtype=np.float64)


def _inverse(root: Float64) -> Float64:
    """1 / root, 0 where the root is."""
    return np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
