"""Backtest: a period is replayed in chunks, predict then update.

Each event of a chunk is predicted from the events before it, and then becomes history.
Histories are live; the counts and weights of the bundle stay as they are.
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chronotope.artifact.bundle import read_manifest, read_vocabulary
from chronotope.artifact.open_bundle import open_bundle
from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.data_version import EVENTS, TableVersion
from chronotope.contracts.errors import StoreError
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.pipelines.results import ChunkMetrics, ChunkResult, Predictor
from chronotope.registry.champion import champion_version, open_registry
from chronotope.registry.model_versions import download_version
from chronotope.runtime.step_cache import step_result
from chronotope.runtime.workspace import Workspace
from chronotope.splitting.targets import targets_between

_LOG = logging.getLogger(__name__)

MAX_CHUNKS: Final = 2_000
"""Each chunk is a task, and a point of a chart."""

SLICES: Final = {"return_acc_10": "n_return", "discovery_acc_10": "n_discovery"}
"""Metrics on a slice of the targets, and the count of the slice."""

METRICS: Final = ("acc_1", "acc_10", "ndcg_10", "mrr", *SLICES)
"""Metrics of each chunk."""


class BacktestConfig(BaseModel):
    """Period of a backtest, length of its chunks, and the version that predicts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: date = Field(description="First day, UTC")
    end: date = Field(description="Day after the last one, UTC")
    chunk_h: int = Field(168, ge=1, le=8_784, description="Length of a chunk in hours")
    version: str | None = Field(
        None, pattern=r"^\d+$", description="Registered version that predicts; empty: the champion"
    )
    time_given: bool = Field(
        True, description="Give the model the time of each event, as a service knows it"
    )
    max_targets: int = Field(
        20_000, ge=50, description="Maximum events of a chunk that are predicted; evenly sampled"
    )

    @model_validator(mode="after")
    def _check_period(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"the end, {self.end}, must be later than the start, {self.start}")
        if (self.end - self.start) / timedelta(hours=self.chunk_h) > MAX_CHUNKS:
            raise ValueError(
                f"{self.start} to {self.end} in chunks of {self.chunk_h:g} hours are more than "
                f"{MAX_CHUNKS:,} chunks: choose longer ones"
            )
        return self


@dataclass(frozen=True, slots=True)
class BacktestChunk:
    """Part of the period; the first has number 1. UTC seconds, the end excluded."""

    number: int
    start_s: int
    end_s: int

    @property
    def step_name(self) -> str:
        """Name of its step; names sort by time."""
        return f"chunk-{self.number:04d}"


def split_period(config: BacktestConfig) -> list[BacktestChunk]:
    """Chunks of the period; the last one ends with the period."""
    start_s, end_s = (_midnight_s(day) for day in (config.start, config.end))
    chunk_starts = range(start_s, end_s, 3_600 * config.chunk_h)
    chunk_ends = [*chunk_starts[1:], end_s]
    return [
        BacktestChunk(number, chunk_start, chunk_end)
        for number, (chunk_start, chunk_end) in enumerate(
            zip(chunk_starts, chunk_ends, strict=True), 1
        )
    ]


def resolve_predictor(root: Path, dataset: str, version: str | None) -> Predictor:
    """The version that predicts, with its bundle.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        version: A registered version; None takes the champion.

    Raises:
        StoreError: There is no such version, or no champion yet.
    """
    store = open_registry(root, dataset)
    resolved_version = version or champion_version(store, dataset)
    bundle_dir = download_version(store, dataset, resolved_version)
    return Predictor(
        version=resolved_version,
        bundle=bundle_dir,
        trained_until_s=read_manifest(bundle_dir).trained_until_s,
    )


def backtest_dir(
    root: Path, dataset: str, config: BacktestConfig, predictor: Predictor, source_config: str
) -> Path:
    """Folder of a backtest: the same period, predictor and source resume in it.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        config: Period, chunks and protocol.
        predictor: The version that predicts.
        source_config: Source of the events and its noise filter, as JSON.
    """
    serving_digest = read_manifest(predictor.bundle).serving_digest
    config_json = config.model_copy(update={"version": predictor.version}).model_dump_json()
    content = f"{config_json}\n{serving_digest}\n{source_config}"
    content_digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return Workspace(root).backfills(dataset) / content_digest


def discard_if_lake_replaced(run_dir: Path, lake: Lake) -> None:
    """Remove a backtest whose events were written to a lake that was deleted or set back.

    Args:
        run_dir: Folder of the backtest.
        lake: The dataset's lake.
    """
    for result_path in run_dir.glob("chunk-*.json"):
        try:
            result = step_result(run_dir, result_path.stem, ChunkResult)
        except StoreError:  # a damaged chunk alone is done again
            continue
        if result is None:
            continue
        version = TableVersion.parse(result.events_version)
        if not lake.holds(EVENTS, version):
            _LOG.warning("The backfill %s begins anew: the lake lacks %s", run_dir.name, version)
            shutil.rmtree(run_dir)
            return


def seen_in_training(chunk: BacktestChunk, predictor: Predictor) -> bool:
    """Whether the predictor was trained on time of a chunk, which is then no test."""
    return predictor.trained_until_s >= chunk.start_s


def evaluate_chunk(
    features: Path, chunk: BacktestChunk, config: BacktestConfig, predictor: Predictor
) -> ChunkMetrics:
    """Predict the events of a chunk, each from the events before it.

    Args:
        features: Feature snapshot that holds the chunk.
        chunk: The part of the period.
        config: The protocol.
        predictor: The version that predicts.
    """
    full_log, item_catalog = load_features(features)
    log = full_log.before(chunk.end_s)
    targets = targets_between(log, chunk.start_s, chunk.end_s, max_targets=config.max_targets)
    model = RemappedRecommender(
        open_bundle(predictor.bundle), read_vocabulary(predictor.bundle), item_catalog
    )
    evaluation_result = evaluate(
        model, log, targets, n_items=item_catalog.n_items, time_given=config.time_given
    )
    summary = summarise_metrics(evaluation_result)
    return ChunkMetrics.model_validate(
        {
            "n_events": int(np.count_nonzero(log.occurred_s >= chunk.start_s)),
            "n_targets": len(targets),
            "seen": seen_in_training(chunk, predictor),
            **{name: _finite_or_none(summary[name]) for name in METRICS},
            **{name: int(summary[name]) for name in SLICES.values()},
        }
    )


def mean_metrics(chunks: Sequence[ChunkMetrics]) -> dict[str, float | None]:
    """Means over the targets of all chunks that were not seen in training; None without any.

    Args:
        chunks: Metrics of each chunk.
    """
    unseen_chunks = [chunk for chunk in chunks if not chunk.seen]
    n_targets = float(sum(chunk.n_targets for chunk in unseen_chunks))
    means = {
        name: _weighted_mean(unseen_chunks, name, SLICES.get(name, "n_targets")) for name in METRICS
    }
    return {"n_targets": n_targets, **means}


def format_minute(second: int) -> str:
    """A UTC second as date and time, to the minute."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M}"


def _weighted_mean(chunks: Sequence[ChunkMetrics], metric: str, count_field: str) -> float | None:
    pairs = [
        (getattr(chunk, metric), getattr(chunk, count_field))
        for chunk in chunks
        if getattr(chunk, metric) is not None
    ]
    n_targets = sum(count for _, count in pairs)
    return sum(value * count for value, count in pairs) / n_targets if n_targets else None


def _midnight_s(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
