"""Snapshots of a lake in buckets of users: tables of each bucket, joined as one snapshot."""

from chronotope.features.buckets.event_buckets import EventBuckets
from chronotope.features.buckets.joined_snapshot import write_joined_tables

__all__ = ["EventBuckets", "write_joined_tables"]
