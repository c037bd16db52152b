"""Take a dataset's log into the lake and build the feature snapshot that models read."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

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
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace
from chronotope.validation import build_docs, check_table
from flows import dataset_lock_in_flow

_Counts: TypeAlias = dict[str, int]
_SHOWN_ROWS: Final = 10_000
"""Rows of a delivery in the data docs, the first of its first batch: pages, not the check."""


class IngestSettings(BaseModel):
    """How a dataset is taken in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; everything written lies below it")
    conf_dir: AllowedPath = Field(CONF_DIR, description="Folder of the datasets' YAML files")
    suites: AllowedPath = Field(Path("expectations"), description="Folder of the validation suites")
    data_dir: AllowedPath | None = Field(
        None, description="Where the data files are, instead of what the YAML says"
    )
    batch_rows: int = Field(
        500_000, ge=100, le=5_000_000, description="Rows held in memory and checked at a time"
    )
    data_docs: bool = Field(
        True, description="Build data docs of the first 10,000 rows; a second a delivery"
    )
    noise: NoiseConfig = Field(NoiseConfig(), description="What is noise and stays out of features")


async def is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Bad data and bad settings stay bad; a busy store or a lost connection may recover."""
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, (DataError, ConfigError))


TASK: Final[dict[str, Any]] = {
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": is_worth_retrying,
    "cache_policy": NO_CACHE,  # twice is once: the stores themselves know what they have
    "result_serializer": "json",
}


@flow(name="ingest-events", result_serializer="json")
def ingest_events(dataset: str, settings: IngestSettings = IngestSettings()) -> dict[str, Any]:  # noqa: B008 - frozen
    """Ingest a dataset: catalogue and users, then its events, then features.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        settings: Where things are and how they are read.

    Returns:
        ``tables`` (rows of items, users and surroundings), ``events`` (counts; good +
        quarantined = read) and ``features`` (noise counts, path, digest).
    """
    name = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir).name
    with dataset_lock_in_flow(Workspace(settings.root), name):
        return ingest_locked(dataset, settings)


def ingest_locked(dataset: str, settings: IngestSettings) -> dict[str, Any]:
    """What ``ingest_events`` does once nobody else works on the dataset."""
    tables = write_tables(dataset, settings)
    events = write_events(dataset, settings)
    features = write_features(dataset, settings)
    publish_counts(events, features)
    return {"tables": tables, "events": events, "features": features}


@task(**TASK)
def write_tables(dataset: str, settings: IngestSettings) -> dict[str, _Counts]:
    """Bring items, users and surroundings up to date.

    Items and users that fail their suite go to quarantine.

    Args:
        dataset: Name or YAML file.
        settings: Where things are.

    Returns:
        For ``items``, ``users`` and ``surroundings``: ``n_read``, ``n_good``,
        ``n_quarantined``; a reading that cannot be read stops the run instead.
    """
    spec, lake = _opened(dataset, settings)
    readings = read_context_table(spec)
    if len(readings):
        lake.upsert_surroundings(readings)
    return {
        "items": _take_in("items", read_items(spec), spec, settings),
        "users": _take_in("users", read_users(spec), spec, settings),
        "surroundings": {"n_read": len(readings), "n_good": len(readings), "n_quarantined": 0},
    }


@task(**TASK)
def write_events(dataset: str, settings: IngestSettings) -> dict[str, Any]:
    """Read, normalise, check and merge the log, in one commit.

    Args:
        dataset: Name or YAML file.
        settings: Where things are.

    Returns:
        The fields of ``IngestReport``, ``dataset``, ``delivery_id`` and ``docs``, the address of
        the data docs; None if they are switched off.

    Raises:
        NotEnoughData: No row was ever good; the refused ones are in quarantine.
    """
    spec, lake = _opened(dataset, settings)
    batches = read_batches(spec, settings.batch_rows)
    folder = (settings.root / "data" / "docs" / spec.name).resolve()
    report = ingest(
        _documented(batches, lake, settings, folder) if settings.data_docs else batches,
        check=batch_check(lake, settings.suites),
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
    docs = (folder / "index.html").as_uri() if settings.data_docs else None
    return {"dataset": spec.name, "run_id": delivery_id(spec), "docs": docs, **asdict(report)}


@task(**TASK)
def write_features(dataset: str, settings: IngestSettings) -> dict[str, Any]:
    """Leave noise out and build the feature snapshot, once per data version.

    Args:
        dataset: Name or YAML file.
        settings: Where things are, and what counts as noise.

    Returns:
        ``n_events``, ``n_kept`` and ``dropped`` of the noise step; ``path``, ``digest``,
        ``n_users``, ``n_items`` and ``data_version`` of the snapshot.
    """
    name = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir).name
    return build_snapshot(dataset, settings, Workspace(settings.root).features(name))


def build_snapshot(dataset: str, settings: IngestSettings, out: Path) -> dict[str, Any]:
    """What ``write_features`` does, into a folder of one's own.

    Args:
        dataset: Name or YAML file.
        settings: Where things are, and what counts as noise.
        out: Folder of the snapshots.
    """
    spec, lake = _opened(dataset, settings)
    present = ["events", *(name for name in ("items", "surroundings") if lake.exists(name))]
    versions = {name: lake.table_version(name) for name in present}
    beside = {name: lake.read(name, at) for name, at in versions.items() if name != "events"}
    looked_at = lake.read("events", versions["events"], COLUMNS)
    keep, noise = filter_noise(looked_at, settings.noise)
    del looked_at  # the events themselves are streamed: they need not fit in memory
    version = str(DataVersion(tuple(versions.items())))
    ref = build_features(
        lake.reader("events", versions["events"], None if keep.all() else keep),
        beside.get("items"),
        config=FeaturesConfig(
            items_are_places=spec.items_are_places,
            context=spec.known_before,
            surroundings=spec.surrounding_columns,
        ),
        out=out,
        data_version=f"{version},noise={settings.noise.model_dump_json()}",
        readings=beside.get("surroundings"),
    )
    found = {"path": str(ref.path), "digest": ref.digest, "data_version": version}
    return {**asdict(noise), **found, "n_users": ref.n_users, "n_items": ref.n_items}


@task(cache_policy=NO_CACHE, result_serializer="json")
def publish_counts(events: dict[str, Any], features: dict[str, Any]) -> None:
    """Show the counts as artifacts beside the run.

    Args:
        events: What ``write_events`` returned.
        features: What ``write_features`` returned.
    """
    key = f"ingest-{events['dataset'].replace('_', '-')}"
    create_table_artifact(
        markdown_rows(counts_table(events, features)), key=key, description="Rows of a delivery"
    )
    findings = ((f["severity"], f"{f['expectation']} {f['observed']}") for f in events["findings"])
    lines = [f"- {severity}: {markdown_text(words)}" for severity, words in findings]
    text = "\n".join(lines) or "Every expectation held."
    create_markdown_artifact(
        f"# {markdown_text(events['dataset'])}\n\n{text}\n", key=f"{key}-findings"
    )
    if events["docs"]:
        about = f"The first {_SHOWN_ROWS:,} rows of the delivery against the suite"
        create_link_artifact(events["docs"], key=f"{key}-docs", description=about)


def counts_table(events: dict[str, Any], features: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of ``what`` and ``rows``: read = good + quarantined, then reasons, then noise.

    Args:
        events: What ``write_events`` returned.
        features: What ``write_features`` returned.
    """
    names = ("n_read", "n_good", "n_duplicates", "n_quarantined")
    rows = [{"what": name.removeprefix("n_"), "rows": events[name]} for name in names]
    rows += [{"what": f"quarantined: {why}", "rows": n} for why, n in events["reasons"].items()]
    dropped = features["dropped"].items()
    rows += [{"what": f"noise: {why}", "rows": n} for why, n in dropped if n]
    return [*rows, {"what": "kept for features", "rows": features["n_kept"]}]


def delivery_id(spec: DatasetSpec) -> str:
    """Name of a delivery: the same source read again is the same, so rows stay once."""
    return f"{spec.name}-{hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:12]}"


def _opened(dataset: str, settings: IngestSettings) -> tuple[DatasetSpec, Lake]:
    spec = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir)
    return spec, Lake(Workspace(settings.root).lake(spec.name))


def _documented(
    batches: Iterable[IngestBatch], lake: Lake, settings: IngestSettings, folder: Path
) -> Iterator[IngestBatch]:
    """Pass batches on; of the first build data docs, which stay if the delivery is stopped."""
    for number, batch in enumerate(batches):
        if number == 0:
            build_docs(
                settings.suites / "events.json",
                batch.rows.slice(0, _SHOWN_ROWS),
                folder,
                now=datetime.now(UTC),
                known_items=catalog_item_ids(lake),
            )
        yield batch


def read_batches(spec: DatasetSpec, batch_rows: int) -> Iterator[IngestBatch]:
    """A dataset's own log, read and normalised."""
    for raw in read_events(spec, batch_rows=batch_rows):
        done = normalise(spec, raw)
        yield IngestBatch(raw, done.rows, done.kept, done.refused)


def _take_in(name: str, rows: pa.Table, spec: DatasetSpec, settings: IngestSettings) -> _Counts:
    """Check a table, quarantine rows that fail, upsert the others."""
    lake = Lake(Workspace(settings.root).lake(spec.name))
    if not len(rows):
        return {"n_read": 0, "n_good": 0, "n_quarantined": 0}
    verdict = check_table(settings.suites / f"{name}.json")(rows)
    at = verdict.failing.column("row").combine_chunks()
    good = np.ones(len(rows), dtype=np.bool_)
    good[at.to_numpy()] = False
    lake.quarantine(_quarantined(f"{spec.name}.{name}", rows, verdict, delivery_id(spec)))
    upsert = lake.upsert_items if name == "items" else lake.upsert_users
    upsert(rows.filter(pa.array(good)))
    return {"n_read": len(rows), "n_good": int(good.sum()), "n_quarantined": len(at)}


def _quarantined(source: str, rows: pa.Table, verdict: ValidationResult, run: str) -> pa.Table:
    failing = verdict.failing
    about = {c.SOURCE: source, c.SUITE: verdict.suite, c.RUN_ID: run}
    now = pa.scalar(datetime.now(UTC), INSTANT)
    columns = {name: pa.repeat(value, len(failing)) for name, value in about.items()}
    columns[c.QUARANTINED_AT] = pa.repeat(now, len(failing))
    columns[c.REASONS] = failing.column(c.REASONS)
    columns[c.PAYLOAD] = to_payloads(rows.take(failing.column("row")))
    return pa.table({**columns, ROW: failing.column("row")})
