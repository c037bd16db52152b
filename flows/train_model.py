"""Train, compress, judge and promote a model of a dataset's feature snapshot."""

import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from chronotope.contracts.escaping import markdown_rows, markdown_text
from chronotope.datasets.loading import load_spec
from chronotope.pipelines.compress import compress_model
from chronotope.pipelines.evaluate_holdout import evaluate_holdout
from chronotope.pipelines.promote import is_registered, promote_bundle, register_bundle
from chronotope.pipelines.publish_training import publish_training
from chronotope.pipelines.report import report_training
from chronotope.pipelines.run_dir import training_run_dir
from chronotope.pipelines.search import freeze_folds
from chronotope.pipelines.select_columns import select_columns
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import train_final
from chronotope.pipelines.tune_parameters import tune_parameters
from chronotope.runtime.step_cache import peak_mb, run_step, step_costs
from flows import dataset_lock_in_flow
from flows.ingest_events import IngestSettings, ingest_locked
from flows.link_runs import link_runs

_TASK: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,  # finished steps are kept in the run's folder, server or not
    "result_serializer": "json",
}


@flow(name="train-model", result_serializer="json")
def train_model(
    dataset: str,
    settings: TrainSettings = TrainSettings(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Ingest what is new, then tune, train, compress, judge, register, promote, report.

    A run that was killed goes on after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        settings: Folds, search, training, compression, gate.
        ingestion: Where data are and how they are read; its root is the settings' root.

    Returns:
        ``judged``, ``compressed``, ``promoted``, ``report`` and ``costs`` (seconds, peak MB).
    """
    name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    with dataset_lock_in_flow(settings.workspace, name):
        return train_locked(dataset, settings, ingestion)


def train_locked(
    dataset: str, settings: TrainSettings, ingestion: IngestSettings
) -> dict[str, Any]:
    """What ``train_model`` does once nobody else trains on the dataset."""
    began = time.perf_counter()
    taken = ingest_locked(dataset, ingestion.model_copy(update={"root": settings.root}))
    ingesting = {"seconds": time.perf_counter() - began, "peak_mb": peak_mb()}
    features, name = Path(taken["features"]["path"]), taken["events"]["dataset"]
    run = training_run_dir(features, name, settings)
    best = search_parameters(features, settings, run)
    selected = select_context_columns(features, settings, run, best["params"])
    trained = train(features, settings, run, {**best["params"], "context": selected["kept"]})
    compressed = compress(features, settings, run, trained, taken["features"]["data_version"])
    bundle = Path(compressed["bundle"])
    judged = evaluate(features, settings, run, bundle)
    promoted = register_and_promote(features, settings, run, bundle, judged)
    chosen = {"tuned": best, "selected": selected, "compressed": compressed}
    found = {**chosen, "judged": judged, "promoted": promoted}
    written = report(run, settings, taken, {**found, "ingesting": ingesting})
    publish(name, judged, promoted, written)
    link_runs(settings.root, promoted)
    costs = {"ingest_events": ingesting, **step_costs(run)}
    return {**found, **written, "ingested": taken, "costs": costs}


@task(**_TASK)
def search_parameters(features: Path, settings: TrainSettings, run: Path) -> dict[str, Any]:
    """Freeze the folds and search hyper-parameters over them."""
    run_step(run, "freeze_folds", lambda: freeze_folds(features, settings, run))
    return dict(run_step(run, "tune_parameters", lambda: tune_parameters(features, settings, run)))


@task(**_TASK)
def select_context_columns(
    features: Path, settings: TrainSettings, run: Path, params: dict[str, Any]
) -> dict[str, Any]:
    """Keep the context columns that help on later time; a log without any costs nothing."""
    work = lambda: select_columns(features, settings, run, params)  # noqa: E731
    return dict(run_step(run, "select_columns", work))


@task(**_TASK)
def train(features: Path, settings: TrainSettings, run: Path, params: dict[str, Any]) -> Path:
    """Train on everything before the holdout."""
    return Path(run_step(run, "train_final", lambda: train_final(features, settings, run, params)))


@task(**_TASK)
def compress(
    features: Path, settings: TrainSettings, run: Path, trained: Path, data_version: str
) -> dict[str, Any]:
    """Prune, distil, quantise, export; keep the smallest that meets the objective."""
    work = lambda: compress_model(features, settings, run, trained, data_version)  # noqa: E731
    found = dict(run_step(run, "compress_model", work))
    show_candidates(run.parent.name, found)
    return found


def show_candidates(dataset: str, compressed: dict[str, Any]) -> None:
    """Show every candidate with what it costs, and why it was not chosen.

    Args:
        dataset: Name of the dataset.
        compressed: What ``compress_model`` returned.
    """
    rows = [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        for row in compressed["candidates"]
    ]
    key = f"compress-{dataset.replace('_', '-')}"
    create_table_artifact(
        markdown_rows(rows), key=key, description=markdown_text(compressed["reason"])
    )


@task(**_TASK)
def evaluate(features: Path, settings: TrainSettings, run: Path, bundle: Path) -> dict[str, Any]:
    """Judge the bundle and every baseline on the holdout."""
    return dict(
        run_step(run, "evaluate_holdout", lambda: evaluate_holdout(features, settings, run, bundle))
    )


@task(**_TASK)
def register_and_promote(
    features: Path, settings: TrainSettings, run: Path, bundle: Path, judged: dict[str, Any]
) -> dict[str, Any]:
    """Register the bundle; champion if gate and blessing say so."""
    work = lambda: register_bundle(features, settings, run, bundle, judged["models"])  # noqa: E731
    known = partial(is_registered, settings)
    registered = run_step(run, "register_bundle", work, is_current=known)
    final = lambda: promote_bundle(features, settings, run, bundle, registered)  # noqa: E731
    same = lambda earlier: earlier["run_id"] == registered["run_id"]  # noqa: E731
    return dict(run_step(run, "promote_bundle", final, is_current=same))


@task(**_TASK)
def report(
    run: Path, settings: TrainSettings, taken: dict[str, Any], found: dict[str, Any]
) -> dict[str, str]:
    """Write the HTML report and the model card; keep both with MLflow's run."""
    work = lambda: report_training(run, settings, taken, found)  # noqa: E731
    written = dict(run_step(run, "report_training", work))
    shown = lambda: publish_training(settings, found["promoted"], written)  # noqa: E731
    same = lambda earlier: earlier == found["promoted"]["run_id"]  # noqa: E731
    run_step(run, "publish_training", shown, is_current=same)
    return written


@task(**_TASK)
def publish(
    dataset: str, judged: dict[str, Any], promoted: dict[str, Any], written: dict[str, str]
) -> None:
    """Show the metrics, the verdict with the model card, and the report's link."""
    key = f"train-{dataset.replace('_', '-')}"
    names = ("acc_1", "acc_10", "ndcg_10", "mrr")
    rows = [
        {"model": model, **{name: round(found[name], 4) for name in names}}
        for model, found in judged["models"].items()
    ]
    create_table_artifact(
        markdown_rows(rows), key=key, description="Holdout, full catalogue, time given"
    )
    card = Path(written["card"]).read_text(encoding="utf-8")
    verdict = f"{promotion_markdown(promoted)}\n\n{card}"
    create_markdown_artifact(verdict, key=f"{key}-card", description="Gate and model card")
    create_link_artifact(Path(written["report"]).resolve().as_uri(), key=f"{key}-report")


def promotion_markdown(promoted: dict[str, Any]) -> str:
    """Whether a version became champion and what spoke against it, as Markdown.

    Args:
        promoted: What ``promote_bundle`` returned.
    """
    subject = f"Version {promoted['version']} of `{promoted['name']}`"
    if promoted["promoted"]:
        return f"**{subject} is the champion.**"
    return "\n".join(
        [
            f"**{subject} stays challenger:**",
            "",
            *(f"- {markdown_text(reason)}" for reason in promoted["reasons"]),
        ]
    )
