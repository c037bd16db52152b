"""Replay a period in chunks: what each brings, and how well it was foreseen.

Predict, then update: each event of a chunk is predicted from what was known before it, and
then becomes known. Histories are live; what a bundle has counted and learned stays as it is.
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chronotope.artifact.bundle import read_manifest, read_vocabulary
from chronotope.artifact.open_bundle import open_bundle
from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.data_version import EVENTS, TableVersion
from chronotope.contracts.errors import StoreError
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.metrics.evaluate import evaluate
from chronotope.metrics.summary import summarise_metrics
from chronotope.registry.champion import champion_version, open_registry
from chronotope.registry.model_versions import download_version
from chronotope.runtime.step_cache import step_result
from chronotope.runtime.workspace import Workspace
from chronotope.splitting.targets import targets_between

_LOG = logging.getLogger(__name__)

MOST_CHUNKS: Final = 2_000
"""Each is a task and a point of a drawing."""

SLICES: Final = {"return_acc_10": "n_return", "discovery_acc_10": "n_discovery"}
"""Metrics over a part of the targets, and the number of those."""

METRICS: Final = ("acc_1", "acc_10", "ndcg_10", "mrr", *SLICES)
"""What is told of each chunk."""


class BacktestConfig(BaseModel):
    """Which period is replayed, in what steps, and who predicts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: date = Field(description="First day, UTC")
    end: date = Field(description="Day after the last one, UTC")
    chunk_h: int = Field(168, ge=1, le=8_784, description="Hours of a chunk; a week is 168")
    version: str | None = Field(
        None, pattern=r"^\d+$", description="Registered version that predicts; empty: the champion"
    )
    time_given: bool = Field(
        True, description="Tell the moment of each event, as a service knows that of a request"
    )
    max_targets: int = Field(
        20_000, ge=50, description="Events of a chunk that are predicted, at most; drawn evenly"
    )

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end must be later than start")
        if (self.end - self.start) / timedelta(hours=self.chunk_h) > MOST_CHUNKS:
            raise ValueError(f"that is more than {MOST_CHUNKS:,} chunks: choose longer ones")
        return self


@dataclass(frozen=True, slots=True)
class BacktestChunk:
    """A stretch of the period; the first has number 1. UTC seconds, the end excluded."""

    number: int
    start_s: int
    end_s: int

    @property
    def step(self) -> str:
        """Name of the step that plays it, in the order of time."""
        return f"chunk-{self.number:04d}"


def split_period(config: BacktestConfig) -> list[BacktestChunk]:
    """The period in chunks; the last ends with the period."""
    start, end = (_midnight_s(day) for day in (config.start, config.end))
    begins = range(start, end, 3_600 * config.chunk_h)
    ends = [*begins[1:], end]
    return [BacktestChunk(n, *both) for n, both in enumerate(zip(begins, ends, strict=True), 1)]


def resolve_predictor(root: Path, dataset: str, version: str | None) -> dict[str, Any]:
    """Who predicts: the ``version``, its ``bundle``, and ``trained_until_s``.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        version: A registered version; None takes the champion.

    Raises:
        StoreError: There is no such version, or no champion yet.
    """
    store = open_registry(root, dataset)
    chosen = version or champion_version(store, dataset)
    bundle = download_version(store, dataset, chosen)
    until_s = read_manifest(bundle).trained_until_s
    return {"version": chosen, "bundle": str(bundle), "trained_until_s": until_s}


def backtest_dir(
    root: Path, dataset: str, config: BacktestConfig, who: dict[str, Any], source: str
) -> Path:
    """Folder of a backfill: the same period, predictor and source go on, others start anew.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        config: Period, chunks and protocol.
        who: What ``resolve_predictor`` returned.
        source: What is replayed, and how it is read.
    """
    graph = read_manifest(Path(who["bundle"])).answering
    told = config.model_copy(update={"version": who["version"]}).model_dump_json()
    digest = hashlib.sha256(f"{told}\n{graph}\n{source}".encode()).hexdigest()[:12]
    return Workspace(root).backfills(dataset) / digest


def forget_if_replaced(run: Path, lake: Lake) -> None:
    """Remove a backfill that was played into a lake which is gone or was set back.

    Args:
        run: Folder of the backfill.
        lake: Where its rows should be.
    """
    for path in run.glob("chunk-*.json"):
        try:
            version = TableVersion.parse(step_result(run, path.stem)[EVENTS])
        except StoreError:  # damaged: the chunk alone is done again
            continue
        if not lake.holds(EVENTS, version):
            _LOG.warning("The backfill %s begins anew: the lake lacks %s", run.name, version)
            shutil.rmtree(run)
            return


def seen_in_training(chunk: BacktestChunk, who: dict[str, Any]) -> bool:
    """Whether the predictor was trained on time that a chunk covers: then it is no test."""
    return bool(who["trained_until_s"] >= chunk.start_s)


def evaluate_chunk(
    features: Path, chunk: BacktestChunk, config: BacktestConfig, who: dict[str, Any]
) -> dict[str, Any]:
    """Predict a chunk's events, each from what came before it.

    Args:
        features: Feature snapshot that holds the chunk.
        chunk: Which events.
        config: The protocol.
        who: What ``resolve_predictor`` returned.

    Returns:
        ``n_events``, ``n_targets`` (those with a past, thinned), ``seen``, the ``METRICS`` and
        the sizes of the slices; a metric without targets is None. JSON-able.
    """
    log, catalog = load_features(features)
    known = log.before(chunk.end_s)
    targets = targets_between(known, chunk.start_s, chunk.end_s, max_targets=config.max_targets)
    bundle = Path(who["bundle"])
    model = RemappedRecommender(open_bundle(bundle), read_vocabulary(bundle), catalog)
    found = evaluate(model, known, targets, n_items=catalog.n_items, time_given=config.time_given)
    summary = summarise_metrics(found)
    values = {name: _finite(summary[name]) for name in METRICS}
    return {
        "n_events": int(np.count_nonzero(known.occurred_s >= chunk.start_s)),
        "n_targets": len(targets),
        "seen": seen_in_training(chunk, who),
        **values,
        **{name: int(summary[name]) for name in SLICES.values()},
    }


def mean_metrics(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Means over the targets of all chunks that were not seen in training; None without any.

    Args:
        rows: What ``evaluate_chunk`` returned, a row a chunk.
    """
    fresh = [row for row in rows if not row["seen"]]
    sizes = {name: SLICES.get(name, "n_targets") for name in METRICS}
    means = {name: _mean(fresh, name, size) for name, size in sizes.items()}
    return {"n_targets": float(sum(row["n_targets"] for row in fresh)), **means}


def format_minute(second: int) -> str:
    """A UTC second as people read it, to the minute."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M}"


def _mean(rows: Sequence[dict[str, Any]], name: str, size: str) -> float | None:
    told = [(row[name], row[size]) for row in rows if row[name] is not None]
    n = sum(many for _, many in told)
    return sum(value * many for value, many in told) / n if n else None


def _midnight_s(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
