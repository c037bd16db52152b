"""The event store: Delta tables, versions, merges and quarantine."""

from chronotope.lake.store import Lake, MergeCounts

__all__ = ["Lake", "MergeCounts"]
