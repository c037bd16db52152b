"""Batches of a training with augmentation."""

from collections.abc import Iterator
from copy import copy
from typing import Self

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries
from chronotope.models.config import ModelConfig
from chronotope.training.augmentation.generated_users import generated_log, generated_rounds
from chronotope.training.augmentation.histories import HistoryAugmentation
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import PrequentialRound, RoundBatches, TrainingBatch


def training_batches(
    log: EventLog,
    catalog: Catalog,
    config: TrainingConfig,
    model_config: ModelConfig,
    rounds: list[PrequentialRound],
    valid_rounds: list[PrequentialRound],
) -> RoundBatches:
    """Training batches with the augmentation of the settings; without any, plain batches.

    Args:
        log: The whole log.
        catalog: Its catalogue.
        config: Batches and augmentation.
        model_config: Lengths of history and backbone, and context columns.
        rounds: Real targets and their priors.
        valid_rounds: Later targets, of which the augmentation knows nothing.
    """
    augmentation = config.augmentation
    if augmentation.kind == "none" or augmentation.amount == 0:
        return RoundBatches(log, rounds, config, model_config=model_config, is_training=True)
    valid_start_s = min(int(log.occurred_s[later.positions].min()) for later in valid_rounds)
    known = log.before(valid_start_s)
    if not augmentation.generates_users:
        history_changes = HistoryAugmentation.of(augmentation, known, catalog)
        return _HistoryBatches(log, rounds, config, model_config, history_changes)
    generated_events = generated_log(augmentation, known, catalog, config.seed)
    extra_rounds = generated_rounds(augmentation, log, generated_events, rounds, config.seed)
    real_batches = RoundBatches(log, rounds, config, model_config=model_config, is_training=True)
    if not extra_rounds:
        return real_batches
    extra_batches = RoundBatches(
        generated_events, extra_rounds, config, model_config=model_config, is_training=True
    )
    return _JoinedBatches(real_batches, extra_batches, augmentation.weight)


class _HistoryBatches(RoundBatches):
    """Batches of real targets, of which some have a changed history."""

    def __init__(
        self,
        log: EventLog,
        rounds: list[PrequentialRound],
        config: TrainingConfig,
        model_config: ModelConfig,
        history_changes: HistoryAugmentation,
    ) -> None:
        super().__init__(log, rounds, config, model_config=model_config, is_training=True)
        self.histories = history_changes

    def training_queries(self, queries: Queries, rng: np.random.Generator) -> Queries:
        """Queries with the augmented histories."""
        return self.histories.apply(queries, rng)


class _JoinedBatches(RoundBatches):
    """Batches of real targets, and between them batches of generated ones with a weight."""

    def __init__(
        self, real_batches: RoundBatches, extra_batches: RoundBatches, weight: float
    ) -> None:
        self.__dict__.update(real_batches.__dict__)
        self.real, self.extra, self.weight = real_batches, extra_batches, weight

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self.real) + len(self.extra)

    def shard(self, rank: int, n: int) -> Self:
        """The same batches, each reduced to the shard of one of n processes."""
        sharded = copy(self)
        sharded.real, sharded.extra = self.real.shard(rank, n), self.extra.shard(rank, n)
        return sharded

    def for_helpers(self) -> Self:
        """The same batches, without the events that none of them needs."""
        real, extra = self.real.for_helpers(), self.extra.for_helpers()
        return type(self)(real, extra, self.weight)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds the order of the next pass."""
        self.epoch = epoch
        self.real.set_epoch(epoch)
        self.extra.set_epoch(epoch)

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Yield the batches of one epoch, in a random order of both kinds."""
        random_generator = np.random.default_rng((self.config.seed, self.epoch, 1))
        is_extra = random_generator.permutation(len(self)) >= len(self.real)
        real_batches, extra_batches = iter(self.real), iter(self.extra)
        for takes_extra in is_extra.tolist():
            if takes_extra:
                generated_events = next(extra_batches)
                yield generated_events._replace(weight=self.weight * generated_events.weight)
            else:
                yield next(real_batches)
