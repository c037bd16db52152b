"""Plan of the counts: which cells every client fills, so that they can be summed.

Time is cut into bins of whole days that end with the training. Moments are edges of bins at which
priors are needed: the start of each training round, that of the later events, and the end. Tables
of pairs of items cover the most popular items alone, since every cell is sent.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Int64
from chronotope.runtime.stored_arrays import load_arrays, save_arrays

DAY_S: Final = 86_400
MAX_DAY_CELLS: Final = 20_000_000
"""Cells of items by time bin; more make the bins longer than a day."""


@dataclass(frozen=True, slots=True)
class TimeBins:
    """Bins of equal length; the first one also holds all earlier events.

    Attributes:
        start_s: Start of the first bin, UTC seconds.
        bin_s: Length of a bin, whole days in seconds.
        n_bins: Number of bins; the last one ends with the training.
    """

    start_s: int
    bin_s: int
    n_bins: int

    @classmethod
    def covering(cls, start_s: int, end_s: int, n_items: int) -> "TimeBins":
        """Bins that end at an instant, a day long if the cells allow it.

        Args:
            start_s: First instant, UTC seconds.
            end_s: End of the training, UTC seconds.
            n_items: Size of the catalogue.
        """
        n_days = max(1, -(-(end_s - start_s) // DAY_S))
        days_per_bin = max(1, -(-n_days * n_items // MAX_DAY_CELLS))
        n_bins = -(-n_days // days_per_bin)
        bin_s = days_per_bin * DAY_S
        return cls(end_s - n_bins * bin_s, bin_s, n_bins)

    def index(self, occurred_s: Int64) -> Int64:
        """Bin of each instant, shape (n,)."""
        return np.clip((occurred_s - self.start_s) // self.bin_s, 0, self.n_bins - 1)

    def edge_s(self, bin_edge: int) -> int:
        """Start of a bin, UTC seconds; that of bin ``n_bins`` is the end of the training."""
        return self.start_s + bin_edge * self.bin_s

    def width(self, days: int) -> int:
        """Number of bins of a window, at least one."""
        return max(1, round(days * DAY_S / self.bin_s))


@dataclass(frozen=True, slots=True)
class CountPlan:
    """Cells of the counts beyond the items by time bin.

    Attributes:
        time_bins: Bins of time.
        moments: Edges of bins, increasing, shape (n_rounds + 2,).
        anchors: Edges at which EASE is solved, increasing; the last is the end.
        pair_items: Items of the tables of pairs, increasing, shape (K,).
    """

    time_bins: TimeBins
    moments: Int64
    anchors: Int64
    pair_items: Int64

    def save(self, file_path: Path) -> None:
        """Write the plan to a file."""
        save_arrays(
            file_path,
            time_bins=np.array(list(asdict(self.time_bins).values()), np.int64),
            moments=self.moments,
            anchors=self.anchors,
            pair_items=self.pair_items,
        )

    @classmethod
    def load(cls, file_path: Path) -> "CountPlan":
        """Read a plan.

        Raises:
            ArtifactError: The file is missing or damaged.
        """
        arrays = load_arrays(file_path)
        time_bins = TimeBins(*(int(value) for value in arrays.pop("time_bins")))
        return cls(time_bins, **arrays)


def make_plan(
    time_bins: TimeBins,
    events_by_bin: npt.NDArray[np.floating[Any]],
    shares: tuple[float, ...],
    anchor_shares: tuple[float, ...],
    max_pair_items: int,
) -> CountPlan:
    """Moments at shares of the events, and the most popular items.

    Args:
        time_bins: Bins of time.
        events_by_bin: Events of all clients, shape (n_bins, n_items).
        shares: Shares of the events before each moment but the last one.
        anchor_shares: Shares of the events before each anchor but the last one.
        max_pair_items: Largest number of items in tables of pairs.

    Raises:
        NotEnoughData: Events span too few days for the moments.
    """
    share_before = np.concatenate([[0.0], np.cumsum(events_by_bin.sum(1))])
    share_before /= max(1.0, share_before[-1])

    def bin_edges(wanted: tuple[float, ...]) -> Int64:
        found = np.searchsorted(share_before, wanted)
        return np.unique(
            np.append(found[(found > 0) & (found < time_bins.n_bins)], time_bins.n_bins)
        )

    moments = bin_edges(shares)
    if len(moments) < 3:
        raise NotEnoughData(
            "A federated training needs events on more days",
            received=f"{time_bins.n_bins} bins of {time_bins.bin_s // DAY_S} days",
            way_out="Wait for later events, or lower training.n_rounds",
        )
    popularity = events_by_bin.sum(0)
    popularity[0] = 0.0  # unknown items
    n_pair_items = min(max_pair_items, int(np.count_nonzero(popularity > 0)))
    pair_items = np.sort(np.argsort(-popularity, kind="stable")[:n_pair_items])
    return CountPlan(time_bins, moments.astype(np.int64), bin_edges(anchor_shares).astype(np.int64),
                     pair_items.astype(np.int64))  # fmt: skip
