"""Flow ``ingest-events``: ingest a dataset into the lake and build the feature snapshot."""

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

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

from chronotope.contracts.errors import ConfigError, DataError
from chronotope.contracts.escaping import markdown_rows, markdown_text
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.loading import CONF_DIR, load_spec
from chronotope.datasets.readers import read_context_table, read_items, read_users
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.label_keys import anomalous_event_ids
from chronotope.ingestion import NoiseConfig, ingest_table, quarantine_lines
from chronotope.ingestion.part_task import SAMPLE_ROWS
from chronotope.ingestion.posted_rows import add_posted_rows, read_posted_items
from chronotope.ingestion.source_batches import delivery_id
from chronotope.ingestion.source_ingestion import ingest_source
from chronotope.lake import Lake
from chronotope.pipelines.ingest_checks import catalog_item_ids, item_context_counts, shared_check
from chronotope.pipelines.results import (
    EventsSummary,
    FeatureSnapshot,
    IngestionSummary,
    SourceLines,
    TableCounts,
)
from chronotope.pipelines.snapshots import build_lake_snapshot
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.engine import EngineConfig, open_engine
from chronotope.runtime.workspace import Workspace
from chronotope.validation import (
    build_docs,
    check_table,
    find_suites_folder,
)
from flows import dataset_lock_in_flow
from flows.classify_items import classify_new_items
from flows.embed_items import EmbedSettings, embed_content, has_content
from flows.ingest_counts import no_events_stored, row_counts
from flows.privacy.private_lake import open_private_lake

_INSTALLED_DIR: Final = Path(__file__).parents[1]
"""Parent folder of the packages flows and expectations: the checkout, or site-packages."""


class IngestSettings(BaseModel):
    """Settings of an ingestion: location, reading and validation of the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it")
    conf_dir: AllowedPath = Field(CONF_DIR, description="Folder of the YAML files of datasets")
    suites: AllowedPath = Field(
        Path("expectations"),
        description="Folder of the validation suites: below the project root, else in the working "
        "folder, else those that are installed with Chronotope",
    )
    data_dir: AllowedPath | None = Field(
        None, description="Folder of the data files; overrides the dataset's YAML"
    )
    batch_rows: int = Field(
        500_000, ge=100, le=5_000_000, description="Number of rows read and validated at a time"
    )
    data_docs: bool = Field(
        True, description="Build data docs of the first 10,000 rows, which takes about a second"
    )
    engine: EngineConfig = Field(
        EngineConfig(),
        description="Engine of the tasks that read, check and store the events, and build the "
        "features of a lake in buckets; the result is the same. ray: on a cluster whose nodes "
        "share the project's folder",
    )
    noise: NoiseConfig = Field(
        NoiseConfig(), description="Noise filter: events to leave out of the feature snapshot"
    )

    @property
    def suites_dir(self) -> Path:
        """Existing folder of the validation suites.

        Raises:
            ConfigError: There is none; the message names the places searched.
        """
        return find_suites_folder(self.suites, (self.root, Path(), _INSTALLED_DIR))


async def is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is retried: not after an error of the data or the settings."""
    task_error = await state.aresult(raise_on_failure=False)
    return not isinstance(task_error, (DataError, ConfigError))


TASK: Final[dict[str, Any]] = {
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": is_worth_retrying,
    "cache_policy": NO_CACHE,  # tasks are idempotent without Prefect's cache
    "result_serializer": "json",
}


@flow(name="ingest-events", result_serializer="json")
def ingest_events(
    dataset: str,
    settings: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> IngestionSummary:
    """Ingest items, users and events of a dataset, then build the feature snapshot.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        settings: Location, reading and validation of the data.
    """
    dataset_name = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir).name
    with dataset_lock_in_flow(Workspace(settings.root), dataset_name):
        return ingest_locked(dataset, settings)


def ingest_locked(dataset: str, settings: IngestSettings) -> IngestionSummary:
    """Body of ``ingest_events``; the caller holds the dataset's lock."""
    lake_tables = write_tables(dataset, settings)
    # Before the feature snapshot, which reads the predicted categories.
    label_summary = classify_new_items(dataset, settings.root, settings.conf_dir, settings.data_dir)
    event_summary = write_events(dataset, settings)
    embed_settings = EmbedSettings(
        root=settings.root, conf_dir=settings.conf_dir, data_dir=settings.data_dir
    )
    # Before the features, which hold the vectors of the items.
    embeddings = (
        embed_content(dataset, embed_settings) if has_content(dataset, embed_settings) else None
    )
    feature_snapshot = write_features(dataset, settings)
    publish_counts(event_summary, feature_snapshot)
    return IngestionSummary(
        tables=lake_tables,
        events=event_summary,
        features=feature_snapshot,
        embeddings=embeddings,
        labels=label_summary,
    )


@task(**TASK)
def write_tables(dataset: str, settings: IngestSettings) -> dict[str, TableCounts]:
    """Update items, users and context readings in the lake.

    Items and users that fail their validation suite are quarantined, and so are lines of text
    files that are no rows. An invalid context reading fails the run.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location, reading and validation of the data.

    Returns:
        Row counts of ``items``, ``users``, ``context`` and, where there is any, ``item_context``.
    """
    dataset_spec, event_lake = _load_spec_and_lake(dataset, settings)
    context_report = SourceReport()
    context_readings = read_context_table(dataset_spec, context_report)
    if len(context_readings):
        event_lake.upsert_context(context_readings)
    line_reasons = quarantine_lines(
        context_report, f"{dataset_spec.name}.context", delivery_id(dataset_spec), event_lake
    )
    table_counts = {
        "context": TableCounts(
            n_read=len(context_readings) + line_reasons.total(),
            n_good=len(context_readings),
            n_quarantined=line_reasons.total(),
            reasons=dict(line_reasons.most_common()),
            lines=SourceLines.from_report(context_report),
        )
    }
    for table_name, read_table in (("items", read_items), ("users", read_users)):
        source_report = SourceReport()
        table_rows = read_table(dataset_spec, source_report)
        if table_name == "items":
            posted = read_posted_items(Workspace(settings.root).posted_items(dataset_spec.name))
            table_rows = add_posted_rows(table_rows, posted)
        table_report = ingest_table(
            table_name,
            table_rows,
            source_report,
            row_check=check_table(settings.suites_dir / f"{table_name}.json"),
            lake=event_lake,
            dataset_name=dataset_spec.name,
            run_id=delivery_id(dataset_spec),
        )
        table_counts[table_name] = TableCounts(
            **asdict(table_report), lines=SourceLines.from_report(source_report)
        )
    return table_counts | item_context_counts(
        dataset_spec,
        event_lake,
        settings.suites_dir,
        run_id=delivery_id(dataset_spec),
        batch_rows=settings.batch_rows,
        posted_path=Workspace(settings.root).posted_item_context(dataset_spec.name),
    )


@task(**TASK)
def write_events(dataset: str, settings: IngestSettings) -> EventsSummary:
    """Read, normalise, validate and merge the events, in one commit.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location, reading and validation of the data.

    Raises:
        NotEnoughData: Every row was refused and the lake is empty; the rows are in quarantine.
    """
    dataset_spec, event_lake = _load_spec_and_lake(dataset, settings)
    source_report = SourceReport()
    docs_dir = (settings.root / "data" / "docs" / dataset_spec.name).resolve()
    with open_engine(settings.engine) as engine:
        ingest_report = ingest_source(
            dataset_spec,
            lake=event_lake,
            engine=engine,
            prepare_check=partial(shared_check, event_lake, settings.suites_dir),
            batch_rows=settings.batch_rows,
            source_report=source_report,
            shared_dir=None if engine.in_process else Workspace(settings.root).staging(),
            on_sample=partial(_build_docs, event_lake, settings, docs_dir)
            if settings.data_docs
            else None,
        )
    if ingest_report.version is None:
        raise no_events_stored(ingest_report)
    return EventsSummary(
        dataset=dataset_spec.name,
        delivery_id=delivery_id(dataset_spec),
        identity=dataset_spec.identity_columns,
        data_docs_url=(docs_dir / "index.html").as_uri() if settings.data_docs else None,
        lines=SourceLines.from_report(source_report),
        **asdict(ingest_report),
    )


@task(**TASK)
def write_features(dataset: str, settings: IngestSettings) -> FeatureSnapshot:
    """Filter noise and build the feature snapshot, once per data version.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location of the data, and the noise filter.
    """
    dataset_name = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir).name
    return build_snapshot(dataset, settings, Workspace(settings.root).features(dataset_name))


def build_snapshot(dataset: str, settings: IngestSettings, snapshots_dir: Path) -> FeatureSnapshot:
    """Build the feature snapshot of the lake's latest data version.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location of the data, the noise filter, and the engine for a lake in buckets.
        snapshots_dir: Folder in which the snapshot's folder is created.
    """
    dataset_spec, event_lake = _load_spec_and_lake(dataset, settings)
    anomalous_ids = anomalous_event_ids(dataset_spec, Workspace(settings.root))
    return build_lake_snapshot(
        dataset_spec, event_lake, settings.noise, anomalous_ids, snapshots_dir, settings.engine
    )


@task(cache_policy=NO_CACHE, result_serializer="json")
def publish_counts(event_summary: EventsSummary, feature_snapshot: FeatureSnapshot) -> None:
    """Create artifacts with row counts, failed expectations and a link to the data docs.

    Args:
        event_summary: Result of ``write_events``.
        feature_snapshot: Result of ``write_features``.
    """
    artifact_key = f"ingest-{event_summary.dataset.replace('_', '-')}"
    table_rows = [
        {"outcome": row_label, "rows": n_rows}
        for row_label, n_rows in row_counts(event_summary, feature_snapshot).items()
    ]
    create_table_artifact(
        markdown_rows(table_rows), key=artifact_key, description="Row counts of the delivery"
    )
    finding_lines = [
        f"- {finding.severity}: {markdown_text(f'{finding.expectation} {finding.observed}')}"
        for finding in event_summary.findings
    ]
    findings_text = "\n".join(finding_lines) or "Every expectation held."
    create_markdown_artifact(
        f"# {markdown_text(event_summary.dataset)}\n\n{findings_text}\n",
        key=f"{artifact_key}-findings",
    )
    if event_summary.data_docs_url:
        docs_description = f"Validation results of the first {SAMPLE_ROWS:,} rows of the delivery"
        create_link_artifact(
            event_summary.data_docs_url, key=f"{artifact_key}-docs", description=docs_description
        )


def _load_spec_and_lake(dataset: str, settings: IngestSettings) -> tuple[DatasetSpec, Lake]:
    dataset_spec = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir)
    return dataset_spec, open_private_lake(dataset_spec, settings.root)


def _build_docs(
    event_lake: Lake, settings: IngestSettings, docs_dir: Path, first_rows: pa.Table
) -> None:
    """Data docs of the first rows of a delivery."""
    build_docs(
        settings.suites_dir / "events.json",
        first_rows.slice(0, SAMPLE_ROWS),
        docs_dir,
        checked_at=datetime.now(UTC),
        known_items=catalog_item_ids(event_lake),
    )
