"""Later targets of the item context: a sample of all, and one of discoveries."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog, Int64

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LaterTargets:
    """Targets that are later than the training.

    Discoveries are drawn on their own: among all targets of a log of repeated purchases they are
    too few to fit a weight or to measure its worth.

    Attributes:
        positions: Positions in the log, increasing, shape (n,).
        is_sampled: Whether a target belongs to the sample of all targets, shape (n,).
        is_discovery: Whether a target belongs to the sample of discoveries, shape (n,).
    """

    positions: Int64
    is_sampled: Mask
    is_discovery: Mask

    @classmethod
    def draw(cls, log: EventLog, positions: Int64, n_targets: int, seed: int) -> Self:
        """Up to ``n_targets`` of all targets, and as many discoveries.

        Args:
            log: The training log.
            positions: Later targets.
            n_targets: Most targets of each sample.
            seed: Seed of both samples.
        """
        random_generator = np.random.default_rng(seed)

        def sample(candidates: Int64) -> Int64:
            if len(candidates) <= n_targets:
                return candidates
            return random_generator.choice(candidates, n_targets, replace=False)

        sampled_positions = sample(positions)
        new_positions = sample(positions[is_discovery(log, positions)])
        all_positions = np.union1d(sampled_positions, new_positions)
        return cls(
            all_positions,
            np.isin(all_positions, sampled_positions),
            np.isin(all_positions, new_positions),
        )

    def __len__(self) -> int:
        """Number of targets of both samples."""
        return len(self.positions)


def is_discovery(log: EventLog, positions: Int64) -> Mask:
    """Whether the user never had the item of a target before its basket, shape (n,)."""
    user_item = (
        log.user_idx.astype(np.int64) * (int(log.item_idx.max(initial=0)) + 1) + log.item_idx
    )
    _, first_event, pair_idx = np.unique(user_item, return_index=True, return_inverse=True)
    return np.asarray(first_event[pair_idx[positions]] >= log.basket_start()[positions], np.bool_)
