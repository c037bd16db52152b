"""Targets with priors counted strictly before them, in rounds of time."""

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
from chronotope.contracts.queries import queries_at
from chronotope.models.backbones.event_inputs import PackedSequences
from chronotope.models.batch import Batch, to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.priors import Priors, count_priors
from chronotope.training.config import TrainingConfig
from chronotope.training.negative_sampling import CandidateItems, sample_candidates
from chronotope.training.packed_sequences import pack_sequences, select_sequences

SPREAD = 1.25
"""How far lengths in a batch may be shuffled, so that batches differ each epoch."""

SHORTEST = 8
"""Events that a batch is padded to at least."""


@dataclass(frozen=True, slots=True)
class PrequentialRound:
    """Targets of one stretch of time and the priors of all time before it."""

    positions: npt.NDArray[np.int64]
    priors: Priors


class TrainingBatch(NamedTuple):
    """One step's input: B queries, their priors and what came next.

    ``weight`` makes the mean over the rows of this process, averaged over all processes
    that share the step, the mean over all rows.
    """

    batch: Batch
    priors: Priors
    item: Tensor
    hours: Tensor
    place: Tensor
    candidates: CandidateItems | None
    stretches: PackedSequences | None = None
    weight: float = 1.0

    def shared(self, rank: int, n: int) -> "TrainingBatch":
        """The part that one of n processes takes; one row without weight where none is left."""
        rows = torch.arange(len(self.item)).tensor_split(n)[rank]
        mine = rows if len(rows) else torch.zeros(1, dtype=torch.int64)
        return self._replace(
            batch=Batch(*(of[mine] for of in self.batch)),
            item=self.item[mine],
            hours=self.hours[mine],
            place=self.place[mine],
            stretches=None if self.stretches is None else select_sequences(self.stretches, mine),
            weight=n * len(rows) / len(self.item),
        )


def make_rounds(
    log: EventLog, catalog: Catalog, config: TrainingConfig
) -> tuple[list[PrequentialRound], list[PrequentialRound]]:
    """Cut a log into training rounds and one later round that chooses the epoch.

    Raises:
        NotEnoughData: No event has a past, so nothing can be learned.
    """
    can_teach = _teachable(log, config)
    shares = np.append(
        np.linspace(config.warmup_share, 1 - config.later_share, config.n_rounds + 1), 1.0
    )
    cuts = np.quantile(log.occurred_s, shares, method="lower").astype(np.int64)
    cuts[-1] += 1
    rng = np.random.default_rng(config.seed)
    found = []
    for start_s, end_s in pairwise(cuts):
        inside = can_teach & (log.occurred_s >= start_s) & (log.occurred_s < end_s)
        positions = np.flatnonzero(inside)
        if len(positions):
            chosen = _thin(positions, config.max_targets // config.n_rounds, rng)
            found.append(PrequentialRound(chosen, count_priors(log.before(int(start_s)), catalog)))
    if len(found) < 2:
        raise NotEnoughData(
            "Training needs events of users with a past in at least two stretches of time",
            received=f"{len(log)} events, {len(np.unique(log.user_idx))} users",
            way_out="Ingest a longer log or lower warmup_share",
        )
    return found[:-1], found[-1:]


def new_targets(log: EventLog, config: TrainingConfig, *, since_s: int) -> npt.NDArray[np.int64]:
    """Positions of the events after an instant that can teach, increasing."""
    found = np.flatnonzero(_teachable(log, config) & (log.occurred_s > since_s))
    return _thin(found, config.max_targets, np.random.default_rng(config.seed))


def _teachable(log: EventLog, config: TrainingConfig) -> npt.NDArray[np.bool_]:
    """Whether each event has a past, and a recent one where that is asked for."""
    basket = log.basket_start()
    has_past = basket > log.user_start()
    if config.max_wait_h is not None:
        has_past &= log.occurred_s - log.occurred_s[basket - 1] <= 3600.0 * config.max_wait_h
    return has_past


def _thin(
    positions: npt.NDArray[np.int64], most: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    if len(positions) <= most:
        return positions
    return np.sort(rng.choice(positions, most, replace=False))


class RoundBatches:
    """Whole batches, each within one round; shuffled anew each epoch.

    In training half of the batches tell the time of the request and half hide it; for
    choosing the epoch both are seen for every target. Some targets of one user stay
    together, so that a batch has few distinct items and, in a large catalogue, few
    candidates.
    """

    def __init__(
        self,
        log: EventLog,
        rounds: list[PrequentialRound],
        config: TrainingConfig,
        *,
        reads: ModelConfig,
        train: bool,
    ) -> None:
        """Keep references; nothing is gathered before iteration.

        Args:
            log: The whole log.
            rounds: Targets and their priors.
            config: Sizes and seed.
            reads: What the model reads of a query: history and context columns.
            train: Shuffle, and hide the time of half of the requests.
        """
        self.log, self.rounds, self.config = log, rounds, config
        self.reads, self.train = reads, train
        self.starts = (log.user_start(), log.basket_start())
        self.epoch = 0
        self.share = (0, 1)  # which of how many processes this one is

    def __len__(self) -> int:
        """Batches an epoch."""
        size = self.config.batch_size
        return sum(-(-len(r.positions) // size) for r in self.rounds) * (1 if self.train else 2)

    def shared(self, rank: int, n: int) -> Self:
        """The same batches, of each the part that one of n processes takes."""
        mine = copy(self)
        mine.share = (rank, n)
        return mine

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass, the same whenever it is run or resumed."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Yield the examples of one epoch."""
        rng = np.random.default_rng((self.config.seed, self.epoch if self.train else 0))
        plan = [
            (round_, chunk, given)
            for round_ in self.rounds
            for chunk in self._chunks(round_.positions, rng)
            for given in ([bool(rng.integers(2))] if self.train else [False, True])
        ]
        order = rng.permutation(len(plan)) if self.train else range(len(plan))
        for at in order:
            example = self._example(*plan[at], rng)
            yield example if self.share == (0, 1) else example.shared(*self.share)

    def _chunks(
        self, positions: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> list[npt.NDArray[np.int64]]:
        if self.train:
            run = np.arange(len(positions)) // self.config.n_together
            longest = np.maximum.reduceat(
                self._lengths(positions), np.flatnonzero(np.diff(run, prepend=-1))
            )
            # like lengths together, since a batch is as wide as its longest history
            key = longest * rng.uniform(1 / SPREAD, SPREAD, len(longest))
            positions = positions[np.argsort(key[run], kind="stable")]
        size = self.config.batch_size
        return np.split(positions, np.arange(size, len(positions), size))

    def _lengths(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Events of each target's history that the model reads."""
        first, end = self.starts
        return (end[positions] - first[positions]).clip(max=self.reads.history_len)

    def _example(
        self,
        round_: PrequentialRound,
        positions: npt.NDArray[np.int64],
        given: bool,
        rng: np.random.Generator,
    ) -> TrainingBatch:
        """Gather the queries and the answers of some targets."""
        queries = queries_at(
            self.log,
            positions,
            history_len=self.reads.history_len,
            time_given=given,
            starts=self.starts,
        )
        waited_s = self.log.occurred_s[positions] - queries.occurred_s[:, -1]
        item = self.log.item_idx[positions]
        width = max(SHORTEST, int(self._lengths(positions).max()))
        return TrainingBatch(
            batch=to_batch(queries, width, self.reads.context),
            priors=round_.priors,
            item=torch.from_numpy(item).long(),
            hours=torch.from_numpy((waited_s / 3600.0).astype(np.float32)),
            place=torch.from_numpy(self.log.place_idx[positions]).long(),
            candidates=self._candidates(round_.priors, queries.item_idx, item, rng),
            stretches=self._stretches(positions),
        )

    def _stretches(self, positions: npt.NDArray[np.int64]) -> PackedSequences | None:
        """The histories laid out once, where there is a backbone to read them."""
        if self.reads.backbone == "none":
            return None
        first, end = self.starts
        length = self.reads.backbone_len
        return pack_sequences(self.log, first[positions], end[positions], length=length)

    def _candidates(
        self,
        priors: Priors,
        history: npt.NDArray[np.int32],
        item: npt.NDArray[np.int32],
        rng: np.random.Generator,
    ) -> CandidateItems | None:
        """None for a catalogue small enough to score whole."""
        n_items = len(priors.popularity)
        if n_items <= self.config.full_softmax_items:
            return None
        popular = torch.topk(priors.popularity, self.config.n_negatives).indices.numpy()
        own = np.concatenate([history.ravel(), item, popular])
        return sample_candidates(own, n_items, self.config.n_negatives, rng)
