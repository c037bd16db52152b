"""Steps that build a feature snapshot from a lake."""

from chronotope.pipelines.snapshots.lake_snapshot import build_lake_snapshot
from chronotope.pipelines.snapshots.selected_events import SelectedEvents, selected_events

__all__ = ["SelectedEvents", "build_lake_snapshot", "selected_events"]
