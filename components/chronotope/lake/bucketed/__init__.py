"""Events partitioned by a hash of the user: a Delta partition, and so a folder, per bucket."""

from chronotope.lake.bucketed.bucket_column import (
    bucket_field,
    bucket_rows,
    bucket_uris,
    count_buckets,
    require_bucket,
    with_buckets,
)
from chronotope.lake.bucketed.bucket_commit import BucketsChanged, commit_buckets
from chronotope.lake.bucketed.deliveries import (
    MergeCounts,
    StagedDelivery,
    extend_delivery,
    new_delivery,
    stage_rows,
    staged_delivery,
    staged_for,
)
from chronotope.lake.bucketed.staged_buckets import StagedBuckets, StagedFile, stage_file

__all__ = [
    "BucketsChanged",
    "MergeCounts",
    "StagedBuckets",
    "StagedDelivery",
    "StagedFile",
    "bucket_field",
    "bucket_rows",
    "bucket_uris",
    "commit_buckets",
    "count_buckets",
    "extend_delivery",
    "new_delivery",
    "require_bucket",
    "stage_file",
    "stage_rows",
    "staged_delivery",
    "staged_for",
    "with_buckets",
]
