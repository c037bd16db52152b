"""Ingestion of batches into the lake, payloads of quarantined rows, and the noise filter."""

from chronotope.ingestion.batch_staging import IngestBatch
from chronotope.ingestion.item_context import ingest_item_context
from chronotope.ingestion.noise import NoiseConfig, NoiseReport, filter_noise
from chronotope.ingestion.pipeline import IngestReport, ingest
from chronotope.ingestion.quarantine_payloads import payload_rows
from chronotope.ingestion.table_ingestion import TableReport, ingest_table, quarantine_lines
from chronotope.ingestion.time_window import rows_in_window

__all__ = [
    "IngestBatch",
    "IngestReport",
    "NoiseConfig",
    "NoiseReport",
    "TableReport",
    "filter_noise",
    "ingest",
    "ingest_item_context",
    "ingest_table",
    "payload_rows",
    "quarantine_lines",
    "rows_in_window",
]
