"""Which content follows which: a metric of the items' content, in closed form.

With the profile p of a past (the mean content of its latest events) and the content v of an item,

    (p - m)' M v + h' v,
    M = (P'P / N + a I)^-1 (P'T / N) (V'V / n + b I)^-1,    h = t (V'V / n + b I)^-1

is the ridge regression of "the next new item is this one" on all products of the columns of p and
v. P (N, A) holds the profiles before N events with a new item, less their mean m; T (N, A) the
content of these items, t their mean; V (n, A) that of the n items with events; T and V are centred
on these. M says which content follows which, h which content is popular.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor

from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.contracts.item_content import ContentAxes
from chronotope.models.batch import Batch
from chronotope.models.content_head import N_RECENT
from chronotope.models.gap_features import GapFeatures
from chronotope.models.history_index import truncate_history
from chronotope.models.network import ChronotopeNet
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import PrequentialRound, RoundBatches, TrainingBatch

PROFILE_RIDGE: Final = 3.0
"""Penalty of the profiles' columns, in units of their mean square: the past says little."""

ITEM_RIDGE: Final = 5.0
"""Penalty of the items' columns, in units of their mean square, divided by the number of items."""

MAX_TARGETS: Final = 20_000
"""Targets that the metric is fitted on."""


@dataclass(frozen=True, slots=True)
class ContentMetric:
    """Which content follows which, and which is popular.

    Attributes:
        products: M, float32, shape (A, A).
        popularity: h, float32, shape (A,).
        mean_profile: m, float32, shape (A,).
    """

    products: Tensor
    popularity: Tensor
    mean_profile: Tensor

    def features(self, profiles: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms of some items after some pasts, each (B, C).

        Args:
            profiles: Mean content of the latest events, shape (B, A).
            vectors: Content of the items, shape (C, A).
        """
        personal = (profiles - self.mean_profile) @ self.products @ vectors.T
        return personal, (vectors @ self.popularity).expand(len(profiles), -1)

    def weighted(self, personal_weight: Tensor, popularity_weight: Tensor) -> Tensor:
        """Sum of both terms as one matrix for profiles with a constant, shape (A + 1, A).

        Args:
            personal_weight: Weight of the first term.
            popularity_weight: Weight of the second one.
        """
        products = personal_weight * self.products
        constant = popularity_weight * self.popularity - self.mean_profile @ products
        return torch.cat([products, constant[None]])


@dataclass(frozen=True, slots=True)
class NextContent:
    """Pasts and the new items that followed them.

    Attributes:
        profiles: Mean content of the latest events, shape (N, A).
        target_idx: The next item, shape (N,).
        vectors: Content of all items, shape (n_items, A).
    """

    profiles: Float64
    target_idx: Int64
    vectors: Float64

    def metric(self, is_known: Tensor) -> ContentMetric:
        """Metric of the items whose events may be known.

        Args:
            is_known: Items to learn from, bool, shape (n_items,).
        """
        known_idx = np.flatnonzero(is_known.numpy() & self.vectors.any(axis=1))
        is_row = np.isin(self.target_idx, known_idx)
        n_columns = self.vectors.shape[1]
        if not is_row.any():
            nothing = torch.zeros(n_columns)
            return ContentMetric(torch.zeros(n_columns, n_columns), nothing, nothing)
        item_vectors = self.vectors[known_idx]
        centre = item_vectors.mean(axis=0)
        targets = self.vectors[self.target_idx[is_row]] - centre
        mean_profile = self.profiles[is_row].mean(axis=0)
        pasts = self.profiles[is_row] - mean_profile
        of_pasts = _ridged_gram(pasts, PROFILE_RIDGE)
        of_items = _ridged_gram(item_vectors - centre, ITEM_RIDGE / len(known_idx))
        following = pasts.T @ targets / len(pasts)  # (A, A)
        tables = (
            np.linalg.solve(of_items, np.linalg.solve(of_pasts, following).T).T,
            np.linalg.solve(of_items, targets.mean(axis=0)),
            mean_profile,
        )
        return ContentMetric(*(torch.from_numpy(table.astype(np.float32)) for table in tables))


class ColdStartBatches(RoundBatches):
    """Batches of targets; the time head is not read, so they have no gap features."""

    def _gap_features_of(self, round_positions: Int64) -> GapFeatures | None:
        del round_positions
        return None


def next_content(
    net: ChronotopeNet, log: EventLog, rounds: list[PrequentialRound], config: TrainingConfig
) -> NextContent:
    """Pasts of a sample of the targets that are new to their users.

    Args:
        net: Network with a content head.
        log: The training log.
        rounds: Targets.
        config: Batch size, candidates and seed.

    Raises:
        AssertionError: The network has no content head.
    """
    if net.content_head is None:
        raise AssertionError("only a network with a content head has profiles")
    profiles, target_idx = [], []
    for training_batch in _sampled_batches(net, log, rounds, config):
        is_new = (training_batch.batch.item_idx != training_batch.target_item[:, None]).all(dim=1)
        new_rows = Batch(*(column[is_new] for column in training_batch.batch))
        with torch.no_grad():
            profiles.append(_recent_profile(net, new_rows))
        target_idx.append(training_batch.target_item[is_new])
    row_vectors = net.content_head.vectors.numpy().astype(np.float64)
    if not profiles:
        return NextContent(np.zeros((0, row_vectors.shape[1])), np.zeros(0, np.int64), row_vectors)
    return NextContent(
        torch.cat(profiles).numpy().astype(np.float64), torch.cat(target_idx).numpy(), row_vectors
    )


def metric_in_axes(metric: Tensor, old: ContentAxes, new: ContentAxes) -> Tensor:
    """The same metric in the axes of another snapshot of the catalogue, shape (A' + 1, A').

    Both are axes of the same encoders, so a vector in the new ones is nearly one in the old ones:
    ``v ~ v' T + o`` with ``T = pinv(axes') axes`` and ``o = (mean' - mean) axes``.

    Args:
        metric: Metric in the old axes, shape (A + 1, A).
        old: Axes that it was fitted in.
        new: Axes of the other snapshot, of the same modalities.
    """
    pairs = list(zip(old.parts, new.parts, strict=True))
    turn = block_diag(
        *(np.linalg.pinv(after.axes.astype(np.float64)) @ before.axes for before, after in pairs)
    )  # (A', A)
    offset = np.concatenate([(after.mean - before.mean) @ before.axes for before, after in pairs])
    of_profiles = np.zeros((len(turn) + 1, turn.shape[1] + 1))
    of_profiles[:-1, :-1], of_profiles[-1, :-1], of_profiles[-1, -1] = turn, offset, 1.0
    moved = of_profiles @ metric.numpy().astype(np.float64) @ turn.T
    return torch.from_numpy(moved.astype(np.float32))


def _sampled_batches(
    net: ChronotopeNet, log: EventLog, rounds: list[PrequentialRound], config: TrainingConfig
) -> Iterable[TrainingBatch]:
    random_generator = np.random.default_rng(config.seed)
    n_targets = sum(len(time_round.positions) for time_round in rounds)
    share = min(1.0, MAX_TARGETS / max(1, n_targets))
    sampled_rounds = []
    for time_round in rounds:
        sampled = time_round.positions[random_generator.random(len(time_round.positions)) < share]
        if len(sampled):
            sampled_rounds.append(PrequentialRound(sampled, time_round.priors))
    if not sampled_rounds:
        return ()
    return ColdStartBatches(log, sampled_rounds, config, model_config=net.config, is_training=True)


def _recent_profile(net: ChronotopeNet, batch: Batch) -> Tensor:
    """Mean content of the latest events, without any scores, shape (B, A)."""
    recent = truncate_history(batch, min(N_RECENT, net.config.kernel_len))
    profiles = net.content_profiles(recent, net.event_kernels(recent))
    if profiles is None:
        raise AssertionError("a network without a content head has no profiles")
    return profiles.recent


def _ridged_gram(rows: Float64, penalty: float) -> Float64:
    """Mean square of some rows with a penalty in units of its diagonal, shape (A, A)."""
    gram = rows.T @ rows / len(rows)
    mean_square = max(float(np.trace(gram)) / len(gram), 1e-9)
    return np.asarray(gram + penalty * mean_square * np.eye(len(gram)))
