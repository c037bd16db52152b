"""Row counts of an ingestion by label, as tables and artifacts show them."""

from typing import Final

from chronotope.contracts.errors import NotEnoughData
from chronotope.ingestion import IngestReport
from chronotope.lake.repeated_rows import RepeatedRows
from chronotope.pipelines.results import EventsSummary, FeatureSnapshot

_COUNT_FIELDS: Final = ("n_read", "n_good", "n_duplicates", "n_quarantined", "n_dropped")


def row_counts(event_summary: EventsSummary, feature_snapshot: FeatureSnapshot) -> dict[str, int]:
    """Row counts by label: read = good + quarantined + dropped, then noise and lines of text files.

    Args:
        event_summary: Result of ``write_events``.
        feature_snapshot: Result of ``write_features``.
    """
    return {
        **{
            field_name.removeprefix("n_"): getattr(event_summary, field_name)
            for field_name in _COUNT_FIELDS
        },
        **{f"quarantined: {reason}": n_rows for reason, n_rows in event_summary.reasons.items()},
        **{f"dropped: {rule_name}": n_rows for rule_name, n_rows in event_summary.dropped.items()},
        **_repeated_counts(event_summary.repeated),
        **{
            f"noise: {reason}": n_rows
            for reason, n_rows in feature_snapshot.dropped.items()
            if n_rows
        },
        "kept for features": feature_snapshot.n_kept,
        **(event_summary.lines.by_label() if event_summary.lines else {}),
    }


def _repeated_counts(repeated: RepeatedRows) -> dict[str, int]:
    if not repeated.n_rows:
        return {}
    return {
        "repeated: equal to an earlier row": repeated.n_equal,
        "repeated: same identity, other values": repeated.n_differing,
    }


def no_events_stored(ingest_report: IngestReport) -> NotEnoughData:
    """Error of a delivery without a valid row, when the lake has no events either."""
    if not ingest_report.n_dropped:
        return NotEnoughData(
            f"All {ingest_report.n_read:,} rows were refused, and the lake contains no events",
            received=f"{ingest_report.reasons}, first row: {ingest_report.first_refused}",
            way_out="Correct the source or the dataset's YAML; the refused rows are in quarantine",
        )
    return NotEnoughData(
        f"Of {ingest_report.n_read:,} rows, {ingest_report.n_dropped:,} were dropped by keep and "
        f"{ingest_report.n_quarantined:,} refused, and the lake contains no events",
        received=ingest_report.dropped | ingest_report.reasons,
        way_out="Correct keep in the dataset's YAML, or the source",
    )
