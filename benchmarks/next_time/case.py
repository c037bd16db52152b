"""A case of the benchmark: waits, and what all models share."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.next_time.waits import Waits, dequantized_hours
from chronotope.contracts.event_log import Float64, Int64
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.gap_features import GapFeatures, gap_features

CHUNK: Final = 1024
HISTORY_LEN: Final = 1024


@dataclass(frozen=True)
class Case:
    """Waits of one log under one protocol, and the settings of the run.

    Attributes:
        waits: The waits.
        seed: Seed of every training.
        budget_s: Processor seconds of the training of one setting of a peer.
        venvs: Folder of the peers' environments.
        work: Folder of the peers' tasks and forecasts.
    """

    waits: Waits
    seed: int = 0
    budget_s: float = 20.0
    venvs: Path = Path(".venv-peers")
    work: Path = Path("data/next_time")

    @property
    def test_h(self) -> Float64:
        """Hours of the waits that are tested."""
        return self.waits.hours[self.waits.test]

    @property
    def test_ended_s(self) -> Int64:
        """End of the waits that are tested, UTC seconds."""
        return self.waits.source.log.occurred_s[self.waits.positions[self.waits.test]]

    @cached_property
    def dequantized_h(self) -> Float64:
        """Hours that models are trained on, shape (n,)."""
        return dequantized_hours(self.waits, self.seed)

    @cached_property
    def last_category(self) -> Tensor:
        """Category of the item before each wait, int64, shape (n,)."""
        source = self.waits.source
        last_items = source.log.item_idx[self.waits.positions - 1]
        return torch.from_numpy(source.catalog.item_category[last_items]).long()

    @cached_property
    def inputs(self) -> GapFeatures:
        """Gap features of each wait, from what was known when it began."""
        waits = self.waits
        log = waits.source.log
        start_positions = (log.user_start(), log.basket_start())
        chunks = []
        for positions in np.array_split(waits.positions, -(-len(waits.positions) // CHUNK)):
            queries = queries_at(
                log,
                positions,
                history_len=HISTORY_LEN,
                time_given=False,
                start_positions=start_positions,
            )
            batch = to_batch(queries, HISTORY_LEN)
            chunks.append(gap_features(batch))
        return GapFeatures(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))
