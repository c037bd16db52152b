"""Ingestion of batches into the lake, replay of quarantined rows, and the noise filter."""

from chronotope.ingestion.noise import NoiseConfig, NoiseReport, filter_noise
from chronotope.ingestion.pipeline import (
    IngestBatch,
    IngestReport,
    ingest,
    line_quarantine_rows,
)
from chronotope.ingestion.quarantine_payloads import replay_quarantine
from chronotope.ingestion.time_window import rows_in_window

__all__ = [
    "IngestBatch",
    "IngestReport",
    "NoiseConfig",
    "NoiseReport",
    "filter_noise",
    "ingest",
    "line_quarantine_rows",
    "replay_quarantine",
    "rows_in_window",
]
