"""Buckets of users: the parts of a log that are stored and processed one at a time."""

from chronotope.contracts.user_buckets.bucket_numbers import (
    MAX_BUCKETS,
    bucket_of_user,
    user_buckets,
)

__all__ = ["MAX_BUCKETS", "bucket_of_user", "user_buckets"]
