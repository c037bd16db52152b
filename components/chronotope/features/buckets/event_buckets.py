"""Events of a lake in buckets of users, as the source of a feature snapshot."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import pyarrow as pa

from chronotope.contracts.data_version import TableVersion
from chronotope.lake import Lake
from chronotope.lake.row_conformance import stream_rows
from chronotope.runtime.stored_arrays import load_arrays

KEEP_MASK: Final = "keep_mask"
"""Array of a file of ``EventBuckets.mask_paths``."""


@dataclass(frozen=True, slots=True)
class EventBuckets:
    """Events of one version of a lake, bucket by bucket; sent to other processes.

    Attributes:
        lake: The lake.
        version: Version of the events.
        mask_paths: For each bucket, archive with the mask of the events to keep, in the order of
            ``Lake.bucket_rows``; None keeps all events of the bucket.
    """

    lake: Lake
    version: TableVersion
    mask_paths: tuple[Path | None, ...]

    @property
    def n_buckets(self) -> int:
        """Number of buckets."""
        return len(self.mask_paths)

    def resolved(self) -> Self:
        """The same events by absolute paths, for processes in other working folders."""
        root = self.lake.root
        mask_paths = tuple(None if path is None else path.resolve() for path in self.mask_paths)
        lake = replace(self.lake, root=root.resolve()) if isinstance(root, Path) else self.lake
        return replace(self, lake=lake, mask_paths=mask_paths)

    def reader(self, bucket: int) -> pa.RecordBatchReader:
        """Reader of the events of a bucket that are kept.

        Args:
            bucket: Number of the bucket.

        Raises:
            StoreError: The lake cannot be read.
        """
        rows = self.lake.bucket_rows(bucket, self.version)
        mask_path = self.mask_paths[bucket]
        keep_mask = None if mask_path is None else load_arrays(mask_path)[KEEP_MASK]
        return stream_rows(rows, rows.schema, keep_mask)
