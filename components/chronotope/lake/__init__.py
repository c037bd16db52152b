"""The event store: Delta tables, versions, merges and quarantine; and the interaction log."""

from chronotope.lake.interactions import Interaction, InteractionLog, Stored
from chronotope.lake.store import Lake, MergeCounts

__all__ = ["Interaction", "InteractionLog", "Lake", "MergeCounts", "Stored"]
