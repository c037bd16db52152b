"""Occurrence numbers of rows with equal identity within one delivery."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts.ids import digest_numbers, event_ids

OCCURRENCE: Final = "occurrence"
"""Word in ``identity`` of a dataset's YAML: rows with equal identity are separate events."""

_UInt64s = npt.NDArray[np.uint64]
_Counts = npt.NDArray[np.int64]


class OccurrenceCounter:
    """Counter of the rows of a delivery by event id; memory use is at most 16 bytes per event.

    The same source gives the same numbers whatever the size of its batches, so that ingesting it
    again adds nothing. Ids are counted by a 64-bit hash: should two share one, the later is
    numbered as a repetition and stays an event of its own.
    """

    def __init__(self) -> None:
        """Create a counter without events."""
        # Sorted runs of geometrically growing size, so that each key is merged log(n) times.
        self._runs: list[tuple[_UInt64s, _Counts]] = []

    def distinct_ids(
        self, row_ids: pa.StringArray, base_ids: pa.StringArray | None = None
    ) -> pa.StringArray:
        """Event ids that differ between repetitions; the first row of an id keeps it.

        Args:
            row_ids: Event ids of the next batch, in the order of the source.
            base_ids: Ids that are made distinct instead of ``row_ids``, which are counted.
        """
        occurrence_numbers = self._count(digest_numbers(row_ids))
        is_repeated = occurrence_numbers > 0
        base_ids = row_ids if base_ids is None else base_ids
        if not is_repeated.any():
            return base_ids
        repeated_mask = pa.array(is_repeated)
        repeated_ids = event_ids(
            [base_ids.filter(repeated_mask), pa.array(occurrence_numbers[is_repeated])]
        )
        return pc.replace_with_mask(base_ids, repeated_mask, repeated_ids)

    def _count(self, keys: _UInt64s) -> _Counts:
        """Number of earlier rows with the same key, in this batch and in earlier ones."""
        batch_keys, key_positions, batch_counts = np.unique(
            keys, return_inverse=True, return_counts=True
        )
        earlier_counts = np.zeros(len(batch_keys), dtype=np.int64)
        for run_keys, run_counts in self._runs:
            positions = np.searchsorted(run_keys, batch_keys)
            positions[positions == len(run_keys)] = 0
            earlier_counts += np.where(run_keys[positions] == batch_keys, run_counts[positions], 0)
        self._add_run(batch_keys, batch_counts.astype(np.int64))
        sort_order = np.argsort(key_positions, kind="stable")
        group_starts = np.cumsum(batch_counts) - batch_counts
        ranks = np.empty(len(keys), dtype=np.int64)
        ranks[sort_order] = np.arange(len(keys)) - np.repeat(group_starts, batch_counts)
        return np.asarray(earlier_counts[key_positions] + ranks)

    def _add_run(self, run_keys: _UInt64s, run_counts: _Counts) -> None:
        if not len(run_keys):
            return
        while self._runs and len(self._runs[-1][0]) <= len(run_keys):
            last_keys, last_counts = self._runs.pop()
            run_keys, key_positions = np.unique(
                np.concatenate([last_keys, run_keys]), return_inverse=True
            )
            merged_counts = np.zeros(len(run_keys), dtype=np.int64)
            np.add.at(merged_counts, key_positions, np.concatenate([last_counts, run_counts]))
            run_counts = merged_counts
        self._runs.append((run_keys, run_counts))
