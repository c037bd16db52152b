"""Cost of orchestration and tracking: the training flow against its bare components.

Run ``python -m benchmarks.overhead [--dataset simulated_city] [--repeats 3] [--json FILE]``.

``flow`` is ``flows/train_model.py`` as ``chronotope train`` runs it: Prefect's local
server, MLflow runs, the registry, promotion. ``bare`` calls the same components with the
same settings and imports neither: trackers store nothing, nothing is registered. Each run is a
fresh process with a fresh root, timed from outside, imports included; the order alternates.
Prefect's database is made once a machine: that is ``first_start_s`` and not in the ratio.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from benchmarks.data_sets import load_data_set
from chronotope.artifact.bundle import read_manifest
from chronotope.contracts import columns as c
from chronotope.contracts.protocols import Tracker
from chronotope.contracts.queries import queries_at
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items, read_users
from chronotope.datasets.spec import DatasetSpec
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import IngestBatch, NoiseConfig, filter_noise, ingest
from chronotope.lake import Lake
from chronotope.pipelines.compress import compress_model
from chronotope.pipelines.evaluate_holdout import (
    NEW_ONLY_PREFIX,
    SLICE_PREFIX,
    evaluate_holdout,
    pop_prefixed,
)
from chronotope.pipelines.holdout import CHALLENGER
from chronotope.pipelines.report import write_report
from chronotope.pipelines.results import (
    ColumnSelection,
    CompressionSummary,
    EventCounts,
    FeatureSnapshot,
    HoldoutEvaluation,
    PromotionResult,
    SearchResult,
    TrainingData,
    TrainingSummary,
)
from chronotope.pipelines.run_dir import training_run_dir
from chronotope.pipelines.search import freeze_folds, run_search
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import train_final_model
from chronotope.registry.blessing import run_blessing
from chronotope.registry.gate import evaluate_gate
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.stored_arrays import load_arrays
from chronotope.runtime.workspace import Workspace
from chronotope.validation import check_events, check_table, profile_rows

SUITES = Path(__file__).parents[1] / "expectations"
QUICK = Path(__file__).parents[1] / "conf" / "training" / "quick.yaml"
TARGET = 1.1
WAYS = ("bare", "flow")
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""As ``chronotope train`` sets them."""


class NullTracker:
    """Tracker that stores nothing; satisfies ``contracts.protocols.Tracker``."""

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Discard metrics."""

    def params(self, values: Mapping[str, object]) -> None:
        """Discard parameters."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Discard a file."""


def main() -> None:
    """Measure both programs in turn, print a row each and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="simulated_city")
    parser.add_argument("--config", type=Path, default=QUICK)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        settings = read_settings(args.config, args.root)
        result = {"bare": bare, "flow": with_flow}[args.only](args.dataset, settings)
        (args.root / "result.json").write_text(json.dumps(result), encoding="utf-8")
        return
    rows = compared(args.dataset, args.config, args.repeats)
    for row in rows:
        print(row)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def compared(dataset: str, config: Path, repeats: int) -> list[dict[str, Any]]:
    """Medians of both programs, and the median of the rounds' own ratios."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        prefect_home = Path(folder) / "prefect"
        first_start_s = first_start(prefect_home)
        for number in range(repeats):
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                root = Path(folder) / f"{way}-{number}"
                runs[way].append(measured(way, dataset, config, root, prefect_home))
    rows: list[dict[str, Any]] = []
    for way in WAYS:
        medians = {key: _median(run[key] for run in runs[way]) for key in runs[way][0]}
        rows.append({"name": way, **medians, "all_s": [run["seconds"] for run in runs[way]]})
    pairs = zip(runs["flow"], runs["bare"], strict=True)
    rows[1] |= {"ratio": _median(f["seconds"] / b["seconds"] for f, b in pairs), "target": TARGET}
    rows[1] |= {"first_start_s": first_start_s, "dataset": dataset, "config": config.name}
    return rows


def _median(values: Iterator[float]) -> float:
    return round(statistics.median(values), 3)


def measured(
    way: str, dataset: str, config: Path, root: Path, prefect_home: Path
) -> dict[str, float]:
    """Seconds of a fresh process, and those inside the training steps that both share."""
    root.mkdir()
    about = ["--only", way, "--dataset", dataset, "--config", str(config), "--root", str(root)]
    seconds = _timed(["-m", "benchmarks.overhead", *about], prefect_home)
    shared = ("search_parameters", "train_final_model", "compress_model", "evaluate_holdout")
    run = next(root.glob("data/runs/*/*/train_final_model.json")).parent
    kept = [json.loads((run / f"{step}.json").read_text(encoding="utf-8")) for step in shared]
    return {"seconds": seconds, "steps_s": round(sum(step["seconds"] for step in kept), 3)}


def first_start(prefect_home: Path) -> float:
    """Seconds of an empty flow on a machine that has never run one."""
    empty = "from prefect import flow\nflow(lambda: None, name='empty')()"
    return _timed(["-c", empty], prefect_home)


def _timed(command: list[str], prefect_home: Path) -> float:
    environment = os.environ | QUIET | {"PREFECT_HOME": str(prefect_home)}
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, env=environment)  # noqa: S603
    return round(time.perf_counter() - began, 3)


def read_settings(config: Path, root: Path) -> TrainSettings:
    """Settings of both programs."""
    told = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    return TrainSettings.model_validate({**told, "root": root})


def with_flow(dataset: str, settings: TrainSettings) -> dict[str, Any]:
    """The flow as ``chronotope train`` runs it."""
    from flows.ingest_events import IngestSettings
    from flows.private_server import run_by_hand
    from flows.train_model import train_model

    with run_by_hand(settings.root):
        result = train_model(dataset, settings, IngestSettings(root=settings.root, suites=SUITES))
    return {"models": result.evaluation.metrics}


def bare(dataset: str, settings: TrainSettings) -> dict[str, Any]:
    """The same steps, called directly."""
    data = take_in(load_data_set(dataset), settings)
    features = data.features.path
    run = training_run_dir(features, dataset, settings)
    run_step(run, "freeze_folds", str, freeze_folds, features, settings, run)
    settings.workspace.mlruns.mkdir(parents=True)  # Optuna's database lies there
    best = run_step(
        run, "search_parameters", SearchResult, run_search, features, settings, run, forgotten
    )
    trained = run_step(
        run, "train_final_model", Path, train_final_model, features, settings, run, best.params
    )
    compression = run_step(
        run,
        "compress_model",
        CompressionSummary,
        compress_model,
        features,
        settings,
        run,
        trained,
        data.features.data_version,
    )
    evaluation = run_step(
        run,
        "evaluate_holdout",
        HoldoutEvaluation,
        evaluate_holdout,
        features,
        settings,
        run,
        compression.bundle,
    )
    reasons = tuple(objections(features, settings, run, compression.bundle))
    promotion = PromotionResult(
        name=dataset,
        version="0",
        run_id="",
        promoted=not reasons,
        reasons=reasons,
        previous=None,
    )
    summary = TrainingSummary(
        fold_ndcg=best.fold_ndcg,
        columns=ColumnSelection(),
        compression=compression,
        evaluation=evaluation,
        promotion=promotion,
    )
    write_report(run, settings, data, summary)
    return {"models": evaluation.metrics}


@contextmanager
def forgotten(run_name: str, parent: Tracker | None) -> Iterator[Tracker]:  # noqa: ARG001
    """Run of the null tracker."""
    yield NullTracker()


def take_in(spec: DatasetSpec, settings: TrainSettings) -> TrainingData:
    """Ingestion into a new lake, as in ``flows/ingest_events.py``."""
    lake = Lake(settings.workspace.lake(spec.name))
    known = None
    for name, rows in (("items", read_items(spec)), ("users", read_users(spec))):
        if len(rows):
            verdict = check_table(SUITES / f"{name}.json")(rows)
            good = np.ones(len(rows), dtype=np.bool_)
            good[verdict.failing.column("row").to_numpy()] = False
            rows = rows.filter(pa.array(good))
            (lake.upsert_items if name == "items" else lake.upsert_users)(rows)
    if lake.exists("items"):
        known = lake.read("items")
    ids = None if known is None else known.column(c.ITEM_ID).combine_chunks()
    check = check_events(
        SUITES / "events.json",
        checked_at=datetime.now(UTC),
        known_items=ids,
        accepted_shares=None,
        batch_profile=profile_rows(iter(()), items=known, n_last=0),
    )
    report = ingest(batches(spec), row_check=check, lake=lake, run_id="bare", source=spec.name)
    counts = EventCounts(
        n_read=report.n_read,
        n_good=report.n_good,
        n_duplicates=report.n_duplicates,
        n_quarantined=report.n_quarantined,
        reasons=report.reasons,
    )
    return TrainingData(counts=counts, features=featured(spec, lake, known, settings.workspace))


def batches(spec: DatasetSpec) -> Iterator[IngestBatch]:
    """Read and normalise as the flow does."""
    for raw in read_events(spec, batch_rows=500_000):
        done = normalise(spec, raw)
        yield IngestBatch(raw, done.rows, done.row_positions, done.refused, done.dropped)


def featured(
    spec: DatasetSpec, lake: Lake, items: pa.Table | None, workspace: Workspace
) -> FeatureSnapshot:
    """Remove noise and build the snapshot."""
    events = lake.read("events")
    keep, noise = filter_noise(events, NoiseConfig())
    ref = build_features(
        events.filter(pa.array(keep)),
        items,
        config=FeaturesConfig(items_are_places=spec.items_are_places),
        out=workspace.features(spec.name),
        data_version="bare",
    )
    return FeatureSnapshot(
        path=ref.path,
        digest=ref.digest,
        data_version="bare",
        n_users=ref.n_users,
        n_items=ref.n_items,
        **asdict(noise),
    )


def objections(features: Path, settings: TrainSettings, run: Path, bundle: Path) -> list[str]:
    """Objections of gate and blessing, without a champion."""
    kept = load_arrays(run / "holdout.npz")
    users, challenger = kept.pop("user"), kept.pop(CHALLENGER)
    masks = pop_prefixed(kept, SLICE_PREFIX)
    pop_prefixed(kept, NEW_ONLY_PREFIX)  # compared with a champion's only
    gate = evaluate_gate(
        challenger, None, kept, user_idx=users, slices=masks, gate_config=settings.gate
    )
    log, _ = load_features(features)
    probes, history_len = load_arrays(run / "probes.npz"), read_manifest(bundle).history_len
    queries = queries_at(log, probes["positions"], history_len=history_len, time_given=True)
    said = run_blessing(
        bundle, queries=queries, expected_scores=probes["scores"], config=settings.bless
    )
    return [*gate.reasons, *said.reasons]


if __name__ == "__main__":
    main()
