"""The compressed artefact against the eager torch model: size, latency, accuracy.

    python -m benchmarks.compression --dataset foursquare_nyc --json compression.json

Ingests and trains once below ``--root`` (a second call reuses that), compresses, and times both
models with one query at a time on one thread, padded to the history that each reads. The eager
model's size is that of its parameters, buffers and priors as tensors in memory. Accuracy is
measured on later targets than those that select the candidate, full catalogue, time given.
Differences of some .2 % of the NDCG are noise.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from benchmarks.data_sets import load_data_set
from benchmarks.overhead import take_in
from benchmarks.rows import read_rows, write_rows
from chronotope.artifact.open_bundle import open_bundle
from chronotope.compression.bundle_cost import measure_latency, time_calls_ms
from chronotope.contracts.event_log import EventLog, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics import evaluate, ndcg
from chronotope.pipelines.compress import N_PROBES, compress_model
from chronotope.pipelines.holdout import evaluation_targets, selection_targets
from chronotope.pipelines.results import CompressionSummary, TrainingData
from chronotope.pipelines.run_dir import training_run_dir
from chronotope.pipelines.search import freeze_folds, starting_point
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import train_final_model
from chronotope.runtime.step_cache import run_step
from chronotope.training.recommender import ChronotopeRecommender

TARGETS: Final = {"size": 10.0, "latency": 3.0, "lost": 0.01}
"""Times smaller, times faster, and the share of NDCG@10 that may be lost."""


def main(words: Sequence[str] | None = None) -> None:
    """Measure one dataset and write its row beside those of others."""
    told = _parser().parse_args(words)
    with TemporaryDirectory() as scratch:
        root = (told.root or Path(scratch)).resolve()
        row = measured(told.dataset, settings_of(told, root))
    print(json.dumps(row, indent=2))
    if told.json:
        mine = (told.dataset, told.index)
        others = [each for each in read_rows(told.json) if (each["dataset"], each["index"]) != mine]
        write_rows([*others, row], told.json)


def settings_of(told: argparse.Namespace, root: Path) -> TrainSettings:
    """Settings of a short training of the default model, and of the compression."""
    trained = {"max_epochs": told.epochs, "max_targets": told.targets, "learning_rate": 0.02}
    tried = {
        "variants": ["int8_tables", "int8_matmul"],
        "pruned_units": 0.0,
        "successors": told.successors,
        "max_ndcg_loss": told.max_loss,
        "n_trials": told.trials,
        "timeout_s": told.timeout,
    }
    if told.index:
        tried["index_above_items"] = 0
    settings = {
        "root": root,
        "folds": {"k": 1},
        "model": {"history_len": told.history, "backbone": told.backbone},
        "training": trained,
        "compression": tried,
        "max_fold_targets": told.selection_targets,
        "max_holdout_targets": 2 * told.selection_targets,
    }
    return TrainSettings.model_validate(settings)


def measured(dataset: str, settings: TrainSettings) -> dict[str, Any]:
    """Train and compress below the settings' root, and compare eager model and bundle."""
    torch.set_num_threads(1)
    spec = load_data_set(dataset)
    intake = settings.workspace.runs(spec.name)
    taken = run_step(intake, "taken", TrainingData, take_in, spec, settings)
    features = taken.features.path
    plain = settings.model_copy(update={"compression": type(settings.compression)()})
    run = training_run_dir(features, spec.name, plain)  # whatever is tried, one training
    run_step(run, "freeze_folds", str, freeze_folds, features, settings, run)
    params = starting_point(settings)
    trained = run_step(
        run, "train_final_model", Path, train_final_model, features, settings, run, params
    )
    found = compress_model(features, settings, run, trained, "bare")
    index = settings.compression.index_above_items == 0
    about = {"dataset": dataset, "backbone": settings.model.backbone, "index": index}
    return about | compared(features, settings, run, trained, found)


def compared(
    features: Path, settings: TrainSettings, run: Path, trained: Path, found: CompressionSummary
) -> dict[str, Any]:
    """Row of results: size, latency and accuracy of the eager model and of the bundle."""
    log, catalog = load_features(features)
    eager, bundle = ChronotopeRecommender.load(trained, catalog), found.bundle
    asked = selection_targets(log, settings, run)[:N_PROBES]
    queries = queries_at(log, asked, history_len=eager.history_len, time_given=True)
    rows = [queries.take(slice(at, at + 1)) for at in range(len(queries))]
    n_runs = settings.compression.n_runs
    eager_ms = sorted(time_calls_ms(lambda at: eager.scores(rows[at % len(rows)]), n_runs))[
        n_runs // 2
    ]
    onnx = open_bundle(bundle)
    answer = lambda at: onnx.prepared(rows[at % len(rows)])()  # noqa: E731 - from the query on
    onnx_ms = sorted(time_calls_ms(answer, n_runs))[n_runs // 2]
    size_mb, eager_mb = measure_latency(bundle, queries, n_runs=1).size_mb, tensors_mb(eager)
    targets = evaluation_targets(log, settings, run)
    ways: dict[str, Recommender] = {"eager": eager, "chosen": onnx}
    ndcg_by_variant = {
        name: ranked(way, log, targets, catalog.n_items) for name, way in ways.items()
    }
    row = {
        "n_items": catalog.n_items,
        "history_len": eager.history_len,
        "n_targets": len(targets),
        "chosen": bundle.name,
        "eager_mb": eager_mb,
        "chosen_mb": size_mb,
        "eager_ms": eager_ms,
        "chosen_ms": onnx_ms,
        "eager_ndcg_10": ndcg_by_variant["eager"],
        "chosen_ndcg_10": ndcg_by_variant["chosen"],
        "times_smaller": eager_mb / size_mb,
        "times_faster": eager_ms / onnx_ms,
        "share_lost": 1 - ndcg_by_variant["chosen"] / ndcg_by_variant["eager"],
    }
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
    return {
        **rounded,
        "targets": TARGETS,
        "candidates": [row.model_dump(mode="json") for row in found.candidates],
    }


def tensors_mb(model: ChronotopeRecommender) -> float:
    """Parameters, buffers and priors, in 10^6 bytes; shared ones once."""
    tensors = {t.data_ptr(): t for t in (*model.net.state_dict().values(), *model.priors)}
    return float(sum(t.numel() * t.element_size() for t in tensors.values())) / 1e6


def ranked(model: Recommender, log: EventLog, targets: Int64, n_items: int) -> float:
    """Mean NDCG@10 of targets, time given."""
    outcomes = evaluate(model, log, targets, n_items=n_items, time_given=True)
    return float(ndcg(outcomes.rank, 10).mean())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__)
    parser.add_argument("--dataset", default="foursquare_nyc", help="name in conf/datasets")
    parser.add_argument(
        "--root", type=Path, help="folder of data and training, reused by later calls"
    )
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the training")
    parser.add_argument(
        "--targets", type=int, default=30_000, help="maximum number of targets in an epoch"
    )
    parser.add_argument("--history", type=int, default=1024, help="events the model reads")
    parser.add_argument(
        "--selection-targets",
        type=int,
        default=2_000,
        help="targets that choose the candidate; the evaluation has twice as many",
    )
    parser.add_argument(
        "--successors", type=int, default=4, help="successors kept of each item; 0: all"
    )
    parser.add_argument("--backbone", default="none", help="backbone beside the kernels")
    parser.add_argument(
        "--index", action="store_true", help="rank the items by an index; they have no coordinates"
    )
    parser.add_argument(
        "--max-loss", type=float, default=0.004, help="maximum loss of NDCG@10, absolute"
    )
    parser.add_argument(
        "--trials", type=int, default=0, help="total number of candidates; 0: the fixed ones"
    )
    parser.add_argument("--timeout", type=float, help="start no candidate after this time, seconds")
    parser.add_argument("--json", type=Path, help="write the row to this file")
    return parser


if __name__ == "__main__":
    main()
