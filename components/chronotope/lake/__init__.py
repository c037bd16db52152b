"""Event store: versioned Delta tables with merges and quarantine, and the interaction log."""

from chronotope.lake.bucketed import MergeCounts
from chronotope.lake.interaction_log import Interaction, InteractionLog, StoredInteraction
from chronotope.lake.store import Lake

__all__ = ["Interaction", "InteractionLog", "Lake", "MergeCounts", "StoredInteraction"]
