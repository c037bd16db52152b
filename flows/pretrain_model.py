"""Flow ``pretrain-model``: ingest several logs, pretrain one network over them, and register it."""

from functools import partial
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.pipelines.pretraining.results import (
    CheckpointFile,
    PretrainingEvaluation,
    PretrainingResult,
    PretrainingSearch,
    PretrainingSource,
)
from chronotope.pipelines.pretraining.search import search_pretraining, searched_settings
from chronotope.pipelines.pretraining.settings import PretrainSettings
from chronotope.pipelines.pretraining.steps import (
    CARD_FILE,
    evaluate_checkpoint,
    is_registered_checkpoint,
    pretrain_network,
    pretraining_run_dir,
    register_pretrained,
)
from chronotope.pipelines.results import RegisteredVersion
from chronotope.runtime.step_cache import run_step, run_verified_step
from flows import dataset_lock_in_flow
from flows.ingest_events import IngestSettings, ingest_locked

_TASK: Final[dict[str, Any]] = {"cache_policy": NO_CACHE, "result_serializer": "json"}


@flow(name="pretrain-model", result_serializer="json")
def pretrain_model(
    datasets: list[str],
    settings: PretrainSettings = PretrainSettings(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> PretrainingResult:
    """Search and pretrain one network over several logs, evaluate it on later events, register it.

    A run that was killed resumes after its last finished step or epoch.

    Args:
        datasets: Names of files in conf/datasets, or paths of such YAML files; a log that is named
            twice counts once.
        settings: Network, training, weights of the logs, and search.
        ingestion: Reading and validation of the data; its root is ignored in favour of that of the
            settings. Its data folder holds a folder for each data set.
    """
    ingested_sources = (ingest_source(dataset, settings, ingestion) for dataset in datasets)
    sources = tuple({source.dataset: source for source in ingested_sources}.values())
    run_dir = pretraining_run_dir(sources, settings)
    search_result = search(sources, settings, run_dir)
    settings = searched_settings(settings, dict(search_result.params))
    checkpoint = pretrain(sources, settings, run_dir)
    evaluation_result = evaluate(sources, settings, run_dir, checkpoint)
    registered = register(sources, settings, run_dir, checkpoint, evaluation_result)
    publish(settings.name, checkpoint, evaluation_result)
    return PretrainingResult(
        sources=sources,
        search=search_result,
        checkpoint=checkpoint,
        evaluation=evaluation_result,
        registered=registered,
    )


def ingest_source(
    dataset: str, settings: PretrainSettings, ingestion: IngestSettings
) -> PretrainingSource:
    """Ingest one log and build its feature snapshot.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Settings with the project root.
        ingestion: Reading and validation of the data.
    """
    dataset_name = load_spec(dataset, conf_dir=ingestion.conf_dir).name
    data_dir = None if ingestion.data_dir is None else ingestion.data_dir / dataset_name
    if data_dir is not None and not data_dir.is_dir():
        data_dir = None  # a simulated log, or one that comes with a package
    updates = {"root": settings.root, "data_dir": data_dir}
    dataset_ingestion = ingestion.model_copy(update=updates)
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=data_dir)
    with dataset_lock_in_flow(settings.workspace, spec.name):
        snapshot = ingest_locked(dataset, dataset_ingestion).features
    return PretrainingSource(
        dataset=spec.name,
        licence=spec.licence or "",
        features=snapshot.path,
        data_version=snapshot.data_version,
        n_events=snapshot.n_kept,
        n_users=snapshot.n_users,
        n_items=snapshot.n_items,
    )


@task(**_TASK)
def search(
    sources: tuple[PretrainingSource, ...], settings: PretrainSettings, run_dir: Path
) -> PretrainingSearch:
    """Search learning rate, weight decay and balance on folds of all logs, if that is asked for."""
    if settings.study.n_trials == 1:
        return PretrainingSearch()
    return run_step(
        run_dir,
        "search_pretraining",
        PretrainingSearch,
        search_pretraining,
        sources,
        settings,
        run_dir,
    )


@task(**_TASK)
def pretrain(
    sources: tuple[PretrainingSource, ...], settings: PretrainSettings, run_dir: Path
) -> CheckpointFile:
    """Train one network over all logs."""
    return run_step(
        run_dir, "pretrain_network", CheckpointFile, pretrain_network, sources, settings, run_dir
    )


@task(**_TASK)
def evaluate(
    sources: tuple[PretrainingSource, ...],
    settings: PretrainSettings,
    run_dir: Path,
    checkpoint: CheckpointFile,
) -> PretrainingEvaluation:
    """Evaluate the network on the later events of each log, beside the users' own counts."""
    return run_step(
        run_dir,
        "evaluate_checkpoint",
        PretrainingEvaluation,
        evaluate_checkpoint,
        sources,
        settings,
        checkpoint,
    )


@task(**_TASK)
def register(
    sources: tuple[PretrainingSource, ...],
    settings: PretrainSettings,
    run_dir: Path,
    checkpoint: CheckpointFile,
    evaluation: PretrainingEvaluation,
) -> RegisteredVersion:
    """Register the checkpoint as a model of its own, with the lineage of all logs."""
    return run_verified_step(
        run_dir,
        "register_pretrained",
        RegisteredVersion,
        partial(is_registered_checkpoint, settings),
        register_pretrained,
        sources,
        settings,
        checkpoint,
        evaluation,
    )


@task(**_TASK)
def publish(name: str, checkpoint: CheckpointFile, evaluation: PretrainingEvaluation) -> None:
    """Create artifacts: metrics on each log, and the card."""
    table_rows = [
        {
            "log": source.dataset,
            "model": model_name,
            **{metric: round(value, 4) for metric, value in metrics.items()},
        }
        for source in evaluation.sources
        for model_name, metrics in source.metrics.items()
    ]
    artifact_key = f"pretrain-{name.replace('_', '-')}"
    create_table_artifact(
        markdown_rows(table_rows),
        key=artifact_key,
        description="Later events of each log, full catalogue, request time given",
    )
    card = (checkpoint.path.parent / CARD_FILE).read_text(encoding="utf-8")
    create_markdown_artifact(card, key=f"{artifact_key}-card", description="Card")
