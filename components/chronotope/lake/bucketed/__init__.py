"""Events partitioned by a hash of the user: a Delta partition, and so a folder, per bucket."""

from chronotope.lake.bucketed.bucket_column import (
    bucket_field,
    bucket_rows,
    bucket_uris,
    count_buckets,
    require_bucket,
    with_buckets,
)

__all__ = [
    "bucket_field",
    "bucket_rows",
    "bucket_uris",
    "count_buckets",
    "require_bucket",
    "with_buckets",
]
