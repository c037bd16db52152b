"""Ingest a dataset's log into the lake and build the feature snapshot that models read."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from prefect import flow, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.errors import ConfigError, DataError, NotEnoughData
from chronotope.contracts.escaping import markdown_rows, markdown_text
from chronotope.contracts.schemas import INSTANT
from chronotope.contracts.validation_result import ValidationResult
from chronotope.datasets.loading import CONF_DIR, load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_context_table, read_events, read_items, read_users
from chronotope.datasets.spec import DatasetSpec
from chronotope.features.build import build_features
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import IngestBatch, NoiseConfig, filter_noise, ingest
from chronotope.ingestion.noise import COLUMNS
from chronotope.ingestion.quarantine_payloads import to_payloads
from chronotope.lake import Lake
from chronotope.lake.store import ROW
from chronotope.pipelines.ingest_checks import batch_check, catalog_item_ids
from chronotope.pipelines.results import (
    EventsSummary,
    FeatureSnapshot,
    IngestionSummary,
    TableCounts,
)
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace
from chronotope.validation import build_docs, check_table
from flows import dataset_lock_in_flow

_DOCS_ROWS: Final = 10_000
"""Rows of the first batch in the data docs; the check itself covers all rows."""

_COUNT_FIELDS: Final = ("n_read", "n_good", "n_duplicates", "n_quarantined")


class IngestSettings(BaseModel):
    """Ingestion of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it")
    conf_dir: AllowedPath = Field(CONF_DIR, description="Folder of the datasets' YAML files")
    suites: AllowedPath = Field(Path("expectations"), description="Folder of the validation suites")
    data_dir: AllowedPath | None = Field(
        None, description="Folder of the data files; overrides the dataset's YAML"
    )
    batch_rows: int = Field(
        500_000, ge=100, le=5_000_000, description="Rows that are read and checked at a time"
    )
    data_docs: bool = Field(
        True, description="Build data docs of the first 10,000 rows; takes about a second"
    )
    noise: NoiseConfig = Field(
        NoiseConfig(), description="Events that are noise and left out of the features"
    )


async def is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is tried again: not after bad data or bad settings."""
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, (DataError, ConfigError))


TASK: Final[dict[str, Any]] = {
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": is_worth_retrying,
    "cache_policy": NO_CACHE,  # tasks are idempotent: the stores recognise what they hold
    "result_serializer": "json",
}


@flow(name="ingest-events", result_serializer="json")
def ingest_events(
    dataset: str,
    settings: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> IngestionSummary:
    """Ingest a dataset: catalogue and users, then events, then the feature snapshot.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        settings: Location and reading of the data.
    """
    name = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir).name
    with dataset_lock_in_flow(Workspace(settings.root), name):
        return ingest_locked(dataset, settings)


def ingest_locked(dataset: str, settings: IngestSettings) -> IngestionSummary:
    """Body of ``ingest_events``; the caller holds the dataset's lock."""
    tables = write_tables(dataset, settings)
    events = write_events(dataset, settings)
    features = write_features(dataset, settings)
    publish_counts(events, features)
    return IngestionSummary(tables=tables, events=events, features=features)


@task(**TASK)
def write_tables(dataset: str, settings: IngestSettings) -> dict[str, TableCounts]:
    """Update items, users and context readings in the lake.

    Items and users that fail their suite are quarantined. Context readings that cannot be read
    stop the run.

    Args:
        dataset: Name or YAML file.
        settings: Location and reading of the data.

    Returns:
        Counts of ``items``, ``users`` and ``context``.
    """
    spec, lake = _load_spec_and_lake(dataset, settings)
    readings = read_context_table(spec)
    if len(readings):
        lake.upsert_context(readings)
    return {
        "items": _write_table("items", read_items(spec), spec, settings),
        "users": _write_table("users", read_users(spec), spec, settings),
        "context": TableCounts(n_read=len(readings), n_good=len(readings)),
    }


@task(**TASK)
def write_events(dataset: str, settings: IngestSettings) -> EventsSummary:
    """Read, normalise, check and merge the log, in one commit.

    Args:
        dataset: Name or YAML file.
        settings: Location and reading of the data.

    Raises:
        NotEnoughData: Every row was refused and the lake is empty; the rows are in quarantine.
    """
    spec, lake = _load_spec_and_lake(dataset, settings)
    batches = read_batches(spec, settings.batch_rows)
    docs_dir = (settings.root / "data" / "docs" / spec.name).resolve()
    report = ingest(
        _with_data_docs(batches, lake, settings, docs_dir) if settings.data_docs else batches,
        row_check=batch_check(lake, settings.suites),
        lake=lake,
        run_id=delivery_id(spec),
        source=spec.name,
    )
    if report.version is None:
        raise NotEnoughData(
            f"All {report.n_read:,} rows were refused, and the lake holds no events",
            received=report.reasons,
            way_out="The rows wait in quarantine; correct the source or the dataset's YAML",
        )
    return EventsSummary(
        dataset=spec.name,
        delivery_id=delivery_id(spec),
        data_docs_url=(docs_dir / "index.html").as_uri() if settings.data_docs else None,
        **asdict(report),
    )


@task(**TASK)
def write_features(dataset: str, settings: IngestSettings) -> FeatureSnapshot:
    """Filter noise and build the feature snapshot, once per data version.

    Args:
        dataset: Name or YAML file.
        settings: Location of the data, and the noise filter.
    """
    name = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir).name
    return build_snapshot(dataset, settings, Workspace(settings.root).features(name))


def build_snapshot(dataset: str, settings: IngestSettings, snapshots_dir: Path) -> FeatureSnapshot:
    """Feature snapshot of the lake's present version, in any folder.

    Args:
        dataset: Name or YAML file.
        settings: Location of the data, and the noise filter.
        snapshots_dir: Folder of the snapshots.
    """
    spec, lake = _load_spec_and_lake(dataset, settings)
    table_names = ["events", *(name for name in ("items", "context") if lake.exists(name))]
    versions = {name: lake.table_version(name) for name in table_names}
    tables = {name: lake.read(name, versions[name]) for name in table_names if name != "events"}
    noise_columns = lake.read("events", versions["events"], COLUMNS)
    is_kept, noise = filter_noise(noise_columns, settings.noise)
    del noise_columns  # the events themselves are streamed: they need not fit in memory
    data_version = str(DataVersion(tuple(versions.items())))
    snapshot = build_features(
        lake.reader("events", versions["events"], None if is_kept.all() else is_kept),
        tables.get("items"),
        config=FeaturesConfig(
            items_are_places=spec.items_are_places,
            context=spec.known_before,
            context_table=spec.context_table_columns,
        ),
        out=snapshots_dir,
        data_version=f"{data_version},noise={settings.noise.model_dump_json()}",
        readings=tables.get("context"),
    )
    return FeatureSnapshot(
        path=snapshot.path,
        digest=snapshot.digest,
        data_version=data_version,
        n_users=snapshot.n_users,
        n_items=snapshot.n_items,
        **asdict(noise),
    )


@task(cache_policy=NO_CACHE, result_serializer="json")
def publish_counts(events: EventsSummary, features: FeatureSnapshot) -> None:
    """Show row counts, failed expectations and the data docs as artifacts of the run.

    Args:
        events: Result of ``write_events``.
        features: Result of ``write_features``.
    """
    key = f"ingest-{events.dataset.replace('_', '-')}"
    table_rows = [
        {"what": label, "rows": n_rows} for label, n_rows in row_counts(events, features).items()
    ]
    create_table_artifact(markdown_rows(table_rows), key=key, description="Rows of a delivery")
    finding_lines = [
        f"- {finding.severity}: {markdown_text(f'{finding.expectation} {finding.observed}')}"
        for finding in events.findings
    ]
    findings_text = "\n".join(finding_lines) or "Every expectation held."
    create_markdown_artifact(
        f"# {markdown_text(events.dataset)}\n\n{findings_text}\n", key=f"{key}-findings"
    )
    if events.data_docs_url:
        description = f"The first {_DOCS_ROWS:,} rows of the delivery against the suite"
        create_link_artifact(events.data_docs_url, key=f"{key}-docs", description=description)


def row_counts(events: EventsSummary, features: FeatureSnapshot) -> dict[str, int]:
    """Rows by label: read = good + quarantined, then reasons, then noise.

    Args:
        events: Result of ``write_events``.
        features: Result of ``write_features``.
    """
    return {
        **{name.removeprefix("n_"): getattr(events, name) for name in _COUNT_FIELDS},
        **{f"quarantined: {reason}": count for reason, count in events.reasons.items()},
        **{f"noise: {reason}": count for reason, count in features.dropped.items() if count},
        "kept for features": features.n_kept,
    }


def delivery_id(spec: DatasetSpec) -> str:
    """Name of a delivery; the same source read again has the same one, so rows stay unique."""
    return f"{spec.name}-{hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:12]}"


def _load_spec_and_lake(dataset: str, settings: IngestSettings) -> tuple[DatasetSpec, Lake]:
    spec = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir)
    return spec, Lake(Workspace(settings.root).lake(spec.name))


def _with_data_docs(
    batches: Iterable[IngestBatch], lake: Lake, settings: IngestSettings, docs_dir: Path
) -> Iterator[IngestBatch]:
    """Pass batches on, and build data docs of the first one, also if the delivery fails later."""
    for batch_idx, batch in enumerate(batches):
        if batch_idx == 0:
            build_docs(
                settings.suites / "events.json",
                batch.rows.slice(0, _DOCS_ROWS),
                docs_dir,
                checked_at=datetime.now(UTC),
                known_items=catalog_item_ids(lake),
            )
        yield batch


def read_batches(spec: DatasetSpec, batch_rows: int) -> Iterator[IngestBatch]:
    """Batches of a dataset's own log, read and normalised."""
    for raw_rows in read_events(spec, batch_rows=batch_rows):
        normalised = normalise(spec, raw_rows)
        yield IngestBatch(raw_rows, normalised.rows, normalised.row_positions, normalised.refused)


def _write_table(
    name: str, rows: pa.Table, spec: DatasetSpec, settings: IngestSettings
) -> TableCounts:
    """Check a table, quarantine rows that fail, upsert the others."""
    lake = Lake(Workspace(settings.root).lake(spec.name))
    if not len(rows):
        return TableCounts()
    validation = check_table(settings.suites / f"{name}.json")(rows)
    failing_idx = validation.failing.column("row").combine_chunks()
    is_good = np.ones(len(rows), dtype=np.bool_)
    is_good[failing_idx.to_numpy()] = False
    lake.quarantine(_quarantine_rows(f"{spec.name}.{name}", rows, validation, delivery_id(spec)))
    upsert = lake.upsert_items if name == "items" else lake.upsert_users
    upsert(rows.filter(pa.array(is_good)))
    return TableCounts(n_read=len(rows), n_good=int(is_good.sum()), n_quarantined=len(failing_idx))


def _quarantine_rows(
    source: str, rows: pa.Table, validation: ValidationResult, run_id: str
) -> pa.Table:
    failing = validation.failing
    constants = {c.SOURCE: source, c.SUITE: validation.suite, c.RUN_ID: run_id}
    now = pa.scalar(datetime.now(UTC), INSTANT)
    columns = {name: pa.repeat(value, len(failing)) for name, value in constants.items()}
    columns[c.QUARANTINED_AT] = pa.repeat(now, len(failing))
    columns[c.REASONS] = failing.column(c.REASONS)
    columns[c.PAYLOAD] = to_payloads(rows.take(failing.column("row")))
    return pa.table({**columns, ROW: failing.column("row")})
