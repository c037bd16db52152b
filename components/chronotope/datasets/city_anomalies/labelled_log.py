"""A simulated log as files: events, places, labels of the anomalies, and a dataset YAML."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from chronotope.contracts import columns as c
from chronotope.datasets.city import ANOMALY_KIND, IS_ANOMALY, CityConfig, city_items
from chronotope.datasets.city_anomalies.best_detection import Detectability
from chronotope.datasets.city_anomalies.rates import AnomalyKind
from chronotope.datasets.normalise import normalise
from chronotope.datasets.simulation import simulate_events
from chronotope.datasets.spec import DatasetSpec
from chronotope.runtime.durable_files import replacing, write_json, write_text

KIND: Final = "kind"
"""Column of the labels: kind of the anomaly."""

_EVENT_COLUMNS: Final = (
    c.USER_ID,
    c.ITEM_ID,
    c.OCCURRED_AT,
    c.UTC_OFFSET_MIN,
    c.LAT,
    c.LON,
)
_ITEM_COLUMNS: Final = (c.ITEM_ID, c.CATEGORY, c.TITLE, c.TEXT, c.LAT, c.LON)


@dataclass(frozen=True, slots=True)
class LabelledLog:
    """Files of a simulated log.

    Attributes:
        dataset: YAML of the dataset, for ``chronotope ingest``.
        events: Parquet file of the events, without labels.
        labels: Parquet file of the anomalies: ``event_id`` as in the lake, user, item, time, kind.
        n_events: Number of events, anomalies included.
        n_anomalies: Number of anomalies by kind.
    """

    dataset: Path
    events: Path
    labels: Path
    n_events: int
    n_anomalies: dict[str, int]


def write_labelled_log(city_config: CityConfig, folder: Path, *, name: str) -> LabelledLog:
    """Simulate a city and write its log into a folder; existing files are replaced.

    Args:
        city_config: The city and the rates of its anomalies.
        folder: Folder of the files.
        name: Name of the dataset.
    """
    spec = _dataset_spec(folder, name)
    events_path, labels_path = folder / "events.parquet", folder / "labels.parquet"
    n_events, labels = 0, []
    with replacing(events_path) as draft_path:
        writer: pq.ParquetWriter | None = None
        try:
            for rows in simulate_events(city_config):
                event_rows = rows.select(list(_EVENT_COLUMNS))
                writer = writer or pq.ParquetWriter(draft_path, event_rows.schema)
                writer.write_table(event_rows)
                labels.append(_labels(spec, rows))
                n_events += rows.num_rows
        finally:
            if writer is not None:
                writer.close()
    label_table = pa.concat_tables(labels)
    items = city_items(city_config).select(list(_ITEM_COLUMNS))
    for table, path in ((label_table, labels_path), (items, folder / "items.parquet")):
        with replacing(path) as draft_path:
            pq.write_table(table, draft_path)
    dataset_path = folder / f"{name}.yaml"
    content = spec.model_dump(mode="json", exclude_unset=True)
    write_text(dataset_path, yaml.safe_dump(content, sort_keys=False))
    counts = pc.value_counts(label_table[KIND]).to_pylist()
    n_anomalies = {row["values"]: row["counts"] for row in counts}
    return LabelledLog(dataset_path, events_path, labels_path, n_events, n_anomalies)


def write_detectability(results: tuple[Detectability, ...], path: Path) -> None:
    """Write the best reachable recalls as JSON, by kind.

    Args:
        results: Result of ``best_detection``.
        path: The file.
    """
    content = {
        result.kind.label: {
            "n_events": result.n_events,
            "recall": result.recall,
            "recall_without_tables": result.recall_without_tables,
        }
        for result in results
    }
    write_json(path, content)


def _labels(spec: DatasetSpec, rows: pa.Table) -> pa.Table:
    """Anomalies among a batch, with the ids that ingestion gives them."""
    kinds = (
        rows[ANOMALY_KIND].combine_chunks()
        if ANOMALY_KIND in rows.column_names
        else pc.if_else(
            rows[IS_ANOMALY].combine_chunks(),
            AnomalyKind.MISPLACED.label,
            AnomalyKind.REGULAR.label,
        )
    )
    is_anomaly = pc.not_equal(kinds, AnomalyKind.REGULAR.label)
    anomalies = rows.filter(is_anomaly).select(list(_EVENT_COLUMNS))
    event_rows = normalise(spec, anomalies).rows
    return event_rows.select([c.EVENT_ID, c.USER_ID, c.ITEM_ID, c.OCCURRED_AT]).append_column(
        KIND, kinds.filter(is_anomaly)
    )


def _dataset_spec(folder: Path, name: str) -> DatasetSpec:
    """Dataset of the files in a folder."""
    return DatasetSpec.model_validate(
        {
            "name": name,
            "description": "Check-ins in a simulated city; labels.parquet names the anomalies",
            "licence": "CC0-1.0",
            "data_dir": str(folder),
            "event_type": "check_in",
            "items_are_places": True,
            "time": {"kind": "timestamp", "timezone": "UTC"},
            "events": {
                "format": "parquet",
                "path": "events.parquet",
                "columns": {column: column for column in _EVENT_COLUMNS},
            },
            "items": {
                "format": "parquet",
                "path": "items.parquet",
                "columns": {column: column for column in _ITEM_COLUMNS},
            },
        }
    )
