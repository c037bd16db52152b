"""Prequential batches: targets in rounds of time, with priors counted before each round."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.backbones.event_inputs import PackedSequences
from chronotope.models.batch import Batch, to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.gap_features import GapFeatures, empty_gap_features, gap_features
from chronotope.models.priors import Priors, count_priors
from chronotope.training.config import TrainingConfig
from chronotope.training.negative_sampling import CandidateItems, sample_candidates
from chronotope.training.packed_sequences import pack_sequences, select_sequences

LENGTH_JITTER = 1.25
"""Random factor on history lengths before sorting, so that batches differ each epoch."""

FEATURE_CHUNK = 1024
"""Targets whose gap features are computed at once."""

MAX_VALIDATION = 5_000
"""Later targets that choose the epoch; more make an epoch longer and hardly change the choice."""

MIN_WIDTH = 8
"""Minimum width of the padded histories of a batch."""


@dataclass(frozen=True, slots=True)
class PrequentialRound:
    """Targets of one time interval and the priors of all events before it."""

    positions: npt.NDArray[np.int64]
    priors: Priors


class TrainingBatch(NamedTuple):
    """Input of one training step: B queries, their priors and targets.

    ``weight`` corrects for unequal shards: with it, the average over processes of the mean
    loss of each shard is the mean loss of the batch.
    """

    batch: Batch
    priors: Priors
    target_item: Tensor
    gap_h: Tensor
    target_place: Tensor
    candidates: CandidateItems | None
    packed_sequences: PackedSequences | None = None
    gap_features: GapFeatures | None = None
    weight: float = 1.0

    def shard(self, rank: int, n: int) -> "TrainingBatch":
        """Shard of one of n processes; a single row of weight 0 where no row is left."""
        shard_rows = torch.arange(len(self.target_item)).tensor_split(n)[rank]
        row_idx = shard_rows if len(shard_rows) else torch.zeros(1, dtype=torch.int64)
        return self._replace(
            batch=Batch(*(column[row_idx] for column in self.batch)),
            target_item=self.target_item[row_idx],
            gap_h=self.gap_h[row_idx],
            target_place=self.target_place[row_idx],
            packed_sequences=None
            if self.packed_sequences is None
            else select_sequences(self.packed_sequences, row_idx),
            gap_features=None
            if self.gap_features is None
            else GapFeatures(*(column[row_idx] for column in self.gap_features)),
            weight=self.weight * n * len(shard_rows) / len(self.target_item),
        )


def make_rounds(
    log: EventLog, catalog: Catalog, config: TrainingConfig
) -> tuple[list[PrequentialRound], list[PrequentialRound]]:
    """Cut a log into training rounds and one later round that chooses the epoch.

    Raises:
        NotEnoughData: Fewer than two rounds have targets.
    """
    is_target = _is_target(log, config)
    shares = np.append(
        np.linspace(config.warmup_share, 1 - config.later_share, config.n_rounds + 1), 1.0
    )
    round_starts_s = np.quantile(log.occurred_s, shares, method="lower").astype(np.int64)
    round_starts_s[-1] += 1
    random_generator = np.random.default_rng(config.seed)
    training_rounds = []
    for start_s, end_s in pairwise(round_starts_s):
        is_inside = is_target & (log.occurred_s >= start_s) & (log.occurred_s < end_s)
        positions = np.flatnonzero(is_inside)
        if len(positions):
            sampled_positions = _subsample(
                positions, config.max_targets // config.n_rounds, random_generator
            )
            training_rounds.append(
                PrequentialRound(sampled_positions, count_priors(log.before(int(start_s)), catalog))
            )
    if len(training_rounds) < 2:
        raise NotEnoughData(
            "Training needs events of users with a history in at least two time intervals",
            received=f"{len(log)} events, {len(np.unique(log.user_idx))} users",
            way_out="Ingest a longer log or lower warmup_share",
        )
    return training_rounds[:-1], training_rounds[-1:]


def validation_sample(
    rounds: list[PrequentialRound], config: TrainingConfig
) -> list[PrequentialRound]:
    """Later rounds with at most ``MAX_VALIDATION`` targets in all, drawn by the config's seed.

    Args:
        rounds: The later rounds of ``make_rounds``.
        config: Seed of the draw.
    """
    random_generator = np.random.default_rng(config.seed)
    max_positions = MAX_VALIDATION // len(rounds)
    return [
        PrequentialRound(_subsample(later.positions, max_positions, random_generator), later.priors)
        for later in rounds
    ]


def new_targets(log: EventLog, config: TrainingConfig, *, since_s: int) -> npt.NDArray[np.int64]:
    """Positions of the targets after an instant, increasing."""
    positions = np.flatnonzero(_is_target(log, config) & (log.occurred_s > since_s))
    return _subsample(positions, config.max_targets, np.random.default_rng(config.seed))


def _is_target(log: EventLog, config: TrainingConfig) -> npt.NDArray[np.bool_]:
    """Whether each event has a history, and a recent one if ``max_wait_h`` is set."""
    basket = log.basket_start()
    has_past = basket > log.user_start()
    if config.max_wait_h is not None:
        has_past &= log.occurred_s - log.occurred_s[basket - 1] <= 3600.0 * config.max_wait_h
    return has_past


def _subsample(
    positions: npt.NDArray[np.int64], max_positions: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    if len(positions) <= max_positions:
        return positions
    return np.sort(rng.choice(positions, max_positions, replace=False))


class RoundBatches:
    """Batches of targets, each within one round; shuffled each epoch.

    In training half of the batches give the time of the request and half hide it; in
    validation every target is evaluated both ways. Consecutive targets of one user stay
    in one batch, so that a batch has few distinct items and, in a large catalogue, few
    candidates.
    """

    def __init__(
        self,
        log: EventLog,
        rounds: list[PrequentialRound],
        config: TrainingConfig,
        *,
        model_config: ModelConfig,
        is_training: bool,
    ) -> None:
        """Store references; batches are built during iteration.

        Args:
            log: The whole log.
            rounds: Targets and their priors.
            config: Batch sizes and seed.
            model_config: Lengths of history and backbone, and context columns.
            is_training: Shuffle, and hide the time of half of the requests.
        """
        self.log, self.rounds, self.config = log, rounds, config
        self.model_config, self.is_training = model_config, is_training
        self.starts = (log.user_start(), log.basket_start())
        self.target_positions = np.sort(np.concatenate([r.positions for r in rounds]))
        self._gap_features: GapFeatures | None = None
        self.epoch = 0
        self.shard_spec = (0, 1)  # rank and number of processes

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        batch_size = self.config.batch_size
        return sum(-(-len(time_round.positions) // batch_size) for time_round in self.rounds) * (
            1 if self.is_training else 2
        )

    def shard(self, rank: int, n: int) -> Self:
        """The same batches, each reduced to the shard of one of n processes."""
        sharded_batches = copy(self)
        sharded_batches.shard_spec = (rank, n)
        return sharded_batches

    def for_helpers(self) -> Self:
        """The same batches over the events of those users who have a target.

        ``max_targets`` bounds these, whatever the size of the log; priors are counted already.
        """
        is_needed = np.zeros(int(self.log.user_idx.max(initial=0)) + 1, np.bool_)
        is_needed[self.log.user_idx[self.target_positions]] = True
        event_mask = is_needed[self.log.user_idx]
        new_positions = np.cumsum(event_mask) - 1
        reduced = copy(self)
        reduced.log = self.log.take(event_mask)
        reduced.rounds = [
            PrequentialRound(new_positions[time_round.positions], time_round.priors)
            for time_round in self.rounds
        ]
        reduced.starts = (reduced.log.user_start(), reduced.log.basket_start())
        reduced.target_positions = new_positions[self.target_positions]
        reduced._gap_features = None
        return reduced

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds the order of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Yield the batches of one epoch."""
        random_generator = np.random.default_rng(
            (self.config.seed, self.epoch if self.is_training else 0)
        )
        batch_plan = [
            (time_round, target_positions, time_given)
            for time_round in self.rounds
            for target_positions in self._chunk_targets(time_round.positions, random_generator)
            for time_given in (
                [bool(random_generator.integers(2))] if self.is_training else [False, True]
            )
        ]
        batch_order = (
            random_generator.permutation(len(batch_plan))
            if self.is_training
            else range(len(batch_plan))
        )
        for plan_idx in batch_order:
            training_batch = self._make_batch(*batch_plan[plan_idx], random_generator)
            yield (
                training_batch
                if self.shard_spec == (0, 1)
                else training_batch.shard(*self.shard_spec)
            )

    def _chunk_targets(
        self, positions: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> list[npt.NDArray[np.int64]]:
        group_idx = np.arange(len(positions)) // self.config.targets_per_user
        group_len = np.maximum.reduceat(
            self._history_lengths(positions), np.flatnonzero(np.diff(group_idx, prepend=-1))
        )
        # Similar lengths in one batch, since it is as wide as its longest history
        if self.is_training:
            group_len = group_len * rng.uniform(1 / LENGTH_JITTER, LENGTH_JITTER, len(group_len))
        positions = positions[np.argsort(group_len[group_idx], kind="stable")]
        batch_size = self.config.batch_size
        return np.split(positions, np.arange(batch_size, len(positions), batch_size))

    def _history_lengths(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Events of each target's history that the model reads."""
        first, end = self.starts
        return (end[positions] - first[positions]).clip(max=self.model_config.history_len)

    def training_queries(self, queries: Queries, rng: np.random.Generator) -> Queries:  # noqa: ARG002
        """Queries as the training reads them; an augmentation changes histories here."""
        return queries

    def _make_batch(
        self,
        time_round: PrequentialRound,
        positions: npt.NDArray[np.int64],
        time_given: bool,
        rng: np.random.Generator,
    ) -> TrainingBatch:
        """Queries and targets of one batch."""
        query_batch = self._queries(positions, time_given=time_given)
        if self.is_training:
            query_batch = self.training_queries(query_batch, rng)
        gap_s = self.log.occurred_s[positions] - query_batch.occurred_s[:, -1]
        target_items = self.log.item_idx[positions]
        return TrainingBatch(
            batch=to_batch(query_batch, self._width(positions), self.model_config.context),
            priors=time_round.priors,
            target_item=torch.from_numpy(target_items).long(),
            gap_h=torch.from_numpy((gap_s / 3600.0).astype(np.float32)),
            target_place=torch.from_numpy(self.log.place_idx[positions]).long(),
            candidates=self._candidates(time_round.priors, query_batch.item_idx, target_items, rng),
            packed_sequences=self._packed_sequences(positions),
            gap_features=self._gap_features_of(positions),
        )

    def _gap_features_of(self, positions: npt.NDArray[np.int64]) -> GapFeatures | None:
        """Inputs of the time head, computed once for all epochs: they have no parameters."""
        if self._gap_features is None:
            self._gap_features = self._compute_gap_features()
        row_idx = torch.from_numpy(np.searchsorted(self.target_positions, positions))
        return GapFeatures(*(column.index_select(0, row_idx) for column in self._gap_features))

    def _compute_gap_features(self) -> GapFeatures:
        """Gap features of all targets, in the order of ``target_positions``."""
        order = np.argsort(self._history_lengths(self.target_positions), kind="stable")
        n_chunks = -(-len(order) // FEATURE_CHUNK)
        all_features = empty_gap_features(len(order))
        for rows in np.array_split(order, n_chunks):
            chunk_features = self._chunk_gap_features(rows)
            for column, chunk_column in zip(all_features, chunk_features, strict=True):
                column[torch.from_numpy(rows)] = chunk_column
        return all_features

    def _chunk_gap_features(self, rows: npt.NDArray[np.int64]) -> GapFeatures:
        positions = self.target_positions[rows]
        batch = to_batch(self._queries(positions, time_given=False), self._width(positions))
        with torch.no_grad():
            return gap_features(batch)

    def _queries(self, positions: npt.NDArray[np.int64], *, time_given: bool) -> Queries:
        return queries_at(
            self.log,
            positions,
            history_len=self.model_config.history_len,
            time_given=time_given,
            start_positions=self.starts,
        )

    def _width(self, positions: npt.NDArray[np.int64]) -> int:
        """Width of the padded histories of some targets."""
        return max(MIN_WIDTH, int(self._history_lengths(positions).max()))

    def _packed_sequences(self, positions: npt.NDArray[np.int64]) -> PackedSequences | None:
        """Packed histories, if there is a backbone to read them."""
        if self.model_config.backbone == "none":
            return None
        first, end = self.starts
        window_len = self.model_config.backbone_len
        return pack_sequences(self.log, first[positions], end[positions], window_len=window_len)

    def _candidates(
        self,
        priors: Priors,
        history: npt.NDArray[np.int32],
        target_items: npt.NDArray[np.int32],
        rng: np.random.Generator,
    ) -> CandidateItems | None:
        """Sampled candidates; None where all items are scored."""
        n_items = len(priors.popularity)
        if n_items <= self.config.full_softmax_items:
            return None
        popular_items = torch.topk(priors.popularity, self.config.n_negatives).indices.numpy()
        batch_items = np.concatenate([history.ravel(), target_items, popular_items])
        return sample_candidates(batch_items, n_items, self.config.n_negatives, rng)
