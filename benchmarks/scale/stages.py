"""The stages that are measured, each as the flows run it, over files below one root."""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import yaml

from chronotope.datasets.city import CityConfig
from chronotope.datasets.simulation import simulate_events
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.metrics import evaluate
from chronotope.models.baselines import UserCounts
from chronotope.models.config import ModelConfig
from chronotope.pipelines.ingest_checks import batch_check
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


def generate(root: Path, n_events: int) -> dict[str, Any]:
    """Simulate the city, and stream its events to a Parquet file."""
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
        "events": events | {"context": {"is_anomaly": "is_anomaly"}},
    }
    (root / "scale.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return {"megabytes": round((root / "events.parquet").stat().st_size / 2**20)}


def ingestion(root: Path, n_events: int) -> dict[str, Any]:
    """Read, normalise, check, and commit to the lake in one version."""
    found = write_events.fn(str(root / "scale.yaml"), _settings(root))
    if found.n_good != n_events:
        raise RuntimeError(f"{found.n_good:,} of {n_events:,} events arrived")
    size = sum(path.stat().st_size for path in (root / "data" / "lake").rglob("*.parquet"))
    return {"bytes_an_event": round(size / n_events, 1)}


def features(root: Path, n_events: int) -> dict[str, Any]:
    """Remove noise and write the numeric snapshot."""
    found = write_features.fn(str(root / "scale.yaml"), _settings(root))
    (root / _RESULT).write_text(found.model_dump_json(), encoding="utf-8")
    size = sum(path.stat().st_size for path in found.path.glob("*.parquet"))
    return {"bytes_an_event": round(size / n_events, 1), "n_kept": found.n_kept}


def loading(root: Path, _: int) -> dict[str, Any]:
    """Read the snapshot into arrays."""
    log, _catalog = load_features(_snapshot(root))
    return {"n_events": len(log)}


def evaluation(root: Path, _: int) -> dict[str, Any]:
    """Load, fit the user's own counts, and rank every event of the last tenth of time."""
    log, catalog = load_features(_snapshot(root))
    cut_s = int(np.quantile(log.occurred_s, LATER, method="higher"))
    model = UserCounts().fit(log.before(cut_s), catalog)
    targets = targets_between(log, cut_s, int(log.occurred_s.max()) + 1)
    outcomes = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    return {"n_targets": len(targets), "acc_10": round(float((outcomes.rank <= 10).mean()), 4)}


def batches(root: Path, _: int) -> dict[str, Any]:
    """Load, count the priors of every training round, and gather some batches."""
    log, catalog = load_features(_snapshot(root))
    training = TrainingConfig()
    rounds, _later = make_rounds(log, catalog, training)
    gathered = iter(
        RoundBatches(log, rounds, training, model_config=ModelConfig(), is_training=True)
    )
    return {"n_batches": sum(1 for _ in zip(range(BATCHES), gathered, strict=False))}


STAGES: Final[dict[str, Callable[[Path, int], dict[str, Any]]]] = {
    "generate": generate,
    "ingestion": ingestion,
    "features": features,
    "loading": loading,
    "evaluation": evaluation,
    "batches": batches,
}


def measure(stage: str, root: Path, n_events: int) -> dict[str, Any]:
    """Wall seconds, processor seconds and memory of a stage in this process.

    Args:
        stage: One of ``STAGES``.
        root: Folder that the stages before it wrote to.
        n_events: Size of the log.
    """
    if stage == "ingestion":  # opens Great Expectations, which costs the same whatever the size
        batch_check(Lake(root / "nothing"), _SUITES)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    start_mb = peak_mb()
    about = STAGES[stage](root, n_events)
    wall_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": peak_mb(), "start_mb": start_mb}
    rounded = {name: round(value, 3) for name, value in found.items()}
    return {"name": stage, "events": n_events, **rounded, **about}


def _settings(root: Path) -> IngestSettings:
    return IngestSettings(root=root, suites=_SUITES, data_docs=False)


def _snapshot(root: Path) -> Path:
    return Path(json.loads((root / _RESULT).read_text(encoding="utf-8"))["path"])
