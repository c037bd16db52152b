"""The stages that are measured, each as the flows run it, over files below one root."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import yaml

from benchmarks.process_costs import mark_processes, measured_processes
from benchmarks.scale.two_raylets import two_raylets
from chronotope.datasets.city import CityConfig
from chronotope.datasets.simulation import simulate_events
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.metrics import evaluate
from chronotope.models.baselines import UserCounts
from chronotope.models.config import ModelConfig
from chronotope.pipelines.ingest_checks import batch_check
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.step_cache import peak_mb
from chronotope.splitting.targets import targets_between
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import RoundBatches, make_rounds
from flows.ingest_events import IngestSettings, write_events, write_features

EVENTS_A_USER: Final = 100
"""Users grow with the log, as a service's do; the city keeps its 1,000 places."""

LATER: Final = 0.9
"""Quantile of time behind which every event is a target of the evaluation."""

BATCHES: Final = 50
"""Batches of training that are gathered, whatever the log's size."""

_SUITES: Final = Path(__file__).parents[2] / "expectations"
_RESULT: Final = "features.json"


@dataclass(frozen=True, slots=True)
class StageRun:
    """What a stage runs on.

    Attributes:
        root: Folder that the stages before it wrote to.
        n_events: Size of the log.
        engine: Engine of the stages that have one.
        n_buckets: Number of buckets of users.
    """

    root: Path
    n_events: int
    engine: EngineConfig
    n_buckets: int


def generate(run: StageRun) -> dict[str, Any]:
    """Simulate the city, and stream its events to a Parquet file."""
    root, n_events = run.root, run.n_events
    city = CityConfig(n_events=n_events, n_users=max(2, n_events // EVENTS_A_USER))
    tables = simulate_events(city, batch_events=500_000)
    first = next(tables)
    with pq.ParquetWriter(root / "events.parquet", first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    columns = [name for name in first.column_names if name != "is_anomaly"]
    events = {"format": "parquet", "path": "events.parquet", "columns": {n: n for n in columns}}
    spec = {
        "name": "scale",
        "description": "People of a simulated city",
        "licence": "CC0-1.0",
        "event_type": "check_in",
        "items_are_places": True,
        "data_dir": str(root),
        "user_buckets": run.n_buckets,
        "events": events | {"context": {"is_anomaly": "is_anomaly"}},
    }
    (root / "scale.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return {"megabytes": round((root / "events.parquet").stat().st_size / 2**20)}


def ingestion(run: StageRun) -> dict[str, Any]:
    """Read, normalise, check, and commit to the lake in one version."""
    root, n_events = run.root, run.n_events
    found = write_events.fn(str(root / "scale.yaml"), _settings(run))
    if found.n_good != n_events:
        raise RuntimeError(f"{found.n_good:,} of {n_events:,} events arrived")
    size = sum(path.stat().st_size for path in (root / "data" / "lake").rglob("*.parquet"))
    return {"bytes_an_event": round(size / n_events, 1)}


def features(run: StageRun) -> dict[str, Any]:
    """Remove noise and write the numeric snapshot."""
    root, n_events = run.root, run.n_events
    found = write_features.fn(str(root / "scale.yaml"), _settings(run))
    (root / _RESULT).write_text(found.model_dump_json(), encoding="utf-8")
    size = sum(path.stat().st_size for path in found.path.glob("*.parquet"))
    return {"bytes_an_event": round(size / n_events, 1), "n_kept": found.n_kept}


def loading(run: StageRun) -> dict[str, Any]:
    """Read the snapshot into arrays."""
    log, _catalog = load_features(_snapshot(run.root))
    return {"n_events": len(log)}


def evaluation(run: StageRun) -> dict[str, Any]:
    """Load, fit the user's own counts, and rank every event of the last tenth of time."""
    log, catalog = load_features(_snapshot(run.root))
    cut_s = int(np.quantile(log.occurred_s, LATER, method="higher"))
    model = UserCounts().fit(log.before(cut_s), catalog)
    targets = targets_between(log, cut_s, int(log.occurred_s.max()) + 1)
    outcomes = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    return {"n_targets": len(targets), "acc_10": round(float((outcomes.rank <= 10).mean()), 4)}


def batches(run: StageRun) -> dict[str, Any]:
    """Load, count the priors of every training round, and gather some batches."""
    log, catalog = load_features(_snapshot(run.root))
    training = TrainingConfig()
    rounds, _later = make_rounds(log, catalog, training)
    gathered = iter(
        RoundBatches(log, rounds, training, model_config=ModelConfig(), is_training=True)
    )
    return {"n_batches": sum(1 for _ in zip(range(BATCHES), gathered, strict=False))}


STAGES: Final[dict[str, Callable[[StageRun], dict[str, Any]]]] = {
    "generate": generate,
    "ingestion": ingestion,
    "features": features,
    "loading": loading,
    "evaluation": evaluation,
    "batches": batches,
}

ENGINE_STAGES: Final = frozenset({"ingestion", "features"})
"""Stages whose tasks run on the engine; the others run in this process."""


@contextmanager
def engine_config(kind: str) -> Iterator[EngineConfig]:
    """Settings of an engine; for Ray, those of a cluster of two raylets that is started before.

    Args:
        kind: ``local``, ``processes`` or ``ray``.
    """
    if kind != "ray":
        yield EngineConfig.model_validate({"kind": kind})
        return
    with two_raylets() as address:
        yield EngineConfig(kind="ray", address=address)


def measure(stage: str, root: Path, n_events: int, engine: str, n_buckets: int) -> dict[str, Any]:
    """Wall seconds, processor seconds and memory of a stage, over all of its processes.

    Args:
        stage: One of ``STAGES``.
        root: Folder that the stages before it wrote to.
        n_events: Size of the log.
        engine: Engine of the stages that have one. Its workers start, and import what they need,
            within the measurement.
        n_buckets: Number of buckets of users.
    """
    mark_processes()
    if stage == "ingestion":  # opens Great Expectations, which costs the same whatever the size
        batch_check(Lake(root / "nothing"), _SUITES)
    with engine_config(engine if stage in ENGINE_STAGES else "local") as config:
        start_mb, began = peak_mb(), time.perf_counter()
        with measured_processes() as costs:
            about = STAGES[stage](StageRun(root, n_events, config, n_buckets))
            wall_s = time.perf_counter() - began
    found = {
        "cpu_s": costs.total_cpu_s,
        "wall_s": wall_s,
        "peak_mb": costs.largest_mb,
        "start_mb": start_mb,
    }
    rounded = {name: round(value, 3) for name, value in found.items()}
    setup = {"engine": config.kind, "n_buckets": n_buckets}
    return {"name": stage, "events": n_events, **setup, **rounded, **about}


def _settings(run: StageRun) -> IngestSettings:
    return IngestSettings(root=run.root, suites=_SUITES, data_docs=False, engine=run.engine)


def _snapshot(root: Path) -> Path:
    return Path(json.loads((root / _RESULT).read_text(encoding="utf-8"))["path"])
