"""Draft of a dataset's YAML from a log file: dialect, columns, times and zone by evidence."""

from chronotope.datasets.guessing.draft import DatasetDraft, draft_dataset

__all__ = ["DatasetDraft", "draft_dataset"]
