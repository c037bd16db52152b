"""Pairs of popular items with user-level differential privacy, as a table of affinities.

Each user's items among the most popular ones are a vector x of norm 1, so that one user changes

    G = sum_u x_u x_u^T + N(0, sigma^2), symmetric

by a norm of at most 1 before the noise. What follows is computed from G alone: eigenvectors whose
eigenvalue lies above those of the noise, 2 sigma sqrt(n) for n items, give the affinity of two
items, sum_k v_ki v_kj w_k / (w_k + 2 sigma sqrt(n)).

Source: Dwork et al. (2014), *Analyze Gauss: optimal bounds for privacy-preserving principal
component analysis*.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.models.discovery_counts import strongest_affinity

N_PAIRED: Final = 100
"""Most popular items whose pairs are released; more of them have more noise."""


def release_pairs(
    log: EventLog, popularity: Tensor, noise_multiplier: float, *, seed: int | None = None
) -> tuple[Tensor, Tensor]:
    """Tables of affinities as of ``count_affinity``; weights of 0 where the noise hides all.

    Args:
        log: Events of the training.
        popularity: Released counts of the items, shape (n_items,).
        noise_multiplier: Deviation of the noise, which is also that of a cell.
        seed: Seed of the noise, for tests alone: who knows it can remove the noise.
    """
    items = popular_items(popularity)
    gram = pair_sums(log, items, len(popularity))
    noise = np.triu(np.random.default_rng(seed).normal(0.0, noise_multiplier, gram.shape))
    noisy_gram = gram + noise + np.triu(noise, 1).T
    noise_edge = 2.0 * noise_multiplier * np.sqrt(max(1, len(items)))
    affinities = torch.from_numpy(significant_affinities(noisy_gram, noise_edge))
    return strongest_affinity(torch.from_numpy(items), affinities.float(), len(popularity))


def popular_items(popularity: Tensor) -> Int64:
    """The items with the largest released counts above 0, shape (at most ``N_PAIRED``,)."""
    order = torch.argsort(popularity, descending=True, stable=True).numpy()
    items = order[:N_PAIRED]
    return np.asarray(items[(items > 0) & (popularity.numpy()[items] > 0)], np.int64)


def pair_sums(log: EventLog, items: Int64, n_items: int) -> Float64:
    """Sum over the users of x x^T, where x has norm 1 and is equal at each of their items.

    Args:
        log: The events.
        items: The items of the rows and columns, shape (n,).
        n_items: Size of the catalogue.
    """
    column = np.full(n_items, -1, np.int64)
    column[items] = np.arange(len(items))
    is_listed = column[log.item_idx] >= 0
    _, rows = np.unique(log.user_idx[is_listed], return_inverse=True)
    has_item = np.zeros((int(rows.max(initial=-1)) + 1, len(items)))  # (n_users, n)
    has_item[rows, column[log.item_idx[is_listed]]] = 1.0
    vectors = has_item / np.sqrt(has_item.sum(axis=1, keepdims=True))
    return np.asarray(vectors.T @ vectors, np.float64)


def significant_affinities(noisy_gram: Float64, noise_edge: float) -> Float64:
    """Affinity of each pair by the eigenvectors above the noise, 0 on the diagonal, (n, n).

    Args:
        noisy_gram: Released sums, symmetric, shape (n, n).
        noise_edge: Largest eigenvalue that the noise alone has.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(noisy_gram)
    is_kept: npt.NDArray[np.bool_] = eigenvalues > noise_edge
    shares = eigenvalues[is_kept] / (eigenvalues[is_kept] + noise_edge)
    affinities = (eigenvectors[:, is_kept] * shares) @ eigenvectors[:, is_kept].T
    np.fill_diagonal(affinities, 0.0)
    return np.asarray(affinities, np.float64)
